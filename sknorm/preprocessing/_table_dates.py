"""Numbers that say of a date what a model can learn from."""

from __future__ import annotations

import numpy as np

__all__ = ["CYCLES", "angles", "elapsed_days", "varying_cycles"]

# What comes back, and after how many steps.
CYCLES = {"month": 12.0, "weekday": 7.0, "hour": 24.0}
# The first day of 1970 was a Thursday; weeks begin on Monday.
_FIRST_WEEKDAY = 3


def elapsed_days(dates: np.ndarray) -> np.ndarray:
    """Return the days since the beginning of 1970.

    Parameters
    ----------
    dates : ndarray of datetime64 of shape (n_samples,)
        In any unit.

    Returns
    -------
    ndarray of shape (n_samples,)
        With the time of day as a fraction; NaN for NaT.
    """
    days, fraction = _split(dates)
    return np.where(np.isnat(dates), np.nan, days + fraction)


def varying_cycles(dates: np.ndarray) -> tuple[str, ...]:
    """Return which cycles are not at the same point in all dates.

    Parameters
    ----------
    dates : ndarray of datetime64 of shape (n_samples,)
        In any unit; NaT counts nowhere.

    Returns
    -------
    tuple of str
        Names in ``CYCLES``.
    """
    there = dates[~np.isnat(dates)]
    return tuple(
        name for name in CYCLES if len(there) and np.ptp(_position(there, name)) > 0
    )


def angles(dates: np.ndarray, cycle: str) -> np.ndarray:
    """Return where dates are in a cycle, as points on a circle.

    Parameters
    ----------
    dates : ndarray of datetime64 of shape (n_samples,)
        In any unit.
    cycle : str
        A name in ``CYCLES``.

    Returns
    -------
    ndarray of shape (n_samples, 2)
        Sine and cosine; the middle of the circle, two zeros, for NaT.
    """
    angle = 2 * np.pi / CYCLES[cycle] * _position(dates, cycle)
    points = np.stack([np.sin(angle), np.cos(angle)], axis=1)
    points[np.isnat(dates)] = 0.0
    return points


def _position(dates: np.ndarray, cycle: str) -> np.ndarray:
    if cycle == "month":
        return dates.astype("M8[M]").astype(np.int64) % 12
    days, fraction = _split(dates)
    return fraction * 24 if cycle == "hour" else (days % 7 + _FIRST_WEEKDAY) % 7


def _split(dates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return whole days and the fraction of the next one.

    NumPy's own way there, by dates at midnight, overflows for the first day of a unit.
    """
    unit, _ = np.datetime_data(dates.dtype)
    if unit in ("Y", "M", "W", "D"):
        return dates.astype("M8[D]").astype(np.int64), np.zeros(len(dates))
    ticks = dates.astype(f"M8[{unit}]").astype(np.int64)
    a_day = np.timedelta64(1, "D").astype(f"m8[{unit}]").astype(np.int64)
    days, rest = np.divmod(ticks, a_day)
    return days, rest / a_day
