import matplotlib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.special import expit
from sklearn.linear_model import LinearRegression

from sknorm.inspection import LossSurfaceDisplay
from sknorm.inspection._linear_loss import _steps_needed
from sknorm.preprocessing import Standardizer, WhiteningStandardizer

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from_data = LossSurfaceDisplay.from_data

# Covariance diag(1, 100): the Hessian of the mean squared error is diag(2, 200).
CORNERS = np.array([[1.0, 10.0], [1.0, -10.0], [-1.0, 10.0], [-1.0, -10.0]])
LINEAR_TARGET = CORNERS @ [3.0, 0.5] + 7.0


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def descend(gradient, start, step_size, n_steps):
    """Take steps one by one."""
    path = [np.asarray(start)]
    for _ in range(n_steps):
        path.append(path[-1] - step_size * gradient(path[-1]))
    return np.array(path)


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
        assert display.ax_.get_title(loc="left") == "as they come: over 3 steps"

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


class TestErrors:
    @pytest.mark.parametrize(
        ("X", "y", "message"),
        [
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
