import builtins
import os
import pickle
import subprocess
import sys

import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.special import expit
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline

from sknorm.inspection._loss_surface import LossSurfaceDisplay, _steps_needed
from sknorm.neural_network import (
    NormMLPClassifier,
    NormMLPRegressor,
    TabularNetClassifier,
    TabularNetRegressor,
)
from sknorm.preprocessing import Standardizer, WhiteningStandardizer

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex

from_data = LossSurfaceDisplay.from_data
from_estimator = LossSurfaceDisplay.from_estimator

# Covariance diag(1, 100): the Hessian of the mean squared error is diag(2, 200).
CORNERS = np.array([[1.0, 10.0], [1.0, -10.0], [-1.0, 10.0], [-1.0, -10.0]])
LINEAR_TARGET = CORNERS @ [3.0, 0.5] + 7.0


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture
def houses(rng):
    area = rng.normal(120, 50, 200).clip(30, 400)
    bedrooms = rng.integers(1, 6, 200)
    price = 3 * area + 20 * bedrooms + rng.normal(0, 60, 200)
    return pd.DataFrame({"area": area, "bedrooms": bedrooms}), price


@pytest.fixture
def table(rng):
    X = rng.normal(size=(60, 3))
    return X, X @ [1.0, -2.0, 0.5] + 0.1 * rng.normal(size=60) + 4.0


def linear_net(X, y, **parameters):
    """Return a network without hidden layers, a linear model."""
    settings = {"hidden_layer_sizes": (), "dtype": "float64", "max_epochs": 3}
    return NormMLPRegressor(**settings | parameters, random_state=0).fit(X, y)


def standardized(y):
    return (y - y.mean()) / y.std()


def descend(gradient, start, step_size, n_steps):
    """Take steps one by one."""
    path = [np.asarray(start)]
    for _ in range(n_steps):
        path.append(path[-1] - step_size * gradient(path[-1]))
    return np.array(path)


def shown(axes):
    """Return the title of a panel, the numbers under it, and the labels of its axes."""
    return [
        axes.get_title(loc="left"),
        axes.texts[0].get_text(),
        axes.get_xlabel(),
        axes.get_ylabel(),
    ]


