"""What the networks for tables share: columns of any kind, members, budgets."""

import math
import pickle
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from skorch.callbacks import Callback

from sknorm.neural_network import TabularNetClassifier, TabularNetRegressor
from sknorm.neural_network._tabular import spread
from sknorm.nn.embeddings import PiecewiseLinear

SMALL = {
    "hidden_layer_sizes": (16,),
    "n_members": 3,
    "max_epochs": 4,
    "batch_size": 32,
    "random_state": 0,
    "device": "cpu",
}


@pytest.fixture
def frame(rng):
    """Return 120 rows of all that a table may hold, and classes that depend on it."""
    n = 120
    size = rng.normal(size=n)
    color = rng.choice(["red", "green", "blue"], n)
    X = pd.DataFrame(
        {
            "size": np.where(rng.random(n) < 0.1, np.nan, size),
            "color": pd.Series(color).where(rng.random(n) > 0.1, None),
            "open": rng.random(n) < 0.5,
            "day": pd.Timestamp("2020-01-01")
            + pd.to_timedelta(rng.integers(0, 900, n), unit="D"),
            "code": rng.integers(0, 40, n).astype(str),
        }
    )
    y = np.where((size > 0) ^ (color == "red"), "yes", "no")
    return X, y


def test_a_frame_of_everything_is_learned(frame):
    X, y = frame
    model = TabularNetClassifier(32, n_members=4, max_epochs=40, random_state=0)
    assert model.fit(X, y).score(X, y) > 0.95
    assert model.feature_names_in_.tolist() == X.columns.tolist()
    assert model.table_.kinds_["color"] == "category"


def test_pandas_and_polars_give_the_same(frame):
    X, y = frame
    a, b = (
        TabularNetClassifier(**SMALL).fit(rows, y).predict_proba(rows)
        for rows in (X, pl.from_pandas(X))
    )
    np.testing.assert_array_equal(a, b)


def test_what_was_not_seen_is_predicted_too(frame):
    X, y = frame
    model = TabularNetClassifier(**SMALL).fit(X, y)
    strange = X[:3].assign(color="violet", code="99", size=np.nan)
    assert np.isfinite(model.predict_proba(strange)).all()


def test_columns_are_learned_from_the_rows_that_are_trained_on(frame):
    X, y = frame
    far = X.assign(size=1e6)
    model = TabularNetClassifier(**SMALL).fit(X, y, X_val=far, y_val=y)
    alone = TabularNetClassifier(**SMALL).fit(X, y)
    np.testing.assert_array_equal(model.table_.transform(X), alone.table_.transform(X))
    held_out = TabularNetClassifier(early_stopping=True, **SMALL).fit(X, y)
    assert not np.array_equal(held_out.table_.transform(X), alone.table_.transform(X))


def test_weights_of_classes_are_a_matter_of_the_loss(frame):
    X, y = frame
    model = TabularNetClassifier(class_weight={"yes": 9}, **SMALL).fit(X, y)
    plain = TabularNetClassifier(**SMALL).fit(X, y)
    np.testing.assert_array_equal(model.table_.transform(X), plain.table_.transform(X))
    assert not np.array_equal(model.predict_proba(X), plain.predict_proba(X))


def test_rows_of_weight_zero_are_not_there(frame):
    X, y = frame
    weight = np.ones(len(X))
    weight[:20] = 0.0
    spoilt = X.copy()
    spoilt.loc[:19, "size"] = 1e9
    a = TabularNetClassifier(**SMALL).fit(spoilt, y, sample_weight=weight)
    b = TabularNetClassifier(**SMALL).fit(X[20:], y[20:])
    np.testing.assert_array_equal(a.predict_proba(X), b.predict_proba(X))


