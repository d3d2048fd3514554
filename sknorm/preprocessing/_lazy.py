"""Standardizers on Dask collections: tasks that workers do, and what comes of them.

Workers are handed copies of the estimator and return values. Only the caller's own
estimator is changed, warns and names columns, as it does for arrays in memory.
"""

from __future__ import annotations

import copy
import functools
import inspect
from dataclasses import fields, is_dataclass
from numbers import Integral

import numpy as np
from sklearn.utils import check_array, check_random_state

from sknorm._dask import (
    column_groups,
    is_dask,
    is_frame,
    map_rows,
    reduce_tree,
    row_blocks,
    stand_in,
    take_columns,
    weight_blocks,
)
from sknorm._validation import check_sample_weight, output_container

__all__ = ["LazyOutput", "study_columns", "summarize_rows", "transform_rows"]

# Columns that a task learns: they are held twice in memory for a moment.
_TOGETHER = 8


class LazyOutput:
    """Keeps scikit-learn from computing a Dask collection to put it in a container.

    To be inherited before ``TransformerMixin``, which wraps the methods it finds.
    """

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        for name in ("transform", "fit_transform"):
            if name in vars(cls):
                setattr(cls, name, _unwrapped_for_dask(getattr(cls, name)))


def _unwrapped_for_dask(method):
    plain = inspect.unwrap(method)

    @functools.wraps(method)
    def dispatch(self, X, *args, **kwargs):
        return (plain if is_dask(X) else method)(self, X, *args, **kwargs)

    return dispatch


def summarize_rows(estimator, X, sample_weight, *, reset):
    """Return the summary of the rows of a Dask collection.

    Parameters
    ----------
    estimator : SummaryStandardizer
        Its columns are set, or compared with those of X, and infinite values refused.
    X : Dask Array or DataFrame of shape (n_samples, n_features)
        Rows.
    sample_weight : array-like, Dask Array or Series of shape (n_samples,), or None
        Weights of the rows.
    reset : bool
        Whether the columns are set.

    Returns
    -------
    object
        Of a class in :mod:`sknorm.statistics`.
    """
    from dask import delayed

    _check_columns(estimator, X, functools.partial(estimator._read, reset=reset))
    blocks = row_blocks(X)
    weights = weight_blocks(sample_weight, X, blocks)
    summarize = delayed(functools.partial(_summarize_block, _worker(estimator, X)))
    parts = [summarize(*part) for part in zip(blocks, weights, strict=True)]
    found = reduce_tree(parts, _merged)
    if found is None:
        _refuse_nothing(estimator, X, sample_weight)
    if isinstance(found, np.ndarray):
        estimator._refuse_infinite(found)
    return found


def study_columns(estimator, X, sample_weight):
    """Return what a family learns of the columns of a Dask collection.

    Parameters
    ----------
    estimator : ColumnStandardizer
        Its columns are set, and infinite values refused.
    X : Dask Array or DataFrame of shape (n_samples, n_features)
        Rows.
    sample_weight : array-like, Dask Array or Series of shape (n_samples,), or None
        Weights of the rows.

    Returns
    -------
    object
        What ``_study`` returns, of a few columns at a time and put side by side.
    """
    from dask import compute, delayed

    (table,) = _check_columns(
        estimator, X, functools.partial(estimator._read, reset=True)
    )
    weights = weight_blocks(sample_weight, X, row_blocks(X))
    worker = _worker(estimator, X)
    _draw_once(worker)
    as_floats = delayed(_as_floats)
    study = delayed(functools.partial(_study_group, worker))
    parts = []
    for columns in column_groups(X, _TOGETHER):
        blocks = row_blocks(take_columns(X, columns))
        values = [as_floats(block, table.dtype) for block in blocks]
        parts.append(study(values, weights))
    found = compute(parts)[0]
    if found[0] is None:
        _refuse_nothing(estimator, X, sample_weight)
    if any(isinstance(part, np.ndarray) for part in found):
        masks = [p if isinstance(p, np.ndarray) else p.infinite for p in found]
        estimator._refuse_infinite(np.concatenate(masks))
    return _side_by_side(found)


def transform_rows(estimator, X, method, container="default"):
    """Return the rows of a Dask collection transformed, not computed yet.

    Parameters
    ----------
    estimator : BaseStandardizer
        Fitted. The result is that of what it has learned by now.
    X : Dask Array or DataFrame of shape (n_samples, n_features)
        Rows.
    method : {"_transform", "_inverse_transform"}
        What is done to validated rows.
    container : {"default", "pandas"}, default="default"
        "pandas" makes a Dask DataFrame of the result, else it is a Dask Array.

    Returns
    -------
    Dask Array or DataFrame
    """
    table, *more = _check_columns(estimator, X, _reader(estimator, method))
    worker = _worker(estimator, X)
    like = getattr(worker, method)(np.ones_like(table), None, *more)[:0]
    if container == "default":
        return map_rows(functools.partial(_map_block, worker, method, like), X, like)
    import dask.dataframe
    import pandas

    names = estimator.get_feature_names_out()
    if not is_frame(X):
        lazy = transform_rows(estimator, X, method)
        return dask.dataframe.from_dask_array(lazy, columns=names)
    frame = pandas.DataFrame(like, columns=names, index=X._meta.index)
    return map_rows(functools.partial(_map_block, worker, method, frame), X, frame)


