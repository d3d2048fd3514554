"""What both estimators share."""

import copy
import functools
import json
import pickle
import random
import subprocess
import sys

import numpy as np
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest
import torch
from sklearn.metrics import f1_score, get_scorer
from skorch.callbacks import Callback, Checkpoint, EpochScoring, TrainEndCheckpoint
from torch import nn

from sknorm.exceptions import DivergenceError
from sknorm.neural_network import (
    NormMLPClassifier,
    NormMLPRegressor,
    TabularNetClassifier,
    TabularNetRegressor,
    _mapped,
    _rows,
)
from sknorm.neural_network._optimizers import OPTIMIZERS
from sknorm.nn.initializers import INITIALIZERS, Normal
from sknorm.nn.norms import NORMS


@pytest.fixture
def table(rng):
    X = rng.standard_normal((120, 5))
    return X, (X[:, 0] * X[:, 1] > 0).astype(int)


def quick(cls=NormMLPClassifier, **parameters):
    return cls(
        **(
            {
                "hidden_layer_sizes": (8,),
                "max_epochs": 4,
                "dropout": 0.0,
                "random_state": 0,
            }
            | parameters
        )
    )


def weights_of(model):
    return torch.cat([p.detach().ravel() for p in model.net_.module_.parameters()])


# -- randomness ------------------------------------------------------------------------


def global_states():
    return (
        torch.get_rng_state().tolist(),
        np.random.get_state()[1].tolist(),  # noqa: NPY002 - the state that must not move
        random.getstate(),
    )


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_random_state_repeats_a_fit_and_leaves_global_states_alone(table, norm):
    X, y = table
    parameters = {"dropout": 0.3, "early_stopping": True, "init": "lsuv", "norm": norm}
    before = global_states()
    one = quick(**parameters).fit(X, y)
    torch.rand(1)
    two = quick(**parameters).fit(X, y)
    assert torch.equal(weights_of(one), weights_of(two))
    torch.set_rng_state(torch.tensor(before[0], dtype=torch.uint8))
    quick(**parameters).fit(X, y).partial_fit(X, y)
    assert global_states() == before


def test_other_seed_other_fit(table):
    X, y = table
    assert not torch.equal(
        weights_of(quick().fit(X, y)), weights_of(quick(random_state=1).fit(X, y))
    )


def test_random_state_instance_moves_on(table):
    X, y = table
    model = quick(random_state=np.random.RandomState(0))
    assert not torch.equal(
        weights_of(model.fit(X, y)).clone(), weights_of(model.fit(X, y))
    )


def test_threads_are_given_back(table):
    before = torch.get_num_threads()
    quick().fit(*table)
    assert torch.get_num_threads() == before


# -- inputs ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "convert",
    [
        np.asfortranarray,
        lambda X: X.tolist(),
        lambda X: pd.DataFrame(X, columns=list("abcde")),
        lambda X: pl.DataFrame(X, schema=list("abcde")),
    ],
    ids=["fortran", "list", "pandas", "polars"],
)
def test_inputs_of_every_kind_give_the_same_fit(table, convert):
    X, y = table
    X = X.round(2)
    np.testing.assert_array_equal(
        quick().fit(convert(X), y).predict_proba(convert(X)),
        quick().fit(X, y).predict_proba(X),
    )


def test_read_only_input_is_read_and_no_input_is_written_to(table):
    X, y = table
    weight = np.linspace(0, 2, len(X))
    originals = X.copy(), y.copy(), weight.copy()
    for array in (X, y, weight):
        array.flags.writeable = False
    quick(early_stopping=True).fit(X, y, weight).predict(X)
    for array, original in zip((X, y, weight), originals, strict=True):
        np.testing.assert_array_equal(array, original)


@pytest.mark.parametrize("dtype", [np.float32, np.int8, bool])
def test_narrow_inputs(table, dtype):
    X, y = table
    assert quick().fit((3 * X).astype(dtype), y).predict(X.astype(dtype)).shape == (
        120,
    )


def test_feature_names(table):
    X, y = table
    frame = pd.DataFrame(X, columns=list("abcde"))
    model = quick().fit(frame, y)
    assert model.feature_names_in_.tolist() == list("abcde")
    assert model.n_features_in_ == 5
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(frame[list("edcba")])