class TestSquaredError:
    def test_by_hand(self):
        before, after = from_data(CORNERS, LINEAR_TARGET).surfaces
        np.testing.assert_allclose(before.curvatures, [200, 2], rtol=1e-14)
        assert before.condition_number == pytest.approx(100, rel=1e-14)
        np.testing.assert_allclose(before.center, [3, 0.5], rtol=1e-14)
        assert before.lowest == pytest.approx(0, abs=1e-28)
        np.testing.assert_allclose(after.curvatures, [2, 2], rtol=1e-14)
        np.testing.assert_allclose(after.center, [3, 5], rtol=1e-14)
        assert after.condition_number == pytest.approx(1, rel=1e-14)
        w1, w2 = before.grid
        expected = np.square(w1 - 3) + 100 * np.square(w2 - 0.5)
        np.testing.assert_allclose(before.excess, expected, rtol=1e-9, atol=1e-12)

    def test_descent_by_hand(self):
        display = from_data(CORNERS, LINEAR_TARGET)
        before, after = (surface.descent for surface in display.surfaces)
        # ln(100) / (4 artanh(1 / 100)) = 115.1.
        assert display.n_steps == [116, 1]
        # At zero weights the loss is 9 + 25 above the minimum; each direction has half.
        start = [3 - np.sqrt(17), 0.5 - np.sqrt(0.17)]
        np.testing.assert_allclose(before.path[0], start, rtol=1e-14)
        assert before.start_excess == pytest.approx(34, rel=1e-14)
        assert after.start_excess == pytest.approx(34, rel=1e-14)
        assert before.step_size == pytest.approx(2 / 202, rel=1e-14)
        assert after.step_size == pytest.approx(1 / 2, rel=1e-14)
        np.testing.assert_array_equal(before.steps, np.arange(117))
        # One step of 1 / L is Newton's where all curvatures are L.
        np.testing.assert_allclose(after.path[-1], [3, 5], rtol=1e-14)
        assert display.paths[0] is before.path

    def test_path_is_that_of_steps_taken_one_by_one(self, houses):
        X, y = houses
        surface = from_data(X, y).surfaces[1]
        Z = Standardizer().fit_transform(X)

        def gradient(w):
            return 2 * Z.T @ (Z @ w - (y - y.mean())) / len(Z)

        path = surface.descent.path
        expected = descend(gradient, path[0], surface.descent.step_size, len(path) - 1)
        np.testing.assert_allclose(path, expected, rtol=1e-10)

    def test_loss_is_the_mean_squared_error(self, houses):
        X, y = houses
        for surface, Z in zip(
            from_data(X, y, n_points=5).surfaces,
            [X.to_numpy(), Standardizer().fit_transform(X)],
            strict=True,
        ):
            model = LinearRegression().fit(Z, y)
            np.testing.assert_allclose(surface.center, model.coef_, rtol=1e-9)
            weights = surface.grid.reshape(2, -1)
            centred = Z - Z.mean(axis=0)
            errors = centred @ weights - (y - y.mean())[:, None]
            expected = np.square(errors).mean(axis=0)
            np.testing.assert_allclose(surface.loss.ravel(), expected, rtol=1e-9)

    def test_condition_number_of_standardized_columns(self, houses):
        X, y = houses
        X["bedrooms"] += X["area"] / 40
        correlation = np.corrcoef(X.T)[0, 1]
        expected = (1 + correlation) / (1 - correlation)
        number = from_data(X, y).condition_numbers[1]
        assert number == pytest.approx(expected, rel=1e-12)

    def test_a_shift_changes_nothing_if_the_intercept_is_held(self, houses):
        X, y = houses
        near, far = (from_data(X + shift, y - shift) for shift in (0, 1e6))
        np.testing.assert_allclose(
            near.condition_numbers, far.condition_numbers, rtol=1e-6
        )
        assert near.n_steps == far.n_steps

    def test_a_learned_intercept_by_hand(self):
        # Mean 10 and variance 1: H = 2 [[1, 10], [10, 101]], eigenvalues of half of it
        # 51 +- sqrt(2600) with the product 1.
        x = np.array([[9.0], [11.0]])
        display = from_data(x, [1.0, 5.0], intercept="learned")
        larger = 51 + np.sqrt(2600)
        before, after = display.surfaces
        assert before.condition_number == pytest.approx(larger**2, rel=1e-9)
        np.testing.assert_allclose(before.curvatures[0], 2 * larger, rtol=1e-12)
        np.testing.assert_allclose(before.center, [-17, 2], rtol=1e-10)
        assert after.condition_number == pytest.approx(1, rel=1e-12)
        np.testing.assert_allclose(after.center, [3, 2], rtol=1e-12)
        assert before.labels == ("intercept", "weight of x0")
        assert after.labels == ("intercept", "weight of x0, standardized")

    def test_principal_directions(self, rng):
        X = rng.normal(size=(50, 4)) * [1, 10, 100, 5]
        y = rng.normal(size=50)
        surface = from_data(X, y, directions="principal").surfaces[0]
        values, vectors = np.linalg.eigh(2 * np.cov(X.T, ddof=0))
        np.testing.assert_allclose(surface.curvatures, values[[-1, 0]], rtol=1e-10)
        for direction, vector in zip(
            surface.directions, vectors.T[[-1, 0]], strict=True
        ):
            assert abs(direction @ vector) == pytest.approx(1, rel=1e-10)
        along, across = surface.grid
        expected = (values[-1] * along**2 + values[0] * across**2) / 2
        np.testing.assert_allclose(surface.excess, expected, rtol=1e-9, atol=1e-12)
        assert surface.center.tolist() == [0, 0]
        assert surface.labels == ("steepest direction", "flattest direction")

    def test_uncorrelated_target(self):
        # All weights are 0, and so is what they cost.
        y = [1.0, -1.0, -1.0, 1.0]
        display = from_data(CORNERS, y)
        assert display.n_steps == [116, 1]
        assert display.surfaces[0].lowest == pytest.approx(1, rel=1e-14)
        display.figure_.canvas.draw()

    def test_constant_target(self):
        assert from_data(CORNERS, np.ones(4)).n_steps == [116, 1]


