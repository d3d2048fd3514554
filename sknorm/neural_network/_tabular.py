"""Networks for tables as they come: what the two estimators share."""

from __future__ import annotations

import copy
import math
from numbers import Integral
from typing import ClassVar

import numpy as np
import torch
from sklearn.utils import check_consistent_length

from sknorm._device import local_rng
from sknorm._validation import (
    Interval,
    StrOptions,
    check_target,
)
from sknorm.neural_network._base import BaseNormMLP
from sknorm.nn.embeddings import Embedding, resolve_embedding
from sknorm.nn.mlp import check_hidden_layer_sizes
from sknorm.nn.tabular import TabularNetwork
from sknorm.nn.tabular._network import check_architecture
from sknorm.preprocessing import TableStandardizer
from sknorm.preprocessing._table_input import check_table

__all__ = ["BaseTabularNet", "spread"]

# Rows that embeddings find their bins in, at most.
_SAMPLE = 50_000
# Steps that max_epochs="auto" aims at from so many rows on, and the passes that it
# takes at least and at most. Fewer rows are learned by heart in as many steps: these
# grow with the root of their number.
_STEPS, _ROWS, _FEWEST, _MOST = 4_000, 13_000, 10, 100
# Rows from which on a part of them tells when to end, up to which it has to, and the
# part. Some tables are noise that is learned by heart long before the end, others a
# rule that takes all the epochs: nothing but rows not learned from can tell. More rows
# than that are passed too few times to be learned by heart.
_TELLING, _ENOUGH, _PART = 50, 50_000, 0.2
# How often other rows are held out, and up to how many rows that is more than once: of
# few, it matters which.
_PILOTS, _FEW = 3, 2_000


class BaseTabularNet(BaseNormMLP):
    """Columns of any kind in front of the engine that all networks share."""

    _parameter_constraints: ClassVar[dict] = {
        **BaseNormMLP._parameter_constraints,
        "architecture": [StrOptions({"mlp", "resnet"})],
        "parametric_activation": ["boolean"],
        "embedding": [str, Embedding, callable, None],
        "n_members": [Interval(Integral, 1, None, closed="left")],
        "members": [StrOptions({"batch_ensemble", "mini", "independent"})],
        "numeric": TableStandardizer._parameter_constraints["numeric"],
        "categorical_features": [StrOptions({"auto"}), "array-like"],
        "max_epochs": [
            StrOptions({"auto"}),
            Interval(Integral, 1, None, closed="left"),
        ],
    }

    def _check_names(self):
        super()._check_names()
        owner = type(self).__name__
        resolve_embedding(self.embedding, owner=owner)
        sizes = check_hidden_layer_sizes(self.hidden_layer_sizes, owner=owner)
        check_architecture(self.architecture, sizes, self.norm_position, owner=owner)

    def _check_data(self, X, y=None, *, reset, dtype):
        """Validate what can be seen before columns are told apart."""
        X = check_table(self, X, reset=reset)
        if y is None and not reset:
            return X
        y = check_target(self, y)
        check_consistent_length(X, y)
        return X, y

    def _learn_scales(self, train, *, go_on):
        super()._learn_scales(train, go_on=go_on)
        if go_on:
            return
        self.table_ = TableStandardizer(
            numeric=self.numeric,
            categories="ordinal",
            categorical_features=self.categorical_features,
            dtype=self.dtype,
        ).set_output(transform="default")
        self.table_.fit(train.X, sample_weight=train.sample_weight)

    def _numbers(self, X):
        return self.table_.transform(X)

    def _make_module(self, rows, rng):
        n_rows = len(rows)
        chosen = slice(None)
        if n_rows > _SAMPLE:
            # At random: tables come sorted by class or by date.
            chosen = torch.from_numpy(rng.choice(n_rows, _SAMPLE, replace=False))
        seed = int(rng.integers(np.iinfo(np.int64).max))
        with local_rng(seed, torch.device("cpu")):
            return TabularNetwork(
                self.table_.n_numeric_out_,
                self.table_.cardinalities_,
                self._targets.n_outputs,
                architecture=self.architecture,
                hidden_layer_sizes=self.hidden_layer_sizes,
                activation=self.activation,
                parametric_activation=self.parametric_activation,
                norm=self.norm,
                norm_position=self.norm_position,
                init=self.init,
                bias_init=self.bias_init,
                dropout=self.dropout,
                embedding=self.embedding,
                n_members=self.n_members,
                members=self.members,
                generator=torch.Generator().manual_seed(seed),
                sample=rows.X[chosen],
                target=rows.y[chosen],
                dtype=getattr(torch, self.dtype),
            )

    def _resolve_max_epochs(self, n_rows, batch_size):
        if self.max_epochs != "auto":
            return self.max_epochs
        steps = _STEPS * min(1.0, math.sqrt(n_rows / _ROWS))
        passes = math.ceil(steps * batch_size / n_rows)
        return min(max(passes, _FEWEST), _MOST)

    def _find_end(self, train, valid, rng, *, go_on):
        if not go_on:
            self._share = self._find_share(train, valid, rng)
        # As far along it: on all rows it has fewer epochs, of more steps. Rows that
        # weights have been trained on can't tell when to end: what the first did does.
        share = getattr(self, "_share", 1.0)
        return max(1, round(self._planned(len(train.codes)) * share))

    def _find_share(self, train, valid, rng):
        """Return after which share of the epochs to end."""
        n_rows = len(train.codes)
        is_told = self.max_epochs != "auto" or valid is not None
        if is_told or not _TELLING <= n_rows < _ENOUGH:
            return 1.0
        # Of their own: fit and a look at a fresh network draw the same from rng.
        pilots = rng.spawn(_PILOTS if n_rows < _FEW else 1)
        return np.mean([self._share_of_schedule(train, draws) for draws in pilots])

    def _patience(self):
        # Rows to validate on tell when to end, which is known when all is done.
        last = math.inf if self.max_epochs == "auto" else None
        return self.n_iter_no_change if self.early_stopping else last

    def _share_of_schedule(self, train, rng):
        """Return after which share of the epochs the loss on rows held out is least."""
        pilot = copy.copy(self)
        pilot.validation_fraction, pilot.callbacks = _PART, None
        pilot.verbose, pilot._aim = min(int(self.verbose), 1), ", when to end"
        part, valid = pilot._hold_out(train, rng)
        planned = self._planned(len(part.codes))
        # To the end: with patience, a loss that falls again late would be missed.
        pilot._fit_table(part, valid, rng)
        losses = pilot.validation_loss_curve_
        if len(losses) < planned:
            # skorch ends a fit that is interrupted as if it were done.
            raise KeyboardInterrupt
        best = int(np.nanargmin([math.inf, *losses]))
        # Of a loss that was never a number there is nothing to learn.
        return best / planned if best else 1.0

    def _planned(self, n_rows):
        """Return the epochs of a whole schedule on so many rows."""
        return self._resolve_max_epochs(n_rows, self._resolve_batch_size(n_rows))

    def _require_members(self, method):
        if self.net_.module_.n_members == 1:
            raise ValueError(
                f"{method}(X, return_std=True) needs members that differ, and "
                f"n_members={self.n_members!r}. Fit with n_members=2 or more."
            )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        return tags


def spread(members):
    """Return the standard deviation over members, of shape (n_rows, n_outputs).

    Parameters
    ----------
    members : Tensor of shape (n_rows, n_members, n_outputs)
        What each of them predicts.

    Returns
    -------
    ndarray
        float64, without Bessel's correction: it is that of these members.
    """
    # There first: not every device has doubles.
    return members.cpu().double().std(dim=1, correction=0).numpy()