# -- rows in files ---------------------------------------------------------------------


def in_file(array, folder, mode="r"):
    """Return an array that is mapped from a file of its own."""
    path = folder / f"table{len(list(folder.iterdir()))}"
    np.ascontiguousarray(array).tofile(path)
    return np.memmap(path, array.dtype, mode, shape=array.shape)


@pytest.fixture
def _files_stay(monkeypatch):
    """Have every file stay where it is, in pools of 20 rows of this table."""
    monkeypatch.setattr(_mapped, "_LOADED_BYTES", 0)
    monkeypatch.setattr(_rows, "_POOL_BYTES", 600)
    monkeypatch.setattr(_rows, "_BLOCK_BYTES", 80)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_small_files_give_the_fit_of_arrays(table, tmp_path, dtype):
    X, y = table
    mapped = in_file(X.astype(dtype), tmp_path)
    np.testing.assert_array_equal(
        quick().fit(mapped, y).predict_proba(mapped),
        quick().fit(X.astype(dtype), y).predict_proba(X.astype(dtype)),
    )


@pytest.mark.usefixtures("_files_stay")
@pytest.mark.parametrize("cls", [NormMLPClassifier, NormMLPRegressor])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_files_are_learned_from_and_predicted(table, tmp_path, cls, dtype):
    X, y = table
    mapped = in_file(X.astype(dtype), tmp_path)
    options = {"max_epochs": 60, "lr": 0.02}
    model = quick(cls, **options).fit(mapped, y)
    assert model.score(mapped, y) > 0.6
    np.testing.assert_array_equal(model.predict(mapped), model.predict(X.astype(dtype)))
    again = quick(cls, **options).fit(mapped, y)
    assert torch.equal(weights_of(model), weights_of(again))


@pytest.mark.usefixtures("_files_stay")
def test_rows_of_a_file_are_held_out_weighted_and_left_out(table, tmp_path):
    X, y = table
    weight = np.arange(120) % 3.0
    keep = weight > 0
    spoiled = np.where(keep[:, None], X, 1e6)
    mapped = in_file(spoiled, tmp_path)
    scoring = EpochScoring("neg_log_loss", lower_is_better=False, name="score")
    options = {"early_stopping": True, "max_epochs": 20, "callbacks": [scoring]}
    model = quick(**options).fit(mapped, y, weight)
    without = quick(**options).fit(in_file(X[keep], tmp_path), y[keep], weight[keep])
    np.testing.assert_array_equal(model.predict_proba(X), without.predict_proba(X))
    assert len(model.validation_loss_curve_) == model.n_iter_
    assert np.isfinite(model.history_[-1, "score"])


@pytest.mark.usefixtures("_files_stay", "dispatch")
def test_files_are_taken_where_other_libraries_arrays_are(table, tmp_path):
    X, y = table
    model = quick(class_weight="balanced").fit(
        in_file(X, tmp_path), y, np.arange(120.0)
    )
    assert model.predict(in_file(X, tmp_path)).shape == (120,)


@pytest.mark.usefixtures("_files_stay")
def test_files_to_validate_on_and_to_go_on_with(table, tmp_path):
    X, y = table
    mapped = in_file(X, tmp_path)
    model = quick().fit(X, y, X_val=mapped, y_val=y)
    same = quick().fit(X, y, X_val=X, y_val=y)
    assert model.validation_loss_curve_ == pytest.approx(same.validation_loss_curve_)
    before = weights_of(model).clone()
    model.partial_fit(mapped, y)
    assert not torch.equal(weights_of(model), before)


