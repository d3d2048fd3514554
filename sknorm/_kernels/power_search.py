"""The search for the likeliest power."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sknorm._kernels.power_frame import Frame, plain_sides, standard_sides
from sknorm._kernels.power_map import PowerMap, map_tile, map_tile_back
from sknorm._kernels.power_moments import Moments, Table

__all__ = ["Search"]

# Every so manieth value is looked at first, if that leaves enough of them.
_STRIDES, _ENOUGH = (512, 64, 8), 1_000
# A Newton step below these ends the search: the next would be its square. Rates are of
# logarithms up to 1, so that the variance is known to the cube of the last.
_ROUGH_STEP, _STEP = 1e-2, 1e-6
# Bounds that are so close are one, and more steps than it takes to halve their distance
# until then.
_CLOSE, _STEPS = 1e-12, 200
# See `Search._is_invertible`.
_TOLERANCE, _ROUNDING_UNITS = 1e-6, 4
_EPS = float(np.finfo(np.float64).eps)
# Between these the inverse of a number is finite, and not 0.
_LARGEST = float(np.finfo(np.float64).max)
_SMALLEST = float(np.nextafter(1.0 / _LARGEST, 1.0))


@dataclass
class Search:
    """Looks for the likeliest power of the columns of a table.

    It works on rates in units of the frame; those of the power 1 are ``frame.scale``.

    Attributes
    ----------
    table : Table
        Columns, of which logarithms have been taken.
    frame : Frame
        How.
    standardize : bool
        Whether results are centered and scaled, and never too large.
    largest : float
        What results have to fit in.
    """

    table: Table
    frame: Frame
    standardize: bool
    largest: float

    def run(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the rate of each column, and mean and deviation of its transform."""
        frame = self.frame
        # What a constant column has: the power 1, and differences left as they are.
        rate = frame.scale.copy()
        mean = np.zeros_like(rate)
        std = np.clip(np.exp(-frame.less) / frame.base, _SMALLEST, _LARGEST)
        varied = np.flatnonzero(~frame.constant)
        if len(varied):
            rate[varied], mean[varied], var = self._maximise(varied)
            std[varied] = np.sqrt(var)
            lost = varied[~self._is_invertible(varied, rate[varied])]
            if len(lost):
                rate[lost] = self._last_invertible(lost, rate[lost])
                moments = self._moments(lost, rate[lost], 1)
                mean[lost], std[lost] = moments.mean[0], np.sqrt(moments.products[0])
        return rate, mean, std

    def _maximise(
        self, chosen: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the likeliest rates, with mean and variance at them."""
        rate = self.frame.scale[chosen]
        for stride in _STRIDES:
            if self.table.values.shape[1] >= stride * _ENOUGH:
                rate, *_ = self._newton(chosen, rate, stride, _ROUGH_STEP)
        return self._newton(chosen, rate, 1, _STEP)

    def _newton(
        self, chosen: np.ndarray, start: np.ndarray, stride: int, tolerance: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Find where the log-likelihood of every so manieth value is flat."""
        mean_log = self.table.means(stride)[chosen]
        brackets = _Brackets(*self.frame.take(chosen).bounds())
        rate = start.copy()
        mean, var = np.full_like(rate, np.nan), np.full_like(rate, np.nan)
        active = np.arange(len(chosen))
        for _ in range(_STEPS):
            x = rate[active]
            moments = self._moments(chosen[active], x, stride)
            slopes = moments.slopes(mean_log[active])
            step, newton = brackets.step(active, x, *slopes)
            rate[active] = x + step
            mean[active], var[active] = self._moved(chosen[active], x, step, moments)
            # Halving doesn't square the error.
            active = active[np.abs(step) > np.where(newton, tolerance, _CLOSE)]
            if not len(active):
                break
        return rate, mean, var

    def _moments(self, chosen: np.ndarray, rate: np.ndarray, stride: int) -> Moments:
        return self.table.moments(self.frame.take(chosen), rate, chosen, stride)

    def _moved(
        self, chosen: np.ndarray, rate: np.ndarray, step: np.ndarray, moments: Moments
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and variance at the rate that a small step leads to."""
        frame = self.frame.take(chosen)
        mean, var = moments.moved(step)
        before, after = (frame.over(r).max(axis=0) for r in (rate, rate + step))
        unit = np.exp(before - after)
        return unit * mean, unit * unit * var

    def _is_invertible(self, chosen: np.ndarray, rate: np.ndarray) -> np.ndarray:
        """Tell where rounding the result leaves what it came from in place.

        The map is steepest at one end of the column and flattest at the other. So both
        ends are moved by the rounding of results, a few units in the last place of
        their largest, or of their range if they are centered, and must come back to a
        millionth of the column's own range.
        """
        frame = self.frame.take(chosen)
        if self.standardize:
            none = np.zeros_like(rate)
            sides = standard_sides(frame, rate, none, np.ones_like(rate))
        else:
            sides = plain_sides(frame.powers(rate), frame.shift)
        mapped = PowerMap.of(sides, frame.shift)
        ends = np.stack([self.table.low, self.table.high], axis=1)[chosen]
        results = map_tile(ends.copy(), mapped)
        if self.standardize:
            # Halves, as the difference may be twice the largest double.
            size = 2.0 * (0.5 * results[:, 1] - 0.5 * results[:, 0])
        else:
            size = np.abs(results).max(axis=1)
        moved = _ROUNDING_UNITS * _EPS * size[:, np.newaxis]
        errors = [map_tile_back(results + s * moved, mapped) - ends for s in (-1, 1)]
        allowed = _TOLERANCE * (ends[:, 1] - ends[:, 0])
        return (np.abs(errors).max(axis=(0, 2)) <= allowed) & (size <= self.largest)

    def _last_invertible(self, chosen: np.ndarray, rate: np.ndarray) -> np.ndarray:
        """Return the rates furthest on the way from the power 1 that are invertible."""
        inside, outside = self.frame.scale[chosen], rate
        if not self.frame.shift:
            # There x - 1 may leave nothing of x where log(x) keeps it.
            flat = self._is_invertible(chosen, np.zeros_like(rate))
            flat &= ~self._is_invertible(chosen, inside)
            inside = np.where(flat, 0.0, inside)
        for _ in range(60):
            middle = 0.5 * (inside + outside)
            good = self._is_invertible(chosen, middle)
            inside = np.where(good, middle, inside)
            outside = np.where(good, outside, middle)
        return inside


class _Brackets:
    """Newton's method on functions that fall, between bounds that close in.

    A step that leaves the bounds, or is not at least half as long as the one before the
    last, is replaced by one to their middle. Bounds that nothing has been tried at are
    tried first.
    """

    def __init__(self, low: np.ndarray, high: np.ndarray) -> None:
        self.low, self.high = low, high
        self.low_tried = np.zeros(len(low), dtype=bool)
        self.high_tried = np.zeros(len(low), dtype=bool)
        # The last steps, and those before them.
        self.steps = np.full((2, len(low)), np.inf)

    def step(
        self, active: np.ndarray, x: np.ndarray, value: np.ndarray, slope: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return how far to go from ``x``, and which of these are Newton's steps.

        Values and slopes are those of the active functions at ``x``. The step of one
        that needs no other is 0.
        """
        ended = self._close_in(active, x, value)
        low, high = self.low[active], self.high[active]
        target = x - value / slope
        newton = (slope < 0) & (low <= target) & (target <= high)
        newton &= ~(np.abs(target - x) > 0.5 * np.abs(self.steps[1, active]))
        to_low = (target <= low) & ~self.low_tried[active]
        to_high = (target >= high) & ~self.high_tried[active]
        middle = 0.5 * (low + high)
        other = np.where(to_low, low, np.where(to_high, high, middle))
        step = np.where(ended, 0.0, np.where(newton, target, other) - x)
        self.steps[1, active], self.steps[0, active] = self.steps[0, active], step
        return step, newton

    def _close_in(
        self, active: np.ndarray, x: np.ndarray, value: np.ndarray
    ) -> np.ndarray:
        """Take ``x`` as a bound, and tell where it is a last one, or a zero."""
        up, down = value > 0, value < 0
        ended = (up & (x >= self.high[active])) | (down & (x <= self.low[active]))
        self.low[active[up]], self.low_tried[active[up]] = x[up], True
        self.high[active[down]], self.high_tried[active[down]] = x[down], True
        return ended | ~(up | down)