@pytest.mark.parametrize("members", ["batch_ensemble", "mini", "independent"])
@pytest.mark.parametrize("architecture", ["mlp", "resnet"])
@pytest.mark.parametrize("embedding", ["none", "ple", "pbld"])
def test_every_kind_of_network(frame, members, architecture, embedding):
    X, y = frame
    options = {"members": members, "architecture": architecture, "norm": "layer"}
    model = TabularNetClassifier(embedding=embedding, **options, **SMALL).fit(X, y)
    assert model.net_.module_(
        torch.zeros(5, len(model.table_.get_feature_names_out()))
    ).shape == (5, 3, 2)
    assert np.isfinite(model.predict_proba(X)).all()


def test_a_prediction_does_not_depend_on_its_neighbours(frame):
    X, y = frame
    model = TabularNetClassifier(**SMALL).fit(X, y)
    alone = np.concatenate([model.predict_proba(X[i : i + 1]) for i in range(40)])
    np.testing.assert_array_equal(model.predict_proba(X)[:40], alone)


def test_fits_repeat_and_leave_the_global_generator_alone(frame):
    X, y = frame
    before = torch.get_rng_state()
    a, b = (TabularNetClassifier(**SMALL).fit(X, y).predict_proba(X) for _ in "ab")
    np.testing.assert_array_equal(a, b)
    assert torch.equal(before, torch.get_rng_state())


def test_pickle_and_clone(frame):
    X, y = frame
    model = TabularNetClassifier(embedding=PiecewiseLinear(n_bins=8), **SMALL).fit(X, y)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    assert clone(model).embedding == model.embedding


def test_arrays_of_numbers_need_no_names(rng):
    X = rng.normal(size=(80, 3))
    X[::7, 1] = np.nan
    model = TabularNetRegressor(**SMALL).fit(X, X[:, 0])
    assert model.n_features_in_ == 3
    assert not hasattr(model, "feature_names_in_")
    by_index = TabularNetRegressor(categorical_features=[2], **SMALL)
    by_index.fit(np.round(X), X[:, 0])
    assert by_index.table_.kinds_[2] == "category"


def test_in_a_pipeline_with_a_frame(frame):
    X, y = frame
    pipeline = make_pipeline("passthrough", TabularNetClassifier(**SMALL))
    assert pipeline.fit(X, y).predict(X).shape == y.shape


@pytest.mark.parametrize(
    ("n_rows", "batch_size", "expected"),
    [(64, 32, 100), (3_250, 128, 79), (52_000, 256, 20), (1_000_000, 256, 10)],
)
def test_passes_that_make_so_many_steps(n_rows, batch_size, expected):
    model = TabularNetClassifier()
    assert model._resolve_max_epochs(n_rows, batch_size) == expected
    assert model.set_params(max_epochs=7)._resolve_max_epochs(n_rows, 32) == 7