@pytest.mark.usefixtures("_files_stay")
def test_files_are_refused_for_what_arrays_are_refused(table, tmp_path):
    X, y = table
    model = quick().fit(X, y)
    X[100, 2] = np.nan
    with pytest.raises(ValueError, match="Input X contains NaN"):
        quick().fit(in_file(X, tmp_path), y)
    with pytest.raises(ValueError, match="Input X contains NaN"):
        model.predict(in_file(X, tmp_path))
    X[100, 2] = 1e300
    with pytest.raises(ValueError, match="Input X contains infinity"):
        model.predict(in_file(X, tmp_path))
    with pytest.raises(ValueError, match="is expecting 5 features"):
        model.predict(in_file(X[:, :3], tmp_path))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        quick().fit(in_file(X[:50], tmp_path), y)
    with pytest.raises(ValueError, match="Expected 2D array"):
        quick().fit(in_file(X[:, 0], tmp_path), y)


@pytest.mark.usefixtures("_files_stay")
def test_divergence_on_a_file_says_how_large_its_numbers_are(table, tmp_path):
    X, y = table
    X[7, 3] = 1e7
    model = quick(init=Normal(0, 1e30), norm="none", optimizer="sgd")
    with pytest.raises(DivergenceError, match=r"largest \|X\| is 1e\+07"):
        model.fit(in_file(X, tmp_path), y)


@pytest.mark.parametrize("early_stopping", [True, False])
def test_rows_without_room_on_the_device_give_the_same_fit(
    table, monkeypatch, early_stopping
):
    X, y = table
    resident = quick(early_stopping=early_stopping).fit(X, y)
    monkeypatch.setattr(_rows, "free_memory", lambda device: 100)
    monkeypatch.setattr(_rows, "_POOL_BYTES", 600)
    streamed = quick(early_stopping=early_stopping).fit(X, y)
    assert torch.equal(weights_of(resident), weights_of(streamed))
    # Slices to validate on have the rows that they have on the device.
    assert resident.validation_loss_curve_ == streamed.validation_loss_curve_


@pytest.mark.parametrize("cls", [NormMLPClassifier, NormMLPRegressor])
def test_parquet_batch_by_batch_is_learned_as_the_whole_is(rng, tmp_path, cls):
    path, n_rows = tmp_path / "table.parquet", 2_000
    frame = pd.DataFrame(rng.standard_normal((n_rows, 3)), columns=list("abc"))
    frame["y"] = (frame["a"] + frame["b"] > 0).astype(float)
    frame.to_parquet(path, row_group_size=500)
    model = quick(cls, lr=0.01, batch_size=100)
    first = {"classes": [0.0, 1.0]} if cls is NormMLPClassifier else {}
    for _ in range(5):
        for batch in pq.ParquetFile(path).iter_batches(batch_size=500):
            part = batch.to_pandas()
            model.partial_fit(part[list("abc")], part["y"], **first)
    whole = quick(cls, lr=0.01, batch_size=100, max_epochs=5, lr_schedule="constant")
    X, y = frame[list("abc")], frame["y"]
    assert model.score(X, y) == pytest.approx(whole.fit(X, y).score(X, y), abs=0.05)
    assert model.score(X, y) > 0.6
    assert len(model.history_) == 20


PEAKS = """
import json, sys
from pathlib import Path
import numpy as np
from sknorm.neural_network import NormMLPClassifier, NormMLPRegressor, _mapped, _rows

def kilobytes(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))

def growth(work):
    before = kilobytes("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # Forgets the peak until now.
    work()
    return (kilobytes("VmHWM") - before) / 1024

rng = np.random.default_rng(0)
X = rng.standard_normal((400_000, 40))
y = (X[:, 0] > 0).astype(int)
options = {"hidden_layer_sizes": (8,), "batch_size": 4096, "max_epochs": 1}
model = NormMLPClassifier(**options).fit(X[:20_000], y[:20_000])
model.predict_proba(X[:20_000])
found = {"double": growth(lambda: NormMLPClassifier(**options).fit(X, y))}
X = X.astype(np.float32)
found["single"] = growth(lambda: NormMLPClassifier(**options).fit(X, y))
_mapped._LOADED_BYTES = _rows._POOL_BYTES = 2**23
with open(sys.argv[1], "wb") as file:
    for _ in range(4):
        X.tofile(file)
y = np.tile(y, 4)
X = np.memmap(sys.argv[1], np.float32, "r", shape=(len(y), 40))
found["file"] = growth(lambda: NormMLPClassifier(**options).fit(X, y))
found["predict"] = growth(lambda: model.predict_proba(X))
print(json.dumps(found))
"""


