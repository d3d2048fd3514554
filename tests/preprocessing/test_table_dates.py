"""What is told of dates."""

from fractions import Fraction

import numpy as np
import pandas as pd
import pytest

from sknorm.preprocessing._table_dates import (
    CYCLES,
    angles,
    elapsed_days,
    varying_cycles,
)

DAY = {"ns": 86_400 * 10**9, "us": 86_400 * 10**6, "ms": 86_400 * 10**3, "s": 86_400}
DAY |= {"m": 1_440, "h": 24, "D": 1}
UNITS = ["Y", "M", "W", "D", "h", "m", "s", "ms", "us", "ns"]


def dates(*values, unit="us"):
    return np.array(values, dtype=f"M8[{unit}]")


@pytest.mark.parametrize(
    ("date", "days"),
    [
        ("1970-01-01", 0),
        ("1970-01-02T12", 1.5),
        ("1969-12-31T18", -0.25),
        ("2000-03-01", 11_017),
        ("0001-01-01", -719_162),
        ("9999-12-31T06", 2_932_896.25),
        ("NaT", np.nan),
    ],
)
def test_elapsed_days(date, days):
    np.testing.assert_array_equal(elapsed_days(dates(date)), [days])


@pytest.mark.parametrize("unit", UNITS)
def test_units(unit):
    found = elapsed_days(dates("1970-01-01", "1971-01-01", "NaT", unit=unit))
    expected = [0, 364 if unit == "W" else 365, np.nan]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("unit", DAY)
def test_first_and_last_of_a_unit(unit):
    last = np.iinfo(np.int64).max  # NaT is the one below -last.
    ticks = [-last, -last + 1, -DAY[unit] - 1, -1, 0, 1, last - 1, last]
    found = elapsed_days(np.array(ticks).view(f"M8[{unit}]"))
    exact = [float(Fraction(tick, DAY[unit])) for tick in ticks]
    eps = np.finfo(float).eps
    np.testing.assert_allclose(found, exact, rtol=eps, atol=eps)


@pytest.mark.parametrize("unit", DAY)
def test_weekdays_and_hours_at_the_ends(unit):
    last = np.iinfo(np.int64).max
    for tick in (-last, last):
        date = np.array([tick]).view(f"M8[{unit}]")
        day, rest = divmod(tick, DAY[unit])
        for cycle, turn in (("weekday", (day + 3) % 7 / 7), ("hour", rest / DAY[unit])):
            expected = [[np.sin(2 * np.pi * turn), np.cos(2 * np.pi * turn)]]
            np.testing.assert_allclose(angles(date, cycle), expected, atol=1e-14)


def test_the_earliest_timestamp_of_pandas():
    found = elapsed_days(np.array([pd.Timestamp.min.to_datetime64()]))
    day = (pd.Timestamp.min.to_pydatetime(warn=False) - pd.Timestamp(0)).days
    assert day <= found[0] < day + 1


def test_several_ticks_at_once():
    date = dates("1969-12-31T18", unit="6h")
    np.testing.assert_array_equal(elapsed_days(date), [-0.25])


def test_what_a_coarse_unit_holds_and_no_fine_one():
    far = dates("1000000-01-01", unit="s")
    assert elapsed_days(far)[0] == pytest.approx(365.2425 * (1_000_000 - 1970), abs=2)
    assert np.isfinite([angles(far, cycle) for cycle in CYCLES]).all()


@pytest.mark.parametrize(
    ("date", "cycle", "turn"),
    [
        ("2024-01-31", "month", 0),
        ("2024-04-01", "month", 1 / 4),
        ("1969-12-31", "month", 11 / 12),
        ("2024-01-01", "weekday", 0),  # A Monday.
        ("1970-01-01", "weekday", 3 / 7),
        ("1969-12-28", "weekday", 6 / 7),
        ("2024-02-29T06", "hour", 1 / 4),
        ("2024-02-29T12:30", "hour", 25 / 48),
        ("1969-12-31T18", "hour", 3 / 4),
        ("2024-02-29", "hour", 0),
    ],
)
def test_angles(date, cycle, turn):
    expected = [np.sin(2 * np.pi * turn), np.cos(2 * np.pi * turn)]
    found = angles(dates(date, "NaT"), cycle)
    np.testing.assert_allclose(found, [expected, [0, 0]], atol=1e-15)


@pytest.mark.parametrize(
    ("values", "cycles"),
    [
        (["2024-01-01", "2024-02-05"], ("month",)),
        (["2024-01-01", "2024-01-02", "NaT"], ("weekday",)),
        (["2024-01-01T01:00", "2024-01-01T01:01"], ("hour",)),
        (["2024-01-01", "2025-02-02T01"], ("month", "weekday", "hour")),
        (["2024-01-01", "2024-01-08"], ()),
        (["NaT", "NaT"], ()),
        ([], ()),
    ],
)
def test_varying_cycles(values, cycles):
    assert varying_cycles(dates(*values)) == cycles