class TestTheEndOfTraining:
    """max_epochs="auto" ends where rows that aren't learned from say so."""

    SMALL = SMALL | {"max_epochs": "auto", "n_members": 2, "lr": 0.01}

    def test_noise_ends_early_and_a_rule_late(self, rng):
        X = rng.normal(size=(300, 4))
        noise = TabularNetRegressor(**self.SMALL).fit(X, rng.normal(size=300))
        rule = TabularNetRegressor(**self.SMALL).fit(X, X[:, 0] * X[:, 1])
        planned = rule._resolve_max_epochs(300, 32)
        assert noise.n_iter_ < planned / 4 < planned / 2 < rule.n_iter_ <= planned
        assert len(noise.loss_curve_) == noise.n_iter_
        # The rate falls as if all epochs were still to come.
        rates = [epoch["lr"] for epoch in noise.history_]
        assert rates[-1] > 0.8 * 0.01

    def test_all_rows_are_learned_from_in_the_end(self, rng):
        X, y = rng.normal(size=(60, 2)), rng.normal(size=60)
        seen = []

        class Watch(Callback):
            def on_train_begin(self, net, X=None, y=None, **kwargs):
                seen.append(len(X))

        model = TabularNetRegressor(**self.SMALL, callbacks=[Watch()]).fit(X, y)
        assert seen == [60]
        assert model.validation_loss_curve_ is None

    @pytest.mark.parametrize("verbose", [0, 1, 2])
    def test_progress_is_shown_of_both(self, rng, capsys, monkeypatch, verbose):
        monkeypatch.setenv("COLUMNS", "200")
        X, y = rng.normal(size=(60, 2)), rng.normal(size=60)
        model = TabularNetRegressor(**self.SMALL, verbose=verbose).fit(X, y)
        shown = capsys.readouterr()
        planned = model._resolve_max_epochs(48, 32)
        assert ("TabularNetRegressor, when to end:" in shown.err) == (verbose > 0)
        assert (f"/{planned} [" in shown.err) == (verbose > 0)
        assert ("TabularNetRegressor: 100%" in shown.err) == (verbose == 1)
        # A heading of two lines, and one for each epoch that counts.
        lines = shown.out.splitlines()
        assert len(lines) == (model.n_iter_ + 2 if verbose == 2 else 0)

    def test_where_it_is(self, rng, monkeypatch):
        found = []
        fit_table = TabularNetRegressor._fit_table

        def watched(self, train, *args, **kwargs):
            fit_table(self, train, *args, **kwargs)
            found.append((len(train.codes), self.validation_loss_curve_))

        monkeypatch.setattr(TabularNetRegressor, "_fit_table", watched)
        X, y = rng.normal(size=(300, 4)), rng.normal(size=300)
        model = TabularNetRegressor(**self.SMALL).fit(X, y)
        *pilots, last = found
        planned = model._planned(240)
        assert [n_rows for n_rows, _ in pilots] == [240] * 3
        bests = [np.argmin(curve) + 1 for _, curve in pilots]
        assert len(set(bests)) > 1, "they hold out the same rows"
        assert [len(curve) for _, curve in pilots] == [planned] * 3
        assert last == (300, None)
        share = np.mean(bests) / planned
        assert model.n_iter_ == max(1, round(model._planned(300) * share))

    def test_many_rows_are_held_out_once(self, rng, monkeypatch):
        monkeypatch.setattr("sknorm.neural_network._tabular._FEW", 300)
        asked = []

        def share(self, train, rng):
            asked.append(len(train.codes))
            return 0.5

        monkeypatch.setattr(TabularNetRegressor, "_share_of_schedule", share)
        X, y = rng.normal(size=(300, 2)), rng.normal(size=300)
        model = TabularNetRegressor(**self.SMALL).fit(X, y)
        assert asked == [300]
        assert model.n_iter_ == round(model._planned(300) / 2)

    @pytest.mark.parametrize("at", [1, 3])
    def test_an_interrupt_is_one(self, rng, monkeypatch, at):
        from sknorm.neural_network._net import LeanNet

        X, y = rng.normal(size=(60, 2)), rng.normal(size=60)
        model = TabularNetRegressor(**self.SMALL, lr_schedule="constant").fit(X, y)
        before = model.predict(X)
        epoch, taken = LeanNet.run_single_epoch, []

        def interrupted(self, iterator, training, **kwargs):
            taken.append(training)
            if sum(taken) == at:
                raise KeyboardInterrupt
            return epoch(self, iterator, training, **kwargs)

        monkeypatch.setattr(LeanNet, "run_single_epoch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            model.fit(X, y)
        assert sum(taken) == at
        np.testing.assert_array_equal(model.predict(X), before)

    def test_a_loss_that_is_no_number_tells_nothing(self, rng, monkeypatch):
        from sknorm.neural_network._net import LeanNet

        step = LeanNet.validation_step

        def no_number(self, batch, **kwargs):
            found = step(self, batch, **kwargs)
            return found | {"loss": found["loss"] * math.nan}

        monkeypatch.setattr(LeanNet, "validation_step", no_number)
        X, y = rng.normal(size=(60, 2)), rng.normal(size=60)
        model = TabularNetRegressor(**self.SMALL).fit(X, y)
        assert model.n_iter_ == model._planned(60)

    def test_it_starts_as_with_a_number(self, rng):
        X, y = rng.normal(size=(60, 2)), rng.normal(size=60)
        auto = TabularNetRegressor(**self.SMALL | {"lr": 1e-12}).fit(X, y)
        known = self.SMALL | {"lr": 1e-12, "max_epochs": auto.n_iter_}
        same = TabularNetRegressor(**known).fit(X, y)
        np.testing.assert_allclose(auto.predict(X), same.predict(X), rtol=1e-5)

    @pytest.mark.parametrize("n_rows", [49, 300])
    def test_few_rows_tell_nothing_and_many_need_not(self, rng, n_rows, monkeypatch):
        monkeypatch.setattr("sknorm.neural_network._tabular._ENOUGH", 300)
        X, y = rng.normal(size=(n_rows, 2)), rng.normal(size=n_rows)
        model = TabularNetRegressor(**self.SMALL).fit(X, y)
        assert model.n_iter_ == model._planned(n_rows)

    def test_other_rows_to_validate_on_are_enough(self, rng):
        X, y = rng.normal(size=(100, 2)), rng.normal(size=100)
        model = TabularNetRegressor(**self.SMALL).fit(X, y, X_val=X, y_val=y)
        assert model.n_iter_ == model._resolve_max_epochs(100, 32)
        assert len(model.validation_loss_curve_) == model.n_iter_

    def test_rows_to_validate_on_tell_when_it_was(self, rng):
        X, y = rng.normal(size=(100, 2)), rng.normal(size=100)
        X_val, y_val = rng.normal(size=(100, 2)), rng.normal(size=100)
        model = TabularNetRegressor(**self.SMALL).fit(X, y, X_val=X_val, y_val=y_val)
        losses = model.validation_loss_curve_
        assert min(losses) < losses[-1]
        error = np.mean(np.square(model.predict(X_val) - y_val)) / y.var()
        assert error == pytest.approx(min(losses), rel=1e-4)

    def test_a_warm_start_goes_as_far_again(self, rng):
        X, y = rng.normal(size=(100, 2)), rng.normal(size=100)
        model = TabularNetRegressor(warm_start=True, **self.SMALL).fit(X, y)
        found = model.n_iter_
        assert found < model._planned(100) / 2
        assert model.fit(X, y).n_iter_ == found
        begun = TabularNetRegressor(warm_start=True, **self.SMALL).partial_fit(X, y)
        assert begun.fit(X, y).n_iter_ == model._planned(100)

    def test_it_repeats(self, frame):
        X, y = frame
        a, b = (TabularNetClassifier(**self.SMALL).fit(X, y) for _ in range(2))
        assert a.n_iter_ == b.n_iter_
        np.testing.assert_array_equal(a.predict_proba(X), b.predict_proba(X))


def test_spread_by_hand():
    members = torch.tensor([[[1.0, 0.0], [3.0, 0.0]]])
    assert spread(members).tolist() == [[1.0, 0.0]]


def test_partial_fit_goes_on(frame):
    X, y = frame
    model = TabularNetClassifier(**SMALL)
    for _ in range(60):
        model.partial_fit(X[:60], y[:60], classes=["no", "yes"])
    table = model.table_
    assert model.score(X[:60], y[:60]) > 0.9
    model.partial_fit(X[60:], y[60:])
    assert model.table_ is table, "later rows moved the columns"


class TestBadInput:
    def test_the_last_fit_is_kept(self, frame):
        X, y = frame
        model = TabularNetClassifier(**SMALL).fit(X, y)
        before = model.predict_proba(X)
        with pytest.raises(ValueError, match=r"infinity.*'size'"):
            model.fit(X.assign(size=np.inf), y)
        np.testing.assert_array_equal(model.predict_proba(X), before)

    def test_a_category_that_becomes_a_number(self, frame):
        X, y = frame
        model = TabularNetClassifier(**SMALL).fit(X, y)
        with pytest.raises(ValueError, match="'color'"):
            model.predict(X.assign(color=1.5))

    def test_a_standardizer_by_a_name_that_there_is_not(self, frame):
        with pytest.raises(ValueError, match=r"'numeric' parameter.*'quantle'"):
            TabularNetClassifier(**SMALL, numeric="quantle").fit(*frame)

    @pytest.mark.parametrize(
        ("parameters", "message"),
        [
            ({"norm_position": "after"}, "'norm_position' parameter of TabularNetC"),
            ({"hidden_layer_sizes": ()}, "'hidden_layer_sizes' parameter of TabularNe"),
        ],
    )
    def test_what_residual_blocks_need(self, frame, parameters, message):
        model = TabularNetClassifier(**SMALL | parameters, architecture="resnet")
        with pytest.raises(ValueError, match=message):
            model.fit(*frame)
        assert not hasattr(model, "table_"), "it was found late"

    def test_numbers_in_lists_stay_numbers(self):
        X = [[float(i), "ab"[i % 2]] for i in range(20)]
        y = [0, 1] * 10
        model = TabularNetClassifier(**SMALL).fit(X, y)
        assert model.table_.kinds_ == {0: "quantile", 1: "category"}
        assert set(model.predict(X)) <= {0, 1}

    def test_a_query_and_twins(self, frame):
        X, y = frame
        with pytest.raises(TypeError, match=r"X\.collect\(\)"):
            TabularNetClassifier(**SMALL).fit(pl.from_pandas(X).lazy(), y)
        twins = pd.concat([X, X[["size"]]], axis=1)
        with pytest.raises(ValueError, match="more than one column of the name 'size'"):
            TabularNetClassifier(**SMALL).fit(twins, y)

    def test_columns_without_values_and_constant_ones(self, frame):
        X, y = frame
        odd = X.assign(empty=np.nan, same=3.0, only="x")
        with pytest.warns(UserWarning, match="'empty'"):
            model = TabularNetClassifier(**SMALL).fit(odd, y)
        assert np.isfinite(model.predict_proba(odd)).all()

    def test_ten_thousand_categories(self, rng):
        X = pd.DataFrame({"id": np.arange(10_000).astype(str)})
        model = TabularNetRegressor(**{**SMALL, "max_epochs": 1, "batch_size": 512})
        assert model.fit(X, rng.normal(size=10_000)).table_.cardinalities_ == [10_001]

    def test_other_columns_at_predict(self, frame):
        X, y = frame
        model = TabularNetClassifier(**SMALL).fit(X, y)
        with pytest.raises(ValueError, match="feature names"):
            model.predict(X.drop(columns="day"))

    def test_rows_and_targets_of_other_lengths(self, frame):
        X, y = frame
        with pytest.raises(ValueError, match="inconsistent numbers of samples"):
            TabularNetClassifier(**SMALL).fit(X, y[:-1])
        with pytest.raises(ValueError, match="requires y to be passed"):
            TabularNetClassifier(**SMALL).fit(X, None)
        with pytest.raises(ValueError, match="0 sample"):
            TabularNetClassifier(**SMALL).fit(X[:0], y[:0])

    def test_unknown_names(self, frame):
        X, y = frame
        with pytest.raises(ValueError, match="Did you mean 'ple'"):
            TabularNetClassifier(embedding="ples").fit(X, y)
        with pytest.raises(ValueError, match="'members' parameter"):
            TabularNetClassifier(members="many").fit(X, y)

    def test_a_validation_part_with_an_unseen_class(self, frame):
        X, y = frame
        message = r"y_val contains the classes \['maybe'\].*Leave these rows out"
        with pytest.raises(ValueError, match=message):
            TabularNetClassifier(**SMALL).fit(
                X, y, X_val=X[:2], y_val=np.array(["yes", "maybe"])
            )


def test_nothing_warns_on_a_clean_table(frame):
    X, y = frame
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        TabularNetClassifier(**SMALL).fit(X, y).predict(X)