def test_memory_that_a_fit_takes_at_its_peak(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", PEAKS, tmp_path / "table"],
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    copy = 400_000 * 40 * 4 / 2**20
    assert copy * 0.95 < found["double"] < copy + 0.15 * 2 * copy
    # Codes and orders, 8 bytes a row each.
    assert found["single"] < 0.25 * copy
    # Of a file of four copies: codes and their making, and a few pools.
    assert found["file"] < copy
    # Probabilities, with what they are made from.
    assert found["predict"] < copy


# -- every name ------------------------------------------------------------------------


@pytest.mark.parametrize("norm", list(NORMS))
@pytest.mark.parametrize("position", ["before", "after"])
def test_every_norm_trains(table, norm, position):
    model = quick(norm=norm, norm_position=position, max_epochs=10, lr=1e-2)
    model.fit(*table)
    assert model.loss_curve_[-1] < model.loss_curve_[0]


@pytest.mark.parametrize("init", list(INITIALIZERS))
def test_every_init_runs_and_only_zeros_learns_nothing(table, init):
    model = quick(init=init, norm="none", max_epochs=10, lr=1e-2).fit(*table)
    hidden = model.net_.module_[0].weight
    assert bool(hidden.any()) == (init != "zeros")


@pytest.mark.parametrize("optimizer", list(OPTIMIZERS))
def test_every_optimizer_trains(table, optimizer):
    model = quick(optimizer=optimizer, lr=0.05, norm="none")
    model.set_params(max_epochs=3 if optimizer == "lbfgs" else 10)
    assert model.fit(*table).loss_curve_[-1] < model.loss_curve_[0]


def test_optimizer_class_and_parameters(table):
    spec = functools.partial(torch.optim.SGD, momentum=0.5)
    model = quick(optimizer=spec, optimizer_params={"nesterov": True}).fit(*table)
    assert model.net_.optimizer_.defaults["momentum"] == 0.5
    assert model.net_.optimizer_.defaults["nesterov"]
    assert spec.keywords == {"momentum": 0.5}


def test_schedules_are_followed(table):
    X, y = table
    lrs = {}
    for name in ("constant", "linear", lambda progress: 0.5):
        model = quick(lr_schedule=name, lr=0.01, max_epochs=5).fit(X, y)
        lrs[name] = [epoch["lr"] for epoch in model.history_]
    constant, linear, half = lrs.values()
    assert constant == [0.01] * 5
    assert np.all(np.diff(linear) < 0)
    assert half == pytest.approx([0.005] * 5)


def test_torch_scheduler_class(table):
    spec = functools.partial(torch.optim.lr_scheduler.ExponentialLR, gamma=0.5)
    model = quick(lr_schedule=spec, lr=0.08, max_epochs=3).fit(*table)
    assert [epoch["lr"] for epoch in model.history_] == pytest.approx(
        [0.08, 0.04, 0.02]
    )


def test_weight_decay_shrinks_the_weights(table):
    norms = [
        quick(weight_decay=decay, max_epochs=30, lr=0.01)
        .fit(*table)
        .net_.module_[0]
        .weight.norm()
        .item()
        for decay in (0.0, 5.0)
    ]
    assert norms[1] < 0.5 * norms[0]


@pytest.mark.parametrize(
    ("optimizer", "lr", "decay"),
    [
        ("adamw", 3e-3, 2.0),
        (functools.partial(torch.optim.AdamW, eps=1e-6), 6e-4, 10.0),
        ("adam", 3e-3, 0.0),
        ("sgd", 3e-3, 0.0),
    ],
)
def test_auto_weight_decay(table, optimizer, lr, decay):
    net = quick(optimizer=optimizer, lr=lr, max_epochs=1).fit(*table).net_
    matrices, vectors = net.optimizer_.param_groups
    assert matrices["weight_decay"] == pytest.approx(decay)
    assert vectors["weight_decay"] == 0


def test_dropout_is_off_at_predict(table):
    X, y = table
    model = quick(dropout=0.5).fit(X, y)
    np.testing.assert_array_equal(model.predict_proba(X), model.predict_proba(X))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype(table, dtype):
    X, y = table
    model = quick(dtype=dtype).fit(X, y)
    assert weights_of(model).dtype == getattr(torch, dtype)
    assert model.predict_proba(X).dtype == np.dtype(dtype)


def test_device(table, device):
    X, y = table
    model = quick(device=device, max_epochs=30, lr=0.01).fit(X, y)
    assert model.device_.startswith(device)
    assert model.score(X, y) > 0.7


NETWORKS = [
    NormMLPClassifier,
    NormMLPRegressor,
    functools.partial(TabularNetClassifier, n_members=2),
    functools.partial(TabularNetRegressor, n_members=2),
]


@pytest.mark.parametrize("make", NETWORKS)
def test_recorded_steps_are_the_same_steps(make, table, device):
    X, y = table
    options = {"device": device, "batch_size": 16, "early_stopping": True}
    plain, recorded = (
        quick(make, compile=compile, **options).fit(X, y) for compile in (False, True)
    )
    # On a GPU gradients of vectors are added up in no fixed order.
    tol = 0.0 if device == "cpu" else 1e-2
    expected = plain.predict(X)
    np.testing.assert_allclose(recorded.predict(X), expected, rtol=tol, atol=tol)
    for twin in (copy.deepcopy(recorded), pickle.loads(pickle.dumps(recorded))):
        twin.partial_fit(X, y)
        assert type(twin.net_.module_) is type(plain.net_.module_)
        names, expected = (m.net_.module_.state_dict().keys() for m in (twin, plain))
        assert names == expected
        assert np.isfinite(twin.loss_curve_).all()


@pytest.mark.parametrize("make", NETWORKS)
def test_mixed_precision_is_that_of_training_alone(make, table):
    X, y = table
    options = {"device": "cpu", "max_epochs": 10, "early_stopping": True}
    plain, mixed = (quick(make, amp=amp, **options).fit(X, y) for amp in (False, True))
    assert not torch.equal(weights_of(mixed), weights_of(plain))
    assert {p.dtype for p in mixed.net_.module_.parameters()} == {torch.float32}
    # Eight bits of each factor; later on steps differ, and with them where they lead.
    assert mixed.loss_curve_[0] == pytest.approx(plain.loss_curve_[0], rel=0.01)
    assert mixed.loss_curve_[-1] < mixed.loss_curve_[0]
    seen = []
    mixed.net_.module_.register_forward_hook(lambda *args: seen.append(args[-1].dtype))
    mixed.predict(X)
    assert set(seen) == {torch.float32}


@pytest.mark.parametrize("make", NETWORKS)
def test_mixed_precision_of_doubles(make, table):
    with pytest.raises(ValueError, match=r"amp=True .* Got dtype='float64'"):
        quick(make, amp=True, dtype="float64").fit(*table)
    for name in ("amp", "compile"):
        with pytest.raises(ValueError, match=f"The '{name}' parameter of .* 'always'"):
            quick(make, **{name: "always"}).fit(*table)


def test_users_own_activation_norm_and_init(table):
    model = quick(activation=torch.sin, norm=nn.LayerNorm, init=Normal(0, 0.3))
    model.fit(*table)
    assert [type(p).__name__ for p in model.net_.module_] == [
        "Linear",
        "LayerNorm",
        "Elementwise",
        "Linear",
    ]


# -- weights ---------------------------------------------------------------------------


def test_rows_of_weight_zero_are_as_if_not_there(table):
    X, y = table
    keep = np.arange(120) % 3 > 0
    weighted = quick(init="lsuv").fit(X, y, sample_weight=keep.astype(float))
    without = quick(init="lsuv").fit(X[keep], y[keep])
    np.testing.assert_array_equal(weighted.predict_proba(X), without.predict_proba(X))


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e15])
def test_the_scale_of_weights_does_not_matter(table, scale):
    X, y = table
    weight = np.linspace(1, 2, 120)
    a, b = (quick().fit(X, y, w).predict_proba(X) for w in (weight, scale * weight))
    # The weights differ by a rounding of float32 after they are divided by their mean.
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("norm", ["none", "layer"])
@pytest.mark.parametrize("cls", [NormMLPClassifier, NormMLPRegressor])
def test_weights_equal_repetition_in_the_strict_configuration(rng, cls, norm):
    X = rng.standard_normal((40, 3))
    y = (X[:, 0] > 0).astype(int)
    weight = rng.integers(0, 4, 40)
    strict = {"norm": norm, "batch_size": 1000, "dtype": "float64", "max_epochs": 30}
    a = quick(cls, **strict).fit(X, y, weight).predict(X)
    b = quick(cls, **strict).fit(X.repeat(weight, 0), y.repeat(weight)).predict(X)
    np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-10)