class TestNumberOfSteps:
    @pytest.mark.parametrize("tol", [0.5, 0.01, 1e-6])
    @pytest.mark.parametrize("condition_number", [1.5, 7.0, 300.0])
    def test_is_what_it_takes(self, condition_number, tol):
        curvatures = np.array([condition_number, 1.0])
        w, step_size, n_steps = np.array([0.3, 2.0]), 2 / curvatures.sum(), 0
        start = w @ (curvatures * w)
        while w @ (curvatures * w) > tol * start:
            w = w - step_size * curvatures * w
            n_steps += 1
        assert _steps_needed(condition_number, tol) == n_steps

    def test_of_a_long_valley(self):
        expected = 1e12 / 4 * np.log(100)
        assert _steps_needed(1e12, 0.01) == pytest.approx(expected, rel=1e-12)
        assert _steps_needed(1.0, 1e-300) == 1

    @settings(max_examples=10, deadline=None)
    @given(st.floats(1e-3, 1e3), st.floats(-3, 3), st.floats(-3, 3))
    def test_depends_on_the_condition_number_alone(self, scale, w1, w2):
        y = CORNERS @ [w1, w2]
        assert from_data(CORNERS * scale, y, n_points=3).n_steps == [116, 1]
        plt.close("all")

    def test_of_a_path_too_long_to_draw(self):
        display = from_data(CORNERS * [1, 1000], LINEAR_TARGET)
        descent = display.surfaces[0].descent
        # A condition number of 1e8.
        assert descent.n_steps == pytest.approx(1e8 / 4 * np.log(100), rel=1e-6)
        assert len(descent.path) == len(descent.steps) == 1001
        assert descent.steps[[0, -1]].tolist() == [0, descent.n_steps]
        offset = descent.path - display.surfaces[0].center
        left = np.square(offset) @ display.surfaces[0].curvatures[::-1] / 2
        assert left[-1] == pytest.approx(0.01 * descent.start_excess, rel=1e-6)
        assert (np.diff(left) < 0).all()


class TestLogLoss:
    # One of four is positive where x is 0, three of four where it is 1.
    x = np.repeat([0.0, 1.0], 4)[:, None]
    y = np.array(["no"] * 3 + ["yes"] + ["no"] + ["yes"] * 3)

    def test_by_hand(self):
        display = from_data(self.x, self.y, loss="log_loss", intercept="learned")
        surface = display.surfaces[0]
        np.testing.assert_allclose(
            surface.center, [-np.log(3), 2 * np.log(3)], rtol=1e-9
        )
        entropy = -(np.log(0.25) / 4 + 3 * np.log(0.75) / 4)
        assert surface.lowest == pytest.approx(entropy, rel=1e-12)
        # p (1 - p) is 3/16 in all rows, and Z'Z / n = [[1, 1/2], [1/2, 1/2]].
        values = 3 / 16 * (1.5 + np.array([1, -1]) * np.sqrt(1.25)) / 2
        np.testing.assert_allclose(surface.curvatures, values, rtol=1e-7)
        # At most 1/4 anywhere.
        step_size = 2 / (values[0] * (1 / 4) / (3 / 16) + values[1])
        assert surface.descent.step_size == pytest.approx(step_size, rel=1e-7)
        # At zero weights it is ln 2.
        excess = np.log(2) - entropy
        assert surface.descent.start_excess == pytest.approx(excess, rel=1e-9)

    def test_loss_and_descent(self, houses):
        X, price = houses
        noise = np.random.default_rng(1).normal(0, 100, len(X))
        y = price + noise > np.median(price)
        display = from_data(X, y, loss="log_loss", n_points=5)
        Z = Standardizer().fit_transform(X)
        surface = display.surfaces[1]

        # It makes the mean probability that of the labels.
        intercept = brentq(
            lambda b: np.mean(expit(b + Z @ surface.center) - y), -50, 50, xtol=1e-13
        )

        def loss(w):
            logits = intercept + Z @ w
            return np.mean(
                np.logaddexp(0, np.where(y, -1, 1)[:, None] * logits), axis=0
            )

        def gradient(w):
            return Z.T @ (expit(intercept + Z @ w) - y) / len(Z)

        np.testing.assert_allclose(gradient(surface.center), 0, atol=1e-7)
        weights = surface.grid.reshape(2, -1)
        np.testing.assert_allclose(surface.loss.ravel(), loss(weights), rtol=1e-9)
        descent = surface.descent
        expected = descend(
            gradient, descent.path[0], descent.step_size, descent.n_steps
        )
        np.testing.assert_allclose(descent.path, expected, rtol=1e-9)
        above = loss(expected.T) - surface.lowest
        assert above[-1] <= 0.01 * above[0] < above[-2]

    def test_too_many_steps(self):
        display = from_data(
            self.x, self.y, loss="log_loss", intercept="learned", max_steps=3
        )
        assert display.n_steps == [None, 1]
        assert [len(path) for path in display.paths] == [4, 2]
        assert shown(display.axes_[0])[0] == "as they come: over 3 steps"

    @pytest.mark.parametrize("y", [[0, 0, 1, 1], [0, 1, 1, 1]])
    def test_classes_that_a_line_parts(self, y):
        with pytest.raises(ValueError, match="loss='log_loss' has no minimum on these"):
            from_data(CORNERS, y, loss="log_loss")

    def test_classes_that_a_line_parts_but_for_ties(self):
        x = np.array([[0.0], [1.0], [1.0], [2.0]])
        with pytest.raises(ValueError, match="loss='log_loss' has no minimum on these"):
            from_data(x, [0, 0, 1, 1], loss="log_loss", intercept="learned")

    def test_number_of_classes(self):
        message = r"takes labels of two classes\. The rows have 3: \['a', 'b', 'c'\]"
        with pytest.raises(ValueError, match=message):
            from_data(CORNERS, list("abca"), loss="log_loss")


