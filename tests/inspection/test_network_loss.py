import pickle

import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline

from sknorm.inspection import LossSurfaceDisplay
from sknorm.neural_network import (
    NormMLPClassifier,
    NormMLPRegressor,
    TabularNetClassifier,
    TabularNetRegressor,
)
from sknorm.preprocessing import Standardizer

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from_estimator = LossSurfaceDisplay.from_estimator


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def linear_net(X, y, **parameters):
    """Return a network without hidden layers, a linear model."""
    settings = {"hidden_layer_sizes": (), "dtype": "float64", "max_epochs": 3}
    return NormMLPRegressor(**settings | parameters, random_state=0).fit(X, y)


def standardized(y):
    return (y - y.mean()) / y.std()


class TestRandomDirections:
    def test_rows_are_as_long_as_those_of_the_weights(self, table):
        net = NormMLPRegressor((4, 5), max_epochs=2, random_state=0).fit(*table)
        display = from_estimator(net, *table, n_points=3, random_state=0)
        weights = net.net_.module_.state_dict()
        first, second = display.surfaces[0].directions
        assert first.keys() == dict(net.net_.module_.named_parameters()).keys()
        for name, part in first.items():
            weight = weights[name].numpy()
            assert part.shape == weight.shape
            if weight.ndim == 2:
                for row, of_weight in zip(part, weight, strict=True):
                    length = np.sqrt(sum(np.square(of_weight.astype(float))))
                    assert np.sqrt(sum(np.square(row))) == pytest.approx(length)
                assert not np.allclose(part, second[name])
            else:
                # A bias, or what belongs to BatchNorm.
                assert not part.any()

    def test_loss_by_hand(self, table):
        X, y = table
        net = linear_net(X, y)
        surface = from_estimator(net, X, y, n_points=3, radius=2.0).surfaces[0]
        np.testing.assert_allclose(surface.grid[0][:, 0], [-2, 0, 2], atol=1e-15)
        np.testing.assert_allclose(surface.grid[1][0], [-2, 0, 2], atol=1e-15)
        (layer,) = net.net_.module_
        weight, bias = (p.detach().numpy() for p in (layer.weight, layer.bias))
        first, second = (d["0.weight"] for d in surface.directions)
        for i, a in enumerate([-2, 0, 2]):
            for j, b in enumerate([-2, 0, 2]):
                output = X @ (weight + a * first + b * second).T[:, 0] + bias
                expected = np.mean(np.square(output - standardized(y)))
                assert surface.loss[i, j] == pytest.approx(expected, rel=1e-12)
        assert surface.center_loss == pytest.approx(surface.loss[1, 1], rel=1e-14)
        assert surface.lowest == surface.loss.min()

    def test_points_are_denser_near_the_weights(self, table):
        net = linear_net(*table)
        surface = from_estimator(net, *table, n_points=9).surfaces[0]
        steps = np.diff(surface.grid[0][:, 0])
        np.testing.assert_allclose(steps, steps[::-1], rtol=1e-12)
        assert (np.diff(steps[4:]) > 0).all()
        assert surface.grid.min() == pytest.approx(-1, rel=1e-12)
        assert surface.condition_number is not None
        assert np.isnan(surface.condition_number)

    def test_random_state(self, table):
        net = linear_net(*table)
        first, same, other = (
            from_estimator(net, *table, n_points=3, random_state=seed).surfaces[0].loss
            for seed in (0, 0, 1)
        )
        np.testing.assert_array_equal(first, same)
        assert (first != other).any()

    def test_weights_of_zero_are_a_plain(self, table):
        net = linear_net(*table)
        with torch.no_grad():
            net.net_.module_[0].weight.zero_()
        display = from_estimator(net, *table, n_points=3)
        assert not display.surfaces[0].excess.any()
        display.figure_.canvas.draw()