# -- validation and stopping -----------------------------------------------------------


def test_early_stopping_goes_back_to_the_best_weights(table):
    X, y = table
    X_val, y_val = X[:40], 1 - y[:40]
    model = quick(early_stopping=True, max_epochs=60, n_iter_no_change=5, lr=0.02)
    model.fit(X[40:], y[40:], X_val=X_val, y_val=y_val)
    assert model.n_iter_ < 60
    assert len(model.validation_loss_curve_) == model.n_iter_
    proba = model.predict_proba(X_val)[np.arange(40), y_val]
    assert -np.log(proba).mean() == pytest.approx(
        min(model.validation_loss_curve_), rel=1e-4
    )


def test_validation_set_without_stopping_is_only_watched(table):
    X, y = table
    model = quick().fit(X, y, X_val=X[:10], y_val=y[:10])
    assert len(model.validation_loss_curve_) == 4
    plain = quick().fit(X, y)
    assert plain.validation_loss_curve_ is None
    assert torch.equal(weights_of(model), weights_of(plain))


def test_warm_start_goes_on(table):
    X, y = table
    model = quick(warm_start=True, lr_schedule="constant", max_epochs=20).fit(X, y)
    first = model.loss_curve_
    model.fit(X, y)
    assert model.loss_curve_[0] < first[0]
    assert model.loss_curve_[0] == pytest.approx(first[-1], rel=0.3)
    cold = quick(max_epochs=20, lr_schedule="constant").fit(X, y).fit(X, y)
    assert cold.loss_curve_ == first