class TestStandardizer:
    def test_another_one(self, houses):
        X, y = houses
        X["bedrooms"] += X["area"] / 40
        scaler = WhiteningStandardizer()
        display = from_data(X, y, standardizer=scaler)
        assert display.condition_numbers[1] == pytest.approx(1, rel=1e-9)
        assert display.surfaces[1].name == "after WhiteningStandardizer"
        assert not hasattr(scaler, "mean_")

    def test_x_stays_as_it_is(self, houses):
        X, y = houses
        X = X.to_numpy()
        before = X.copy()
        from_data(X, y, standardizer=Standardizer(copy=False))
        np.testing.assert_array_equal(X, before)

    def test_the_start_has_the_same_loss_in_both_panels(self, houses):
        before, after = (s.descent.start_excess for s in from_data(*houses).surfaces)
        assert before == pytest.approx(after, rel=1e-9)


class TestRows:
    def test_at_most_so_many_are_drawn(self, houses):
        X, y = houses
        few = {"max_rows": 50, "n_points": 3}
        first, same, other = (
            from_data(X, y, random_state=seed, **few) for seed in (0, 0, 1)
        )
        assert first.condition_numbers == same.condition_numbers
        assert first.condition_numbers != other.condition_numbers
        # All columns are standardized on the rows that are drawn.
        np.testing.assert_allclose(first.surfaces[1].curvatures.sum(), 4, rtol=1e-12)

    def test_a_random_state_instance(self, houses):
        first, same = (
            from_data(*houses, max_rows=9, random_state=np.random.RandomState(3))
            for _ in range(2)
        )
        assert first.condition_numbers == same.condition_numbers


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
            from sknorm.inspection import _loss_surface

            def fail(*args):
                torch.rand(3)
                raise RuntimeError("on the way")

            monkeypatch.setattr(_loss_surface, "_loss_on_plane", fail)
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