def lazy_container(estimator):
    """Return what ``set_output`` asks for, or refuse what Dask doesn't have."""
    container = output_container(estimator)
    if container not in ("default", "pandas"):
        raise ValueError(
            f"set_output(transform={container!r}) has no meaning for Dask collections: "
            "there are Dask Arrays, with 'default', and DataFrames, with 'pandas'."
        )
    return container


def _reader(estimator, method):
    """Return what validates the rows that a method gets."""
    if method == "_inverse_transform":
        return lambda X: (estimator._check_result(X),)
    return functools.partial(estimator._read, reset=False)


def _check_columns(estimator, X, read):
    """Validate names, number and types of columns: return what is read of some rows."""
    table = stand_in(X)
    try:
        return read(table)
    except (TypeError, ValueError) as error:
        if not is_frame(X) or table.ndim != 2:
            raise
        numeric = table.select_dtypes(["number", "bool"]).columns
        others = table.columns.difference(numeric, sort=False)
        if others.empty:
            raise
        names = ", ".join(f"{name!r} ({table.dtypes[name]})" for name in others)
        raise ValueError(
            f"{type(estimator).__name__} takes numbers only, and these columns hold "
            f"something else: {names}. Leave them out or encode them."
        ) from error


def _worker(estimator, X):
    """Return a copy of the estimator for the tasks: it stays as it is now."""
    worker = copy.copy(estimator)
    if not is_frame(X):
        # Blocks have no names: no use in a warning of that from every task.
        vars(worker).pop("feature_names_in_", None)
    return worker


def _draw_once(worker):
    """Make all tasks draw the same: rows, not values of a column."""
    state = getattr(worker, "random_state", 0)
    if not isinstance(state, Integral):
        worker.random_state = int(check_random_state(state).randint(2**31 - 1))


def _refuse_nothing(estimator, X, sample_weight):
    """Raise for there is no row to learn from."""
    if sample_weight is None:
        estimator._read(stand_in(X)[:0], reset=False)
    raise ValueError(
        "Sample weights must contain at least one non-zero number, but all are zero, "
        "or there are no rows."
    )


def _summarize_block(worker, block, weight):
    """Return the summary of a block, None without rows that count.

    If it has infinite values, a mask of the columns with them takes its place: those of
    all blocks are named together.
    """
    weight, counts = _check_block_weight(weight, block)
    if not counts:
        return None
    X, *more = worker._read(block, reset=False)
    return _unless_infinite(worker._summarize, X, weight, *more)


def _check_block_weight(weight, block):
    """Return the weights of a block, and whether there is a row that counts."""
    if weight is None:
        return None, len(block) > 0
    if np.ndim(weight) == 0:
        weight = np.full(len(block), weight)
    if len(weight) == len(block) and not np.any(weight):
        return np.zeros(len(block)), False
    return check_sample_weight(weight, block), True


def _unless_infinite(work, X, weight, *more):
    try:
        return work(X, weight, *more)
    except ValueError:
        infinite = np.isinf(X if weight is None else X[weight > 0]).any(axis=0)
        if infinite.any():
            return infinite
        raise


def _merged(found):
    """Merge summaries pairwise. Masks prevail over them, anything over None."""
    found = [part for part in found if part is not None]
    masks = [part for part in found if isinstance(part, np.ndarray)]
    if masks:
        return np.any(masks, axis=0)
    while len(found) > 1:
        pairs = zip(found[::2], found[1::2], strict=False)
        last = found[len(found) // 2 * 2 :]
        found = [a.merge(b) for a, b in pairs] + last
    return found[0] if found else None


def _as_floats(block, dtype):
    """Return the values of a block of a few columns, none of which it keeps alive."""
    values = check_array(
        block, dtype=dtype, ensure_all_finite=False, ensure_min_samples=0
    )
    return np.array(values, order="F")


def _study_group(worker, blocks, weights):
    """Return what is learned of a few columns, None without rows that count.

    A mask takes its place as in ``_summarize_block``.
    """
    parts = [_check_block_weight(*part) for part in zip(weights, blocks, strict=True)]
    if not any(counts for _, counts in parts):
        return None
    blocks, weights = zip(
        *((b, w) for b, (w, _) in zip(blocks, parts, strict=True) if len(b)),
        strict=True,
    )
    weight = None if weights[0] is None else np.concatenate(weights)
    return _unless_infinite(worker._study, np.concatenate(blocks), weight)


def _map_block(worker, method, like, block):
    """Return a block transformed, of the type and dtype that ``like`` has."""
    if not len(block):
        return like
    # Never in place: a block may be another task's input too.
    X, *more = _reader(worker, method)(block)
    values = getattr(worker, method)(X, None, *more)
    if isinstance(like, np.ndarray):
        return values.astype(like.dtype, copy=False)
    return type(like)(values, index=block.index, columns=like.columns)


def _side_by_side(parts):
    """Join what was learned of groups of columns, the last axis of all arrays."""
    first = parts[0]
    if is_dataclass(first):
        return type(first)(
            *(
                _side_by_side([getattr(part, field.name) for part in parts])
                for field in fields(first)
            )
        )
    if not isinstance(first, np.ndarray):
        return first
    if first.ndim == 2:
        # Columns of fewer knots than others repeat their last one.
        tallest = max(map(len, parts))
        parts = [
            np.pad(part, [(0, tallest - len(part)), (0, 0)], mode="edge")
            for part in parts
        ]
    return np.concatenate(parts, axis=-1)