def test_batch_size_rule():
    model = quick()
    expected = {1: 1, 20: 20, 255: 32, 256: 64, 2048: 64, 2049: 128, 10**6: 256}
    assert {n: model._resolve_batch_size(n) for n in expected} == expected
    assert quick(batch_size=50)._resolve_batch_size(20) == 20


# -- callbacks -------------------------------------------------------------------------


class EpochCounter(Callback):
    def initialize(self):
        self.epochs = 0
        return self

    def on_epoch_end(self, net, **kwargs):
        self.epochs += 1


def test_callbacks_are_told_and_stay_the_users_own(table):
    counter = EpochCounter()
    model = quick(callbacks=[counter]).fit(*table)
    assert counter.epochs == 4
    assert model.callbacks == [counter]


def test_skorchs_scoring_and_checkpoint(table, tmp_path):
    X, y = table
    scoring = EpochScoring("neg_log_loss", lower_is_better=False, name="score")
    checkpoint = Checkpoint(
        dirname=tmp_path, monitor=None, f_optimizer=None, f_history=None
    )
    model = quick(callbacks=[("score", scoring), checkpoint])
    model.fit(X, y, X_val=X, y_val=y)
    assert model.history_[-1, "score"] == pytest.approx(
        -model.validation_loss_curve_[-1], rel=1e-3
    )
    saved = torch.load(tmp_path / "params.pt", weights_only=True)
    assert torch.equal(saved["0.weight"], model.net_.module_[0].weight)


@pytest.mark.parametrize("cls", [NormMLPClassifier, TabularNetClassifier])
@pytest.mark.parametrize("on_train", [False, True])
@pytest.mark.parametrize("metric", ["accuracy", "f1", "roc_auc", "neg_log_loss"])
def test_scores_of_an_epoch_are_those_of_predictions(table, cls, on_train, metric):
    X, y = table
    scoring = EpochScoring(
        metric, on_train=on_train, lower_is_better=False, name="score"
    )
    still = {"lr": 1e-12, "weight_decay": 0.0, "norm": "none", "max_epochs": 1}
    model = quick(cls, callbacks=[scoring], **still).fit(X, y, X_val=X, y_val=y)
    score = get_scorer(metric)(model, X, y)
    assert model.history_[-1, "score"] == pytest.approx(score, rel=1e-5)


