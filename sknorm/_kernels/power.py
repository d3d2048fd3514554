r"""Power transforms of columns: the likeliest power, and the map it makes.

With :math:`s = \log x`, or :math:`s = \mathrm{sign}(x) \log(1 + |x|)`, Box-Cox and
Yeo-Johnson are one transform,

.. math:: y = \int_0^s e^{r t} dt = (e^{r s} - 1) / r,

whose rate r is the power :math:`\lambda`, but :math:`\lambda - 2` for the negative
values of Yeo-Johnson, and both have the Jacobian :math:`e^{(\lambda - 1) s}`. The
log-likelihood of a row is on average :math:`\lambda \bar s - \tfrac12 \log
\mathrm{Var}(y)` and a constant. It is concave: the squared distance of two values of y
is log-convex in the power, for it is an integral of exponentials, and so is the sum of
all of them.

Nothing here is computed as written above. A column whose values have one sign is
measured from the one nearest to 0, :math:`t = s - s_0 = \log(1 + (x - x_0) / x_0)`,
which loses no digits however close together the values are, and takes out
:math:`e^{r s_0}` that may pass any double. Logarithms are divided by their range, and
exponentials too large are divided by the largest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sknorm._array_api import is_foreign
from sknorm._kernels.array_api import array_kernels
from sknorm._kernels.power_frame import Frame, plain_sides, standard_sides
from sknorm._kernels.power_map import PowerMap, compiled_for, quiet
from sknorm._kernels.power_moments import Table, gather
from sknorm._kernels.power_search import Search
from sknorm._kernels.threads import in_threads, thread_count
from sknorm._kernels.tiles import column_blocks

__all__ = ["PowerFit", "fit_powers", "fit_table", "join_fits"]

# Columns that are learned from together: so many in compiled code, where neighbours
# share cache lines, if their logarithms take no more than a share of the table's
# memory over all threads; without it as many as have so many numbers.
_WIDTH, _COPIED, _GROUP = 8, 0.32, 65_536


@dataclass(frozen=True)
class PowerFit:
    """What was learned of each column.

    Attributes
    ----------
    powers : ndarray of shape (n_features,)
        The likeliest power, as far as it can be undone; 1 for a constant column, NaN
        for one without values.
    count : ndarray of int64 of shape (n_features,)
        Number of values with a weight over 0.
    infinite, nonpositive : ndarray of bool of shape (n_features,)
        True for columns of which nothing is learned: they hold infinite values, or some
        that Box-Cox isn't for.
    mapped : PowerMap
        The transform.
    """

    powers: np.ndarray
    count: np.ndarray
    infinite: np.ndarray
    nonpositive: np.ndarray
    mapped: PowerMap


def fit_powers(
    X: np.ndarray,
    weight: np.ndarray | None,
    *,
    box_cox: bool,
    standardize: bool,
) -> PowerFit:
    """Find the likeliest power of each column.

    Parameters
    ----------
    X : array of shape (n_rows, n_features)
        float32 or float64, with NaN for missing values. Arrays of other libraries than
        NumPy stay on their device, if it has doubles.
    weight : ndarray of shape (n_rows,) or None
        Weights of the rows. Those of weight 0 are not looked at.
    box_cox : bool
        Whether to learn Box-Cox powers, else Yeo-Johnson ones.
    standardize : bool
        Whether the map leads to mean 0 and variance 1.

    Returns
    -------
    PowerFit
    """
    if is_foreign(X):
        kernel = array_kernels("power").fit_powers
        return kernel(X, weight, box_cox=box_cox, standardize=standardize)
    X = np.asarray(X)  # Slices of a np.memmap are slow to make.
    if weight is not None:
        weight = weight / weight.max()  # So that no sum of them is too large.
    kernels = compiled_for(X)
    shift = 0.0 if box_cox else 1.0
    # What a result without standardizing has to fit in.
    largest = np.inf if standardize else float(np.finfo(X.dtype).max)

    def fit_group(columns: slice) -> PowerFit:
        table = gather(X[:, columns], weight, kernels)
        return fit_table(table, shift, standardize, largest)

    if kernels is not None:
        kernels.gather(X.dtype)  # Compiled once, not by every thread.
    groups = _groups(X, weight, kernels is not None)
    fits = in_threads(fit_group, groups, X.size)
    return fits[0] if len(fits) == 1 else join_fits(fits)


def _groups(X: np.ndarray, weight: np.ndarray | None, compiled: bool) -> list[slice]:
    n_rows, n_features = X.shape
    width = max(1, _GROUP // max(1, n_rows))
    if compiled:
        per_column = n_rows * (8 if weight is None else 16) * thread_count()
        free = _COPIED * X.nbytes - (0 if weight is None else weight.nbytes)
        width = max(1, min(_WIDTH, int(free / per_column)))
    return list(column_blocks(n_features, width))


def fit_table(
    table: Table, shift: float, standardize: bool, largest: float
) -> PowerFit:
    """Find the likeliest power of each column of a table.

    Parameters
    ----------
    table : Table
        The columns. Their values are replaced.
    shift : float
        1 for Yeo-Johnson powers, 0 for Box-Cox.
    standardize : bool
        Whether the map leads to mean 0 and variance 1.
    largest : float
        What results have to be within.

    Returns
    -------
    PowerFit
    """
    low, high = table.low, table.high
    infinite = np.isinf(low) | np.isinf(high)
    nonpositive = np.zeros_like(infinite) if shift else low <= 0
    if (infinite | nonpositive).any():
        none = np.full(len(low), np.nan)
        mapped = PowerMap(np.full((2, 6, len(low)), np.nan), none, shift)
        return PowerFit(none, table.count, infinite, nonpositive, mapped)
    with quiet():
        frame = Frame.of(low, high, shift)
        table.take_logs(frame)
        rate, mean, std = Search(table, frame, standardize, largest).run()
        powers = np.where(table.count > 0, frame.powers(rate), np.nan)
        if standardize:
            sides = standard_sides(frame, rate, mean, std)
        else:
            sides = plain_sides(powers, shift)
        sides[..., table.count == 0] = np.nan
        mapped = PowerMap.of(sides, shift)
    return PowerFit(powers, table.count, infinite, nonpositive, mapped)


def join_fits(fits: list[PowerFit]) -> PowerFit:
    """Return what was learned of groups of columns as that of all.

    Parameters
    ----------
    fits : list of PowerFit
        In the order of the columns.

    Returns
    -------
    PowerFit
    """

    def join(name: str) -> np.ndarray:
        return np.concatenate([getattr(fit, name) for fit in fits])

    mapped = PowerMap(
        np.concatenate([fit.mapped.sides for fit in fits], axis=2),
        np.concatenate([fit.mapped.border for fit in fits]),
        fits[0].mapped.shift,
    )
    return PowerFit(
        join("powers"), join("count"), join("infinite"), join("nonpositive"), mapped
    )