class TestPrincipalDirections:
    @staticmethod
    def hessian(X):
        with_ones = np.column_stack([X, np.ones(len(X))])
        return 2 * with_ones.T @ with_ones / len(X)

    # Below and above the size up to which the Hessian is made whole.
    @pytest.mark.parametrize("n_columns", [3, 60])
    def test_of_a_linear_model(self, rng, n_columns):
        X = rng.normal(size=(90, n_columns)) * np.geomspace(1, 10, n_columns)
        y = X[:, 0] + rng.normal(size=90)
        net = linear_net(X, y)
        surface = from_estimator(
            net, X, y, directions="principal", n_points=3, random_state=0
        ).surfaces[0]
        values, vectors = np.linalg.eigh(self.hessian(X))
        np.testing.assert_allclose(surface.curvatures, values[:-3:-1], rtol=1e-8)
        assert surface.condition_number == pytest.approx(values[-1] / values[-2])
        weight = net.net_.module_[0].weight.detach().numpy()
        for direction, vector in zip(
            surface.directions, vectors.T[:-3:-1], strict=True
        ):
            found = np.concatenate([direction["0.weight"][0], direction["0.bias"]])
            length = np.linalg.norm(weight)
            assert np.linalg.norm(found) == pytest.approx(length, rel=1e-9)
            assert abs(found @ vector) == pytest.approx(length, rel=1e-6)

    def test_the_surface_bends_as_much(self, table):
        net = linear_net(*table)
        surface = from_estimator(
            net, *table, directions="principal", n_points=3
        ).surfaces[0]
        length = np.linalg.norm(surface.directions[0]["0.weight"]) ** 2
        length += np.square(surface.directions[0]["0.bias"]).sum()
        bend = surface.loss[0, 1] - 2 * surface.loss[1, 1] + surface.loss[2, 1]
        assert bend == pytest.approx(surface.curvatures[0] * length, rel=1e-9)

    def test_in_float64_whatever_the_network_is_in(self, table):
        X, y = table
        X = X * [1, 1, 1e4]
        net = linear_net(X.astype(np.float32), y, dtype="float32", lr=1e-9)
        surface = from_estimator(
            net, X, y, directions="principal", n_points=3
        ).surfaces[0]
        values = np.linalg.eigvalsh(self.hessian(X.astype(np.float32).astype(float)))
        np.testing.assert_allclose(surface.curvatures, values[:-3:-1], rtol=1e-9)

    def test_of_a_classifier(self, table):
        # Two logits: the Hessian is [[H, -H], [-H, H]] with H = mean p (1 - p) x x'.
        X, y = table
        net = NormMLPClassifier((), dtype="float64", max_epochs=2, random_state=0)
        net.fit(X, y > 4)
        surface = from_estimator(
            net, X, y > 4, directions="principal", n_points=3
        ).surfaces[0]
        p = net.predict_proba(X)[:, 1]
        rows = np.column_stack([X, np.ones(len(X))]) * np.sqrt(p * (1 - p))[:, None]
        values = np.linalg.eigvalsh(2 * rows.T @ rows / len(X))
        np.testing.assert_allclose(surface.curvatures, values[:-3:-1], rtol=1e-9)

    @pytest.mark.parametrize("n_columns", [3, 60])
    def test_a_loss_without_curvature(self, rng, n_columns):
        X, y = rng.normal(size=(70, n_columns)), rng.normal(size=70)
        net = TabularNetRegressor(
            (),
            loss="absolute_error",
            embedding=None,
            n_members=1,
            max_epochs=1,
            random_state=0,
        ).fit(X, y)
        with pytest.raises(ValueError, match="no curvature in two directions at these"):
            from_estimator(net, X, y, directions="principal")


class TestEveryEstimator:
    @pytest.mark.parametrize("directions", ["random", "principal"])
    @pytest.mark.parametrize(
        "parameters",
        [
            {"n_members": 2},
            {"n_members": 2, "members": "independent", "norm": "layer"},
            {"n_members": 2, "members": "mini", "norm": "weight"},
            {"n_members": 1, "architecture": "resnet", "norm": "batch"},
        ],
        ids=str,
    )
    def test_tables_as_they_come(self, rng, parameters, directions):
        X = pd.DataFrame({"size": rng.normal(size=40), "color": ["red", "blue"] * 20})
        X.loc[::7, "size"] = np.nan
        y = np.where(X["color"] == "red", "yes", "no")
        net = TabularNetClassifier(4, max_epochs=1, random_state=0, **parameters)
        net.fit(X, y)
        surface = from_estimator(
            net, X, y, directions=directions, n_points=3, random_state=0
        ).surfaces[0]
        assert np.isfinite(surface.loss).all()
        with torch.no_grad():
            members = net.net_.module_(torch.from_numpy(net.table_.transform(X)))
        loss = net.net_.criterion_(members, torch.tensor(y == "yes").long(), None)
        assert surface.center_loss == pytest.approx(float(loss), rel=1e-5)

    def test_last_in_a_pipeline(self, houses):
        X, y = houses
        model = make_pipeline(Standardizer(), linear_net(X, y)).fit(X, y)
        alone = from_estimator(
            model[-1], model[:-1].transform(X), y, n_points=3, random_state=0
        )
        display = from_estimator(model, X, y, n_points=3, random_state=0)
        np.testing.assert_array_equal(display.surfaces[0].loss, alone.surfaces[0].loss)
        assert display.surfaces[0].name == "NormMLPRegressor"

    def test_class_weights_count(self, table):
        X, y = table
        labels = y > 6
        net = NormMLPClassifier(
            (), class_weight="balanced", max_epochs=2, random_state=0
        ).fit(X, labels)
        loss = from_estimator(net, X, labels, n_points=3).surfaces[0].center_loss
        p = net.predict_proba(X)[:, 1]
        each = -np.log(np.where(labels, p, 1 - p))
        expected = (each[labels].mean() + each[~labels].mean()) / 2
        assert loss == pytest.approx(expected, rel=1e-5)

    def test_rows_are_drawn(self, table):
        net = linear_net(*table)
        losses = {
            from_estimator(net, *table, n_points=3, max_rows=5, random_state=seed)
            .surfaces[0]
            .center_loss
            for seed in (0, 0, 1)
        }
        assert len(losses) == 2


