"""The regressor for tables: losses, quantiles, spread of members."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize_scalar
from sklearn.metrics import d2_pinball_score

from sknorm.neural_network import TabularNetRegressor

SMALL = {
    "hidden_layer_sizes": (16,),
    "n_members": 4,
    "batch_size": 32,
    "random_state": 0,
    "device": "cpu",
}


@pytest.fixture
def noisy(rng):
    """Return a line with noise of its own scale."""
    x = rng.uniform(-1, 1, 600)
    return pd.DataFrame({"x": x}), 100.0 + 10.0 * x + rng.exponential(3.0, 600)


def fitted(X, y, epochs=40, **options):
    return TabularNetRegressor(max_epochs=epochs, **options, **SMALL).fit(X, y)


LOSSES = {
    "squared_error": np.square,
    "absolute_error": np.abs,
    # Of errors in standard deviations of y.
    "huber": lambda e: np.where(np.abs(e) < 1, e**2 / 2, np.abs(e) - 1 / 2),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_a_line_is_found_at_the_center_of_the_loss(rng, loss):
    # One error in five is large and to one side: the centers are far apart.
    x = rng.uniform(-1, 1, 1_000)
    noise = np.where(rng.random(1_000) < 0.2, rng.normal(50.0, 1.0, 1_000), 0.0)
    y = 100.0 + 10.0 * x + noise
    X = pd.DataFrame({"x": x})
    centers = {
        name: minimize_scalar(lambda c, f=f: f((noise - c) / y.std()).mean()).x
        for name, f in LOSSES.items()
    }
    assert np.diff(sorted(centers.values())).min() > 2.0
    model = fitted(X, y, loss=loss)
    off = model.predict(X) - (100.0 + 10.0 * x)
    assert off.mean() == pytest.approx(centers[loss], abs=1.0)
    assert off.std() < 3.0


def test_quantiles_cover_what_they_say_and_do_not_cross(noisy):
    X, y = noisy
    levels = [0.1, 0.5, 0.9]
    model = fitted(X, y, epochs=80, loss="quantile", quantiles=levels)
    predicted = model.predict(X)
    assert predicted.shape == (600, 3)
    assert (np.diff(predicted, axis=1) >= 0).all()
    covered = (y[:, None] <= predicted).mean(axis=0)
    np.testing.assert_allclose(covered, levels, atol=0.07)
    expected = np.mean(
        [
            d2_pinball_score(y, predicted[:, i], alpha=level)
            for i, level in enumerate(levels)
        ]
    )
    assert model.score(X, y) == pytest.approx(expected)


def test_the_score_is_that_of_what_was_fitted(noisy):
    X, y = noisy
    quantile = fitted(X, y, epochs=3, loss="quantile", quantiles=[0.2, 0.8])
    square = fitted(X, y, epochs=3)
    expected = [model.score(X, y) for model in (quantile, square)]
    quantile.set_params(loss="squared_error", quantiles=0.5)
    square.set_params(loss="quantile", quantiles=[0.2, 0.8])
    assert [model.score(X, y) for model in (quantile, square)] == expected


def test_one_quantile_has_no_axis_of_its_own(noisy):
    X, y = noisy
    model = fitted(X, y, epochs=2, loss="quantile", quantiles=0.9)
    assert model.predict(X).shape == (600,)
    mean, std = model.predict(X, return_std=True)
    assert mean.shape == std.shape == (600,)
    both = fitted(X, np.stack([y, -y], axis=1), epochs=2, loss="quantile",
                  quantiles=[0.2, 0.8])  # fmt: skip
    assert both.predict(X).shape == (600, 2, 2)


@pytest.mark.parametrize(
    ("loss", "options"), [("poisson", {}), ("tweedie", {"power": 1.5})]
)
def test_counts(rng, loss, options):
    x = rng.uniform(-1, 1, 800)
    y = rng.poisson(np.exp(1.0 + x)).astype(float)
    X = pd.DataFrame({"x": x})
    model = fitted(X, y, loss=loss, **options)
    predicted = model.predict(X)
    assert (predicted > 0).all()
    assert np.abs(np.log(predicted) - (1.0 + x)).mean() < 0.2


def test_exposures_are_weights_of_rates(rng):
    x = rng.integers(0, 2, 2_000)
    exposure = rng.uniform(0.1, 5.0, 2_000)
    y = rng.poisson(exposure * np.where(x == 1, 2.0, 0.5))
    X = pd.DataFrame({"x": x.astype(str)})
    model = TabularNetRegressor(loss="poisson", max_epochs=30, **SMALL)
    model.fit(X, y / exposure, sample_weight=exposure)
    rates = model.predict(pd.DataFrame({"x": ["0", "1"]}))
    for value, rate in enumerate(rates):
        chosen = x == value
        assert rate == pytest.approx(y[chosen].sum() / exposure[chosen].sum(), rel=0.1)


def test_spread_is_in_units_of_the_target(noisy):
    X, y = noisy
    model, larger = (fitted(X, k * y, epochs=5) for k in (1.0, 1000.0))
    mean, std = model.predict(X, return_std=True)
    np.testing.assert_allclose(mean, model.predict(X))
    assert (std > 0).all()
    np.testing.assert_allclose(
        larger.predict(X, return_std=True)[1], 1000.0 * std, rtol=1e-3
    )


@pytest.mark.parametrize("loss", ["poisson", "tweedie"])
def test_targets_that_do_not_count_may_be_anything(noisy, loss):
    X, y = noisy
    weight = np.ones(len(y))
    weight[::3] = 0.0
    wrong = np.where(weight > 0, y, -1.0)
    model = TabularNetRegressor(loss=loss, max_epochs=2, **SMALL)
    model.fit(X, wrong, sample_weight=weight)
    kept = weight > 0
    without = fitted(X[kept], y[kept], epochs=2, loss=loss)
    np.testing.assert_array_equal(model.predict(X), without.predict(X))
    model.partial_fit(X, wrong, sample_weight=weight)
    with pytest.raises(ValueError, match="targets of at least 0"):
        model.fit(X, wrong)


class TestBadInput:
    def test_targets_that_are_no_counts(self, noisy):
        X, y = noisy
        with pytest.raises(ValueError, match=r"targets of at least 0.*smallest in y"):
            fitted(X, -y, loss="poisson")
        with pytest.raises(ValueError, match="greater than 0"):
            fitted(X, np.zeros(len(y)), loss="tweedie", power=2.0)

    @pytest.mark.parametrize("quantiles", [[0.1, 1.2], [0.9, 0.1], [], [0.0, 0.5]])
    def test_quantiles_that_are_none(self, noisy, quantiles):
        X, y = noisy
        with pytest.raises(ValueError, match=r"'quantiles' parameter.*Got"):
            fitted(X, y, loss="quantile", quantiles=quantiles)

    def test_a_quantile_outside(self, noisy):
        X, y = noisy
        with pytest.raises(ValueError, match=r"'quantiles' parameter.*Got 1.5"):
            fitted(X, y, loss="quantile", quantiles=1.5)

    def test_unknown_loss(self, noisy):
        X, y = noisy
        with pytest.raises(ValueError, match="Did you mean 'poisson'"):
            fitted(X, y, loss="poison")

    def test_one_member_has_no_spread(self, noisy):
        X, y = noisy
        model = TabularNetRegressor(**{**SMALL, "n_members": 1}, max_epochs=1)
        with pytest.raises(ValueError, match=r"predict\(X, return_std=True\) needs"):
            model.fit(X, y).predict(X, return_std=True)