@pytest.mark.parametrize("on_train", [False, True])
def test_scores_of_members_are_those_of_their_mean(table, on_train):
    X, y = table
    metrics = "r2", "neg_mean_absolute_error"
    scores = [
        EpochScoring(m, on_train=on_train, lower_is_better=False, name=m)
        for m in metrics
    ]
    still = {"lr": 1e-12, "max_epochs": 1, "averaging": "none", "n_members": 3}
    model = quick(TabularNetRegressor, callbacks=scores, **still)
    model.fit(X, y, X_val=X, y_val=y)
    assert model.history_[-1, "r2"] == pytest.approx(model.score(X, y), rel=1e-4)
    error = np.abs(model.predict(X) - y).mean() / y.std()
    assert model.history_[-1, metrics[1]] == pytest.approx(-error, rel=1e-4)


def test_scores_that_would_predict_anew(table):
    X, y = table
    scores = [
        EpochScoring("accuracy", lower_is_better=False, name=name, use_caching=caching)
        for name, caching in (("anew", False), ("kept", True))
    ]
    model = quick(callbacks=scores).fit(X, y, X_val=X, y_val=y)
    assert model.history_[-1, "anew"] == model.history_[-1, "kept"]


def test_labels_are_scored_too(table):
    X, y = table
    scoring = EpochScoring("f1_macro", lower_is_better=False, name="score")
    Y = np.column_stack([y, X[:, 0] > 0]).astype(int)
    model = quick(callbacks=[scoring]).fit(X, Y, X_val=X, y_val=Y)
    assert model.history_[-1, "score"] == f1_score(Y, model.predict(X), average="macro")


@pytest.mark.parametrize("cls", [NormMLPClassifier, TabularNetClassifier])
def test_checkpoints_of_every_kind(table, cls, tmp_path):
    X, y = table
    best, last = (tmp_path / name for name in ("best", "last"))
    checkpoints = [Checkpoint(dirname=best), TrainEndCheckpoint(dirname=last)]
    model = quick(cls, callbacks=checkpoints).fit(X, y, X_val=X, y_val=y)
    saved = torch.load(last / "train_end_params.pt", weights_only=True)
    for name, weight in model.net_.module_.state_dict().items():
        torch.testing.assert_close(saved[name], weight)
    assert (best / "params.pt").exists()


# -- failing and lasting ---------------------------------------------------------------


@pytest.mark.parametrize("cls", [NormMLPClassifier, NormMLPRegressor])
@pytest.mark.parametrize(
    "spoil",
    [
        {"init": Normal(0, 1e30), "norm": "none", "optimizer": "sgd"},
        {"activation": "rleu"},
        {"batch_size": 1},
        {"device": "nowhere"},
        {"hidden_layer_sizes": (0,)},
    ],
    ids=lambda s: next(iter(s)),
)
def test_failed_fit_leaves_the_earlier_one(table, cls, spoil):
    X, y = table
    model = quick(cls).fit(X, y)
    before, attributes = model.predict(X), dict(vars(model))
    model.set_params(**spoil)
    with pytest.raises((ValueError, DivergenceError)):
        model.fit(X[:, :3], y)
    model.set_params(**{name: attributes[name] for name in spoil})
    assert vars(model) == attributes
    np.testing.assert_array_equal(model.predict(X), before)


class Bomb(Callback):
    def on_epoch_end(self, net, **kwargs):
        raise RuntimeError("boom")


@pytest.mark.parametrize("method", ["partial_fit", "fit"])
def test_failure_midway_undoes_the_training_in_place(table, method):
    X, y = table
    model = quick(warm_start=True).fit(X, y)
    before, epochs = model.predict_proba(X), len(model.loss_curve_)
    if method == "fit":
        model.set_params(callbacks=[Bomb()])
    else:
        model.net_.callbacks_.append(("bomb", Bomb().initialize()))
    with pytest.raises(RuntimeError, match="boom"):
        getattr(model, method)(X, y)
    np.testing.assert_array_equal(model.predict_proba(X), before)
    assert len(model.history_) == epochs