class Noisy(torch.nn.Module):
    """Draws numbers, in evaluation too."""

    def forward(self, x):
        return torch.relu(x) + 0.1 * torch.rand_like(x)


class TestNothingChanges:
    @pytest.mark.parametrize("directions", ["random", "principal"])
    @pytest.mark.parametrize("fails", [False, True])
    def test_network_and_generators(self, table, monkeypatch, directions, fails):
        net = NormMLPRegressor(
            (4,),
            norm="spectral",
            activation=Noisy,
            init="normal",
            max_epochs=2,
            random_state=0,
        ).fit(*table)
        module = net.net_.module_
        module[1].train()  # A mode that eval() would change.
        before = pickle.dumps((sorted(vars(net)), module.state_dict()))
        modes = [part.training for part in module.modules()]
        gradients = [p.grad is None for p in module.parameters()]
        states = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
        if fails:
            from sknorm.inspection import _network_loss

            def fail(*args):
                torch.rand(3)
                raise RuntimeError("on the way")

            monkeypatch.setattr(_network_loss, "_loss_on_plane", fail)
            with pytest.raises(RuntimeError, match="on the way"):
                from_estimator(net, *table, directions=directions, max_rows=50)
        else:
            from_estimator(net, *table, directions=directions, n_points=3, max_rows=50)
        assert pickle.dumps((sorted(vars(net)), module.state_dict())) == before
        assert [part.training for part in module.modules()] == modes
        assert [p.grad is None for p in module.parameters()] == gradients
        assert torch.equal(torch.get_rng_state(), states[0])
        np.testing.assert_array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002

    def test_running_statistics_are_used_and_stay(self, table):
        X, y = table
        net = NormMLPRegressor((4,), norm="batch", max_epochs=2, random_state=0)
        net.fit(X, y)
        loss = from_estimator(net, X, y, n_points=3).surfaces[0].center_loss
        expected = np.mean(np.square(net.predict(X) - y)) / y.var()
        assert loss == pytest.approx(expected, rel=1e-5)


class TestErrors:
    def test_not_a_network(self, table):
        with pytest.raises(
            TypeError, match=r"must be a network of sknorm.* Got Linear"
        ):
            from_estimator(LinearRegression().fit(*table), *table)

    @pytest.mark.parametrize("wrap", [lambda net: net, make_pipeline])
    def test_not_fitted(self, table, wrap):
        with pytest.raises(
            NotFittedError, match="This NormMLPRegressor instance is not"
        ):
            from_estimator(wrap(NormMLPRegressor()), *table)

    def test_other_columns(self, houses):
        X, y = houses
        net = linear_net(X, y)
        with pytest.raises(ValueError, match="feature names should match"):
            from_estimator(net, X[["bedrooms", "area"]], y)
        with pytest.raises(ValueError, match="feature"):
            from_estimator(net, X.iloc[:, :1], y)

    def test_rows_without_weight_do_not_count(self, table):
        X, y = table
        net = NormMLPClassifier((), class_weight={0: 0.0}, max_epochs=1)
        net.fit(X, y > 4)
        labels = np.r_[True, np.zeros(len(X) - 1, dtype=bool)]
        with pytest.raises(ValueError, match="at least two rows that count"):
            from_estimator(net, X, labels)

    def test_a_network_that_diverged(self, table):
        net = linear_net(*table)
        with torch.no_grad():
            net.net_.module_[0].weight[0, 0] = torch.nan
        with pytest.raises(ValueError, match=r"loss of the trained network .* is nan"):
            from_estimator(net, *table)
