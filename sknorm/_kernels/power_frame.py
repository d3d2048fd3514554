"""Logarithms of columns as far apart as doubles tell, and the maps they lead to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sknorm._kernels.power_map import log_ratio

__all__ = ["Frame", "plain_sides", "signed_logs", "standard_sides"]

# Exponents from which on values are divided by the largest; their squares are finite.
_LARGE_EXPONENT = 300.0
# A rate of 0 is replaced by this one, with which the transform is the logarithm to the
# last digit, and needs no case of its own.
_LEAST_RATE = 1e-100
# No power further from 1 than this, over the range of the logarithms, or by 2, can be
# undone.
_FAR, _FAR_POWER = 40.0, 2.0
# A column is constant if its values differ by so many units in the last place.
_CONSTANT_UNITS = 4
_EPS = float(np.finfo(np.float64).eps)
_LARGEST = float(np.finfo(np.float64).max)


@dataclass(frozen=True)
class Frame:
    """How logarithms of each column are taken, and which rates they have.

    Columns of negative values are ``mirrored``: the Yeo-Johnson transform of -x with
    the power 2 - r is that of x with r, with the other sign. In ``mixed`` columns,
    which have both signs, the rate of negative values is 2 less.

    Attributes
    ----------
    shift : float
        1 for Yeo-Johnson, 0 for Box-Cox.
    mirrored, mixed, constant : ndarray of bool of shape (n_columns,)
        Kinds of columns.
    origin, base, less : ndarray of shape (n_columns,)
        How the logarithm is taken, see :class:`~sknorm._kernels.power_map.PowerMap`.
    start : ndarray of shape (n_columns,)
        Logarithm that all are measured from.
    scale : ndarray of shape (n_columns,)
        What logarithms are divided by, so that the largest is 1, and rates times.
    extent : ndarray of shape (2, n_columns)
        How far these go up, and down.
    """

    shift: float
    mirrored: np.ndarray
    mixed: np.ndarray
    constant: np.ndarray
    origin: np.ndarray
    base: np.ndarray
    less: np.ndarray
    start: np.ndarray
    scale: np.ndarray
    extent: np.ndarray

    @classmethod
    def of(cls, low: np.ndarray, high: np.ndarray, shift: float) -> Frame:
        """Make the frame for columns with these extremes."""
        mirrored = (high < 0) & (shift > 0)
        mixed = (low < 0) & ~mirrored & (shift > 0)
        constant = ~(high - low > _CONSTANT_UNITS * _EPS * np.maximum(-low, high))
        # Of absolute values, but for mixed columns, which are measured from 0.
        near = np.where(mixed, 0.0, np.where(mirrored, -high, low))
        far = np.where(mirrored, -low, high)
        start = np.log1p(near) if shift else np.log(near)
        from_near = (far - near <= near + shift) | mixed
        origin = np.where(from_near, near, 1.0 - shift)
        base = origin + shift
        less = np.where(from_near, 0.0, start)
        up = log_ratio(far, shift, origin, base) - less
        down = np.where(mixed, np.log1p(np.maximum(-low, 0.0)), 0.0)
        scale = np.where(constant, 1.0, np.maximum(up, down))
        extent = np.stack([up, down]) / scale
        return cls(
            shift, mirrored, mixed, constant, origin, base, less, start, scale, extent
        )

    def take(self, index: np.ndarray) -> Frame:
        """Return the frame of some of the columns."""
        each = (self.mirrored, self.mixed, self.constant, self.origin, self.base,
                self.less, self.start, self.scale, self.extent)  # fmt: skip
        return Frame(self.shift, *(array[..., index] for array in each))

    def sides(self, rate: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the rates for t >= 0 and for t < 0, neither of them 0."""
        lower = np.where(self.mixed, rate - 2.0 * self.scale, rate)
        return _not_zero(rate), _not_zero(lower)

    def over(self, rate: np.ndarray) -> np.ndarray:
        """Return the largest exponents of both sides, 0 for those that are harmless."""
        upper, lower = self.sides(rate)
        top = np.stack([upper, -lower]) * self.extent
        return np.where(top > _LARGE_EXPONENT, top, 0.0)

    def powers(self, rate: np.ndarray) -> np.ndarray:
        """Return the powers that rates belong to."""
        powers = rate / self.scale
        return np.where(self.mirrored, 2.0 - powers, powers)

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Return rates so far out that none beyond can be undone."""
        reach = _FAR / self.extent.sum(axis=0) + _FAR_POWER * self.scale
        return self.scale - reach, self.scale + reach


def signed_logs(values: np.ndarray, frame: Frame) -> np.ndarray:
    """Return the logarithms of columns, measured and divided as the frame says.

    Parameters
    ----------
    values : ndarray of shape (n_columns, n_values)
        Columns, end to end.
    frame : Frame
        That of these columns.

    Returns
    -------
    ndarray of shape (n_columns, n_values)
        From 0 up to 1, or from -1 in columns of both signs.
    """
    origin, base, less, scale = (
        array[:, np.newaxis]
        for array in (frame.origin, frame.base, frame.less, frame.scale)
    )
    t = log_ratio(np.abs(values), frame.shift, origin, base)
    if frame.less.any():
        t -= less
    t /= scale
    if frame.mixed.any():
        negative = (values < 0) & frame.mixed[:, np.newaxis]
        np.negative(t, out=t, where=negative)
    return t


def standard_sides(
    frame: Frame, rate: np.ndarray, mean: np.ndarray, std: np.ndarray
) -> np.ndarray:
    """Return the sides of a map to ``(v - mean) / std``, see ``PowerMap``.

    Parameters
    ----------
    frame : Frame
        That of the columns.
    rate : ndarray of shape (n_columns,)
        Rate of each.
    mean, std : ndarray of shape (n_columns,)
        Mean and deviation of the frame's own transform v, divided by
        ``exp(frame.over(rate).max(axis=0))``.

    Returns
    -------
    ndarray of shape (2, 6, n_columns)
    """
    own_over, other_over = frame.over(rate)
    over = np.maximum(own_over, other_over)
    own = _side(frame, rate, own_over, over)
    own[:3] = frame.origin, frame.base, own[2] + frame.less
    # The other sign: in a mixed column as its own, else seen from far off.
    opposite = 2.0 * frame.scale - rate
    other = _side(frame, opposite, other_over, np.where(frame.mixed, over, 0.0))
    nonzero = _not_zero(rate)
    away = -frame.start * nonzero / frame.scale
    behind = np.exp(-over) * np.expm1(away) / nonzero
    other[4] = -np.where(frame.mixed, other[4], np.exp(away - over) * other[4])
    other[5] = np.where(frame.mixed, -other[5], behind)
    sign = np.where(frame.mirrored, -1.0, 1.0)
    for side in (own, other):
        side[4] *= sign / std
        side[5] = sign * (side[5] - mean) / std
    # What is too far off is as far as there is a number for, so that 0 is somewhere.
    np.clip(other[4:], -_LARGEST, _LARGEST, out=other[4:])
    if not frame.shift:
        other = own
    both = np.stack([own, other])
    return np.where(frame.mirrored, both[::-1], both)


def _side(
    frame: Frame, rate: np.ndarray, own_over: np.ndarray, over: np.ndarray
) -> np.ndarray:
    """Return one side of the transform of t, measured from t = 0.

    Exponents that are too large are measured from the largest.
    """
    rate = _not_zero(rate)
    share = np.exp(own_over - over)
    return np.stack(
        [
            np.full_like(rate, 1.0 - frame.shift),
            np.ones_like(rate),
            own_over * frame.scale / rate,
            rate / frame.scale,
            share / rate,
            -share * np.expm1(-own_over) / rate,
        ]
    )


def plain_sides(powers: np.ndarray, shift: float) -> np.ndarray:
    """Return the sides of the transform as it is defined.

    Parameters
    ----------
    powers : ndarray of shape (n_columns,)
        Power of each column.
    shift : float
        1 for Yeo-Johnson, 0 for Box-Cox.

    Returns
    -------
    ndarray of shape (2, 6, n_columns)
    """
    sides = np.zeros((2, 6, len(powers)))
    sides[:, 0], sides[:, 1] = 1.0 - shift, 1.0
    lower = 2.0 - powers if shift else powers
    sides[:, 3] = _not_zero(powers), _not_zero(lower)
    sides[:, 4] = 1.0 / sides[:, 3]
    if shift:
        sides[1, 4] *= -1.0
    return sides


def _not_zero(rate: np.ndarray) -> np.ndarray:
    return np.where(np.abs(rate) < _LEAST_RATE, _LEAST_RATE, rate)