def test_partial_fit_takes_the_parameters_as_they_are(table):
    X, y = table
    model = quick(batch_size=64).partial_fit(X[:10], y[:10], classes=[0, 1])
    assert model.net_.batch_size == 10
    model.partial_fit(X, y)
    assert model.history_[-1, "train_batch_count"] == 2, "the first call was small"
    model.set_params(batch_size=30, lr=1e-9, clip_grad_norm=0.5).partial_fit(X, y)
    assert model.history_[-1, "train_batch_count"] == 4
    assert model.history_[-1, "lr"] == pytest.approx(1e-9)
    assert model.net_.clip_grad_norm == 0.5


def test_partial_fit_takes_the_callbacks_as_they_are(table):
    first, later = EpochCounter(), EpochCounter()
    model = quick(callbacks=[first]).fit(*table).partial_fit(*table)
    assert first.epochs == 5
    model.set_params(callbacks=[later]).partial_fit(*table).partial_fit(*table)
    model.set_params(callbacks=None).partial_fit(*table)
    assert (first.epochs, later.epochs) == (5, 2)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"lr": 1.0}, "names 'lr', which is a parameter of its own. Set lr"),
        ({"momentun": 0.9}, "names 'momentun'. Unknown .*Did you mean 'momentum'"),
    ],
)
def test_what_an_optimizer_does_not_take(table, parameters, message):
    message = f"The 'optimizer_params' parameter of NormMLPClassifier {message}"
    with pytest.raises(ValueError, match=message):
        quick(optimizer="sgd", optimizer_params=parameters).fit(*table)


@pytest.mark.parametrize(
    ("parameters", "name"),
    [({"lr_schedule": "plato"}, "plateau"), ({"averaging": "non"}, "none")],
)
def test_messages_know_all_names(table, parameters, name):
    with pytest.raises(ValueError, match=f"Allowed names: .*{name}"):
        quick(**parameters).fit(*table)


def test_a_failed_partial_fit_leaves_the_net_as_it_was(table):
    X, y = table
    model = quick(early_stopping=True, lr_schedule="cosine").fit(X, y)
    names = "callbacks_", "batch_size", "clip_grad_norm", "lr", "schedule", "max_epochs"
    before = {name: getattr(model.net_, name) for name in names}
    model.net_.callbacks_.append(("bomb", Bomb().initialize()))
    with pytest.raises(RuntimeError, match="boom"):
        model.set_params(lr=5.0, batch_size=7).partial_fit(X, y)
    assert {name: getattr(model.net_, name) for name in names} == before
    assert model.net_.optimizer_.param_groups[0]["lr"] != 5.0


def test_validation_rows_that_do_not_count(table):
    X, y = table
    model = quick(class_weight={0: 1, 1: 0})
    with pytest.raises(ValueError, match=r"No row of X_val and y_val.*class_weight"):
        model.fit(X, y, X_val=X[y == 1], y_val=y[y == 1])


def test_a_prediction_does_not_depend_on_the_rows_beside_it(table):
    X, y = table
    model = quick(NormMLPRegressor, hidden_layer_sizes=(64, 64)).fit(X, y)
    together = model.predict(X)
    alone = np.concatenate([model.predict(X[i : i + 1]) for i in range(len(X))])
    np.testing.assert_array_equal(together, alone)


def test_interrupt_keeps_what_was_learned(table):
    class Stop(Callback):
        def on_epoch_end(self, net, **kwargs):
            if len(net.history) == 2:
                raise KeyboardInterrupt

    model = quick(callbacks=[Stop()]).fit(*table)
    assert model.n_iter_ == 2


def test_deepcopy_of_a_fitted_estimator_is_independent(table):
    X, y = table
    model = quick().fit(X, y)
    twin = copy.deepcopy(model)
    before = model.predict_proba(X)
    twin.partial_fit(X, y)
    np.testing.assert_array_equal(model.predict_proba(X), before)
