"""The regressor."""

import numpy as np
import pytest
from skorch.callbacks import Callback

from sknorm.neural_network import NormMLPRegressor
from sknorm.neural_network._schedules import SCHEDULES


def quick(**parameters):
    return NormMLPRegressor(
        **(
            {
                "hidden_layer_sizes": (32,),
                "max_epochs": 60,
                "lr": 1e-2,
                "dropout": 0.0,
                "random_state": 0,
            }
            | parameters
        )
    )


@pytest.fixture
def table(rng):
    X = rng.standard_normal((300, 4))
    return X, X @ [1.0, -2.0, 0.5, 0.0] + X[:, 0] * X[:, 1]


@pytest.mark.parametrize(
    ("offset", "scale"), [(0, 1), (1e9, 1), (-3e5, 1e-3), (0, 1e12)]
)
def test_predictions_come_in_the_units_of_the_targets(table, offset, scale):
    X, y = table
    model = quick().fit(X, offset + scale * y)
    assert model.score(X, offset + scale * y) > 0.95
    assert model.predict(X).dtype == np.float64


def test_the_loss_starts_near_one_whatever_the_units(table):
    X, y = table
    losses = [quick(lr=1e-9).fit(X, s * y).loss_curve_[0] for s in (1e-6, 1.0, 1e6)]
    # Outputs start at variance near 1, independent of the targets: their difference
    # has variance 2 in expectation.
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-3)
    assert 1 < losses[0] < 3


class Listener(Callback):
    """Keeps the targets that a net is trained on."""

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        self.y = X.y


def test_rows_set_aside_have_no_say_in_the_units(table):
    X, y = table
    heard = Listener()
    quick(
        max_epochs=1, early_stopping=True, validation_fraction=0.5, callbacks=[heard]
    ).fit(X, np.exp(3 * y))
    assert len(heard.y) == 150
    np.testing.assert_allclose(heard.y.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(heard.y.std(0, correction=0), 1, rtol=1e-5)


def test_shapes_of_one_and_many_outputs(table):
    X, y = table
    one, column, many = y, y[:, None], np.column_stack([y, -1e6 * y])
    for target in (one, column, many):
        model = quick(max_epochs=40).fit(X, target)
        assert model.predict(X).shape == target.shape
        assert model.score(X, target) > 0.9
    assert model.n_outputs_ == 2


def test_integer_targets_are_real_numbers(table):
    X, y = table
    ints = np.round(3 * y).astype(int)
    a, b = (
        quick(max_epochs=3).fit(X, t).predict(X) for t in (ints, ints.astype(float))
    )
    np.testing.assert_array_equal(a, b)


def test_constant_target_is_predicted(table):
    X, _ = table
    model = quick(max_epochs=100).fit(X, np.full(300, 1e6))
    np.testing.assert_allclose(model.predict(X), 1e6, atol=0.5)


def test_weights_move_the_fit_toward_heavy_rows(rng):
    X = np.zeros((200, 1))
    y = np.repeat([0.0, 1.0], 100)
    weight = np.repeat([1.0, 9.0], 100)
    model = quick(norm="none", max_epochs=200, lr=1e-2).fit(X, y, weight)
    np.testing.assert_allclose(model.predict(X), 0.9, atol=0.02)


def test_partial_fit_keeps_the_units_of_the_first_call(table):
    X, y = table
    model = quick()
    for _ in range(60):
        model.partial_fit(X, 1000 + 50 * y)
    assert model.score(X, 1000 + 50 * y) > 0.9
    mean = model._targets.mean.copy()
    model.partial_fit(X, y)
    np.testing.assert_array_equal(model._targets.mean, mean)


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_is_in_the_docstring(name):
    assert f'``"{name}"``' in NormMLPRegressor.__doc__