class TestPicture:
    def test_two_panels_on_the_same_levels(self, houses):
        display = from_data(*houses)
        assert isinstance(display, LossSurfaceDisplay)
        assert display.axes_.shape == (2,)
        assert display.ax_ is display.axes_[0]
        assert display.bounding_ax_ is None
        levels = [contours.levels.tolist() for contours in display.contours_]
        assert levels[0] == levels[1]
        assert any(np.isclose(levels[0], 0.01))
        ends = [contours.get_clim() for contours in display.contours_]
        assert ends[0] == ends[1]

    def test_what_is_written(self, houses):
        display = from_data(*houses)
        (n_steps, _), (kappa, kappa_after) = display.n_steps, display.condition_numbers
        assert shown(display.axes_[0]) == [
            f"as they come: {n_steps:,} steps",
            f"condition number {kappa:,.0f}",
            "weight of area",
            "weight of bedrooms",
        ]
        assert shown(display.axes_[1]) == [
            "after Standardizer: 1 step",
            f"condition number {kappa_after:.3g}",
            "weight of area, standardized",
            "weight of bedrooms, standardized",
        ]
        legend = [text.get_text() for text in display.ax_.get_legend().get_texts()]
        assert legend == ["descent to 1 %", "start", "minimum"]
        label = display.colorbar_.ax.get_ylabel()
        assert label == "loss above the minimum (1 at the start)"

    def test_lines(self, houses):
        display = from_data(*houses)
        for surface, lines in zip(display.surfaces, display.lines_, strict=True):
            path, start, minimum = lines
            np.testing.assert_array_equal(
                np.transpose(path.get_data()), surface.descent.path
            )
            np.testing.assert_array_equal(
                np.ravel(start.get_data()), surface.descent.path[0]
            )
            np.testing.assert_array_equal(np.ravel(minimum.get_data()), surface.center)

    def test_units_are_as_long_on_both_axes(self, houses):
        for axes, surface in zip(
            (display := from_data(*houses)).axes_, display.surfaces, strict=True
        ):
            assert axes.get_aspect() == 1
            for limits, center in zip(
                (axes.get_xlim(), axes.get_ylim()), surface.center, strict=True
            ):
                np.testing.assert_allclose(
                    limits, [center - surface.reach, center + surface.reach]
                )
            # The whole picture is covered by the grid.
            corners = np.abs(surface.grid - surface.center[:, None, None])
            assert (corners.max(axis=(1, 2)) >= surface.reach).all()
            # The level of the start is in view, on all sides.
            inside = surface.excess <= surface.descent.start_excess
            assert (corners[:, inside] <= surface.reach).all()

    def test_a_narrow_valley_is_resolved(self, houses):
        surface = from_data(*houses).surfaces[0]
        inside = surface.excess <= 0.1 * surface.descent.start_excess
        assert np.count_nonzero(inside) > 100

    def test_of_a_network(self, table):
        net = linear_net(*table)
        display = from_estimator(net, *table, n_points=5, name="linear")
        (surface,) = display.surfaces
        assert display.axes_.tolist() == [display.ax_]
        assert shown(display.ax_) == [
            f"linear: loss {surface.center_loss:.3g}",
            "1 is as long as the weights, row by row",
            "random direction 1",
            "random direction 2",
        ]
        assert display.paths == display.n_steps == [None]
        assert display.colorbar_.ax.get_ylabel() == "loss above the lowest shown"
        assert display.ax_.get_xlim() == (-1, 1)
        display = from_estimator(net, *table, n_points=3, directions="principal")
        first, second = display.surfaces[0].curvatures
        assert shown(display.ax_)[1:] == [
            f"curvatures {first:.3g} and {second:.3g}, ratio {first / second:.3g}",
            "direction of largest curvature",
            "direction of second largest curvature",
        ]

    def test_losses_that_overflow_are_left_blank(self, table):
        X, y = table
        net = TabularNetRegressor(
            (),
            loss="poisson",
            embedding=None,
            n_members=1,
            max_epochs=1,
            random_state=0,
        ).fit(X, np.exp(y / 4))
        display = from_estimator(net, X, np.exp(y / 4), n_points=5, radius=1e4)
        assert np.isinf(display.surfaces[0].excess).any()
        display.figure_.canvas.draw()

    def test_levels(self, table):
        net = linear_net(*table)
        display = from_estimator(net, *table, n_points=5, levels=[0.1, 1, 10])
        assert display.contours_[0].levels.tolist() == [0.1, 1, 10]
        ticks = display.colorbar_.ax.get_yticklabels()
        assert [tick.get_text() for tick in ticks] == ["0.1", "1", "10"]

    def test_style(self, houses):
        display = from_data(
            *houses,
            colorbar=False,
            contour_kwargs={"cmap": "cividis"},
            path_kwargs={"c": "red", "lw": 5, "label": "down"},
        )
        path, start, _ = display.lines_[0]
        assert (path.get_color(), path.get_linewidth()) == ("red", 5)
        assert start.get_color() == "red"
        assert display.contours_[0].get_cmap().name == "cividis"
        assert display.colorbar_ is None
        assert display.ax_.get_legend().get_texts()[0].get_text() == "down"

    def test_it_draws_and_saves(self, houses, tmp_path):
        from_data(*houses).figure_.savefig(tmp_path / "picture.png", dpi=100)
        pixels = plt.imread(tmp_path / "picture.png")[..., :3]
        assert pixels.shape[:2] == (430, 900)
        colors = {to_hex(color) for color in np.unique(pixels.reshape(-1, 3), axis=0)}
        assert {"#ffffff", "#d55e00", "#000000"} <= colors

    def test_text_stays_within_its_panel(self, houses):
        X, y = houses
        display = from_data(X * [1e3, 1], y)
        display.figure_.canvas.draw()
        left, right = display.axes_
        assert left.title.get_window_extent().x1 < right.get_window_extent().x0
        assert left._left_title.get_window_extent().x1 < right.get_tightbbox().x0
        legend = left.get_legend().get_window_extent()
        path = left.transData.transform(display.paths[0])
        assert not legend.count_contains(path)


class TestWhere:
    def test_given_axes(self, houses):
        figure, axes = plt.subplots(1, 2)
        display = from_data(*houses, ax=axes)
        assert display.figure_ is figure
        assert display.axes_.tolist() == axes.tolist()

    def test_two_divide_the_place_of_one(self, houses):
        figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3))
        display = from_data(*houses, ax=left)
        assert display.bounding_ax_ is left
        figure.canvas.draw()
        place = right.get_position()
        assert all(axes.get_position().x1 < place.x0 for axes in display.axes_)

    def test_networks_side_by_side(self, table):
        _, axes = plt.subplots(1, 2)
        net = linear_net(*table)
        for ax in axes:
            display = from_estimator(net, *table, n_points=3, ax=ax, levels=[0.1, 1])
            assert display.ax_ is ax

    def test_a_wrong_number_of_axes(self, houses):
        _, axes = plt.subplots(1, 3)
        with pytest.raises(ValueError, match=r"ax must hold 2 axes: .*\. Got 3\."):
            from_data(*houses, ax=axes)

    def test_plot_again(self, houses):
        display = from_data(*houses)
        first = display.figure_
        assert display.plot(colorbar=False) is display
        assert display.figure_ is not first

    def test_pickle_of_the_numbers(self, houses):
        display = from_data(*houses)
        bare = pickle.loads(pickle.dumps(LossSurfaceDisplay(display.surfaces))).plot()
        assert bare.n_steps == display.n_steps
        assert shown(bare.ax_) == shown(display.ax_)


class TestErrors:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (
                {"loss": "hinge"},
                r"loss must be 'squared_error' or 'log_loss'\. Got 'hinge'\.",
            ),
            (
                {"directions": "random"},
                r"directions must be 'weights' or 'principal'\. Got 'random'\.",
            ),
            (
                {"intercept": True},
                r"intercept must be 'held' or 'learned'\. Got True\.",
            ),
            ({"tol": 0}, r"tol must be a .* greater than 0 and less than 1\. Got 0\."),
            ({"tol": 1.0}, r"greater than 0 and less than 1\. Got 1\.0\."),
            ({"n_points": 2}, r"n_points must be a whole number from 3 on\. Got 2\."),
            ({"n_points": 9.0}, r"n_points must be .* from 3 on\. Got 9\.0\."),
            ({"max_rows": 1}, r"max_rows must be a whole number from 2 on\. Got 1\."),
            ({"max_steps": 0}, r"max_steps must be a whole .* from 1 on\. Got 0\."),
        ],
    )
    def test_arguments_of_data(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            from_data(CORNERS, LINEAR_TARGET, **arguments)
        assert not plt.get_fignums()

    @pytest.mark.parametrize(
        ("X", "y", "message"),
        [
            (CORNERS[:1], [1.0], r"at least two rows\. Got 1\."),
            (CORNERS, [1.0, 2.0], "inconsistent numbers of samples"),
            (CORNERS, None, r"y must hold the target of each row of X\. Got None\."),
            (CORNERS, [1.0, 2.0, 3.0, np.nan], "Input y contains NaN"),
            (np.full((4, 2), np.nan), np.ones(4), "Input X contains NaN"),
            (CORNERS * [0, 1] + [5, 0], np.ones(4), r"constant columns in X as they"),
            (CORNERS[:, [0, 0]], np.ones(4), r"no single minimum .* are collinear"),
            ([[1, 2], [3, 1]], np.ones(2), "collinear, more than the rows"),
            (CORNERS * 1e200, np.ones(4), "or beyond what can be squared"),
            (CORNERS * 1e-200, np.ones(4), "or beyond what can be squared"),
            (CORNERS * [1, 1e20], np.ones(4), "too far apart in size"),
            (CORNERS, [1.0, 2.0, 3.0, 1e200], r"numbers up to 1e\+140, .* is 1e\+200"),
            (
                CORNERS[:, :1],
                np.ones(4),
                r"two weights, and there are 1: 'x0'\. Add a .* intercept='learned'",
            ),
            (
                CORNERS[:, [0, 1, 1]],
                np.ones(4),
                "no single minimum",
            ),
        ],
    )
    @pytest.mark.filterwarnings("ignore:.*found no values:UserWarning")
    def test_data(self, X, y, message):
        with pytest.raises(ValueError, match=message):
            from_data(X, y)

    def test_more_columns_than_axes(self, rng):
        message = (
            r"and there are 3: 'x0', 'x1', 'x2'\. Choose two columns of X, or set "
            r"directions='principal' to draw the steepest and the flattest direction\."
        )
        with pytest.raises(ValueError, match=message):
            from_data(rng.normal(size=(9, 3)), rng.normal(size=9))

    def test_a_plane_of_one_weight(self):
        with pytest.raises(
            ValueError, match="needs at least two weights, and there is"
        ):
            from_data(CORNERS[:, :1], LINEAR_TARGET, directions="principal")

    def test_a_column_that_a_standardizer_makes_constant(self, houses):
        from sklearn.preprocessing import Binarizer

        with pytest.raises(
            ValueError,
            match=r"constant columns in X after Binarizer: 'area', 'bedrooms'\.",
        ):
            from_data(*houses, standardizer=Binarizer())

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (
                {"directions": "weights"},
                r"directions must be 'random' or 'principal'\. Got 'weights'\.",
            ),
            ({"n_points": True}, r"n_points must be .* from 3 on\. Got True\."),
            ({"radius": 0}, r"radius must be a .* greater than 0\. Got 0\."),
            ({"radius": np.inf}, r"radius must be a finite .* than 0\. Got inf\."),
            ({"max_rows": None}, r"max_rows must be .* from 2 on\. Got None\."),
        ],
    )
    def test_arguments_of_a_network(self, table, arguments, message):
        with pytest.raises(ValueError, match=message):
            from_estimator(linear_net(*table), *table, **arguments)

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

    def test_rows_and_targets_of_a_network(self, table):
        X, y = table
        net = linear_net(X, y)
        with pytest.raises(ValueError, match=r"at least two rows\. Got 1\."):
            from_estimator(net, X[:1], y[:1])
        with pytest.raises(ValueError, match="y must hold the target of each row"):
            from_estimator(net, X, None)

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


class TestImports:
    def test_what_linear_models_do_not_need(self):
        code = (
            "import sys, numpy as np;"
            "from sknorm.inspection._loss_surface import LossSurfaceDisplay as D;"
            "print('matplotlib' in sys.modules);"
            "D.from_data(np.array([[1., 2], [3, 1], [0, 0]]), [1., 2, 3]);"
            "print('torch' in sys.modules)"
        )
        result = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"MPLBACKEND": "Agg"},
        )
        assert result.stdout.split() == ["False", "False"]

    def test_what_is_missing_is_named(self, houses, monkeypatch):
        display = from_data(*houses)
        real = builtins.__import__

        def without(name, *args, **kwargs):
            if name.partition(".")[0] == "matplotlib":
                raise ImportError(name)
            return real(name, *args, **kwargs)

        monkeypatch.setattr(builtins, "__import__", without)
        for use, name in [
            (lambda: from_data(*houses), "from_data"),
            (lambda: from_estimator(None, *houses), "from_estimator"),
            (display.plot, "plot"),
        ]:
            message = rf"LossSurfaceDisplay.{name} draws with matplotlib: `pip install"
            with pytest.raises(ImportError, match=message):
                use()
