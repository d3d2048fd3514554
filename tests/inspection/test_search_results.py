import functools
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.exceptions import NotFittedError
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import make_scorer, mean_squared_error
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    RandomizedSearchCV,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from sknorm.inspection._search_results import SearchCells
from sknorm.nn.initializers import Normal

NAN = float("nan")


def searched(params, folds, metric="score", **attributes):
    """Return what has the results of a search, made of the scores of each fold."""
    folds = np.array(folds, dtype=float).reshape(len(params), -1)
    columns = {f"split{k}_test_{metric}": scores for k, scores in enumerate(folds.T)}
    results = {
        "params": params,
        f"mean_test_{metric}": folds.mean(axis=1),
    }
    return SimpleNamespace(cv_results_=results | columns, **attributes)


def grid(x, y, **others):
    """Return candidates in the order of ParameterGrid: the last changes fastest."""
    names = [*others, "x", "y"]
    axes = [*others.values(), x, y]
    combinations = np.array(np.meshgrid(*map(range_of, axes), indexing="ij"))
    return [
        {name: axis[k] for name, axis, k in zip(names, axes, place, strict=True)}
        for place in combinations.reshape(len(axes), -1).T
    ]


def range_of(axis):
    return range(len(axis))


class TestCells:
    def test_each_has_the_scores_of_its_candidate(self):
        folds = [[0.1, 0.3], [0.2, 0.2], [0.5, 0.7], [0.9, 0.9], [0, 0], [1, 0]]
        cells = SearchCells.read(
            searched(grid([1, 2], ["a", "b", "c"]), folds), "x", "y"
        )
        assert (cells.x, cells.y) == ("x", "y")
        assert cells.x_labels == ["1", "2"]
        assert cells.y_labels == ["a", "b", "c"]
        np.testing.assert_allclose(cells.mean, [[0.2, 0.9], [0.2, 0], [0.6, 0.5]])
        np.testing.assert_allclose(
            cells.std, [[0.1, 0], [0, 0], [0.1, 0.5]], atol=1e-15
        )
        np.testing.assert_array_equal(cells.n_fits, np.full((3, 2), 2))
        np.testing.assert_array_equal(cells.n_failed, np.zeros((3, 2)))
        np.testing.assert_array_equal(cells.candidates, [[0, 3], [1, 4], [2, 5]])
        assert cells.best == (0, 1)
        assert (cells.metric, cells.n_folds, cells.over) == ("score", 2, [])

    def test_what_was_not_tried_is_empty(self):
        params = [{"x": 1, "y": 1}, {"x": 2, "y": 2}]
        cells = SearchCells.read(searched(params, [0.5, 0.25]), "x", "y")
        np.testing.assert_array_equal(cells.mean, [[0.5, NAN], [NAN, 0.25]])
        np.testing.assert_array_equal(cells.n_fits, [[1, 0], [0, 1]])
        np.testing.assert_array_equal(cells.candidates, [[0, -1], [-1, 1]])

    def test_one_fold_has_no_spread(self):
        cells = SearchCells.read(searched(grid([1], [1]), [0.5]), "x", "y")
        assert np.isnan(cells.std).all()

    def test_results_without_folds(self):
        search = searched(grid([1, 2], [1]), [[0.5, 0.7], [0.1, 0.3]])
        for key in ("split0_test_score", "split1_test_score"):
            del search.cv_results_[key]
        cells = SearchCells.read(search, "x", "y")
        np.testing.assert_allclose(cells.mean, [[0.6, 0.2]])
        assert np.isnan(cells.std).all()
        assert cells.n_folds == 1

    @pytest.mark.parametrize(
        ("reduce", "mean", "std", "candidate"),
        [
            ("max", 0.75, 0.25, 1),
            ("min", 0.25, 0.25, 0),
            # Folds of the mean: (0 + 1) / 2 and (0.5 + 0.5) / 2.
            ("mean", 0.5, 0.0, -1),
        ],
    )
    def test_several_candidates_in_a_cell(self, reduce, mean, std, candidate):
        search = searched(grid([1], [1], lr=[0.1, 0.2]), [[0, 0.5], [1, 0.5]])
        cells = SearchCells.read(search, "x", "y", reduce=reduce)
        assert cells.mean[0, 0] == mean
        assert cells.std[0, 0] == std
        assert cells.candidates[0, 0] == candidate
        assert cells.n_fits[0, 0] == 4
        assert cells.over == ["lr"]

    def test_a_parameter_that_was_not_varied(self):
        search = searched(grid([1, 2], ["a"], lr=[0.1]), [0.5, 0.7])
        cells = SearchCells.read(search, "x", "y")
        assert cells.mean.shape == (1, 2)
        assert cells.over == []

    def test_of_equal_cells_the_first_tried_is_best(self):
        # In the order of the candidates, and not of the rows of the picture.
        search = searched(grid([1, 2], ["a", "b"]), [0.1, 0.5, 0.5, 0.2])
        assert SearchCells.read(search, "x", "y").best == (1, 0)


class TestFailedFits:
    def test_they_are_counted_and_left_out(self):
        search = searched(grid([1, 2], [1]), [[0.5, NAN, 0.7], [0.4, 0.4, 0.4]])
        cells = SearchCells.read(search, "x", "y")
        np.testing.assert_allclose(cells.mean, [[0.6, 0.4]])
        np.testing.assert_allclose(cells.std, [[0.1, 0]], atol=1e-15)
        np.testing.assert_array_equal(cells.n_failed, [[1, 0]])
        # As the search itself ranks them.
        assert cells.best == (0, 1)

    def test_all_of_a_cell(self):
        search = searched(grid([1, 2], [1]), [[NAN, NAN], [0.5, 0.5]])
        cells = SearchCells.read(search, "x", "y")
        np.testing.assert_array_equal(cells.mean, [[NAN, 0.5]])
        np.testing.assert_array_equal(cells.n_failed, [[2, 0]])
        np.testing.assert_array_equal(cells.n_fits, [[2, 2]])

    def test_all_there_are(self):
        search = searched(grid([1, 2], [1]), [[NAN, NAN]] * 2)
        cells = SearchCells.read(search, "x", "y")
        assert np.isnan(cells.mean).all()
        assert cells.best is None

    @pytest.mark.parametrize("score", [NAN, np.inf, -np.inf])
    def test_a_score_that_is_not_finite_is_none(self, score):
        search = searched(grid([1], [1]), [[score, 0.5]])
        cells = SearchCells.read(search, "x", "y")
        assert (cells.mean[0, 0], cells.n_failed[0, 0]) == (0.5, 1)

    def test_a_candidate_without_any_goes_before_one_with_some(self):
        search = searched(
            grid([1], [1], lr=[1, 2, 3]), [[0.9, NAN], [0.5, 0.5], [NAN, NAN]]
        )
        cells = SearchCells.read(search, "x", "y")
        assert cells.candidates[0, 0] == 1
        assert (cells.n_failed[0, 0], cells.n_fits[0, 0]) == (3, 6)

    def test_in_a_mean(self):
        search = searched(
            grid([1], [1], lr=[1, 2, 3]), [[0.9, NAN], [0.5, 0.3], [NAN, NAN]]
        )
        cells = SearchCells.read(search, "x", "y", reduce="mean")
        assert cells.mean[0, 0] == pytest.approx((0.9 + 0.4) / 2)
        # Folds: (0.9 + 0.5) / 2 and 0.3.
        assert cells.std[0, 0] == pytest.approx(0.2)

    def test_scores_near_the_largest_number(self):
        search = searched(grid([1], [1], lr=[1, 2]), [[-1e308, -1e300], [-1e308, NAN]])
        cells = SearchCells.read(search, "x", "y", reduce="mean")
        assert np.isfinite(cells.mean[0, 0])


class TestValues:
    @pytest.mark.parametrize(
        ("values", "expected"),
        [
            (["b", "a"], ["b", "a"]),
            ([3, 1, 2.5], ["1", "2.5", "3"]),
            ([1, np.float64(1), np.int64(2)], ["1", "2"]),
            ([0.01, 1e-5, 100_000], ["1e-05", "0.01", "100000"]),
            ([0.33333333, 0.33334], ["0.333333", "0.33334"]),
            ([0.1, 0.10000001], ["0.1", "0.10000001"]),
            ([None, 64, "auto", 32], ["32", "64", "None", "auto"]),
            ([True, False, 1], ["1", "True", "False"]),
            (["1", 1, ""], ["1 1", "1 2", "''"]),
            ([NAN, float("inf"), 2], ["2", "nan", "inf"]),
            ([(64,), (64, 32), ()], ["(64,)", "(64, 32)", "()"]),
            ([(64,) * 10, [64, 64]], ["(64,) * 10", "(64, 64)"]),
            ([("a", None), ((1, 2), 3)], ["('a', None)", "((1, 2), 3)"]),
            ([np.ma.masked, 1], ["1", "(not set)"]),
            ([np.tanh, len, Ridge], ["tanh", "len", "Ridge"]),
            ([Ridge(), Ridge(alpha=2)], ["Ridge()", "Ridge(alpha=2)"]),
            ([Normal(mean=10, std=5)], ["Normal(mean=10, std=5)"]),
            (
                [functools.partial(np.clip, 0, a_max=np.float32(1))],
                ["clip(0, a_max=1)"],
            ),
            (["x" * 30, "x" * 29 + "y"], ["x" * 23 + "… 1", "x" * 23 + "… 2"]),
            ([SimpleNamespace(), object], ["namespace()", "object"]),
        ],
    )
    def test_labels(self, values, expected):
        params = [{"x": value, "y": 1} for value in values]
        cells = SearchCells.read(searched(params, [0.0] * len(values)), "x", "y")
        assert cells.x_labels == expected

    def test_objects_that_say_nothing_of_themselves(self):
        class Plain:
            pass

        params = [{"x": Plain(), "y": 1} for _ in range(2)]
        cells = SearchCells.read(searched(params, [0.1, 0.2]), "x", "y")
        first, second = cells.x_labels
        assert first != second
        assert " at 0x" not in first
        np.testing.assert_array_equal(cells.mean, [[0.1, 0.2]])

    def test_those_a_candidate_does_not_set_come_last(self):
        params = [{"y": 1}, {"x": "b", "y": 1}, {"x": 5, "y": 1}]
        cells = SearchCells.read(searched(params, [0.1, 0.2, 0.3]), "x", "y")
        assert cells.x_labels == ["5", "b", "(not set)"]
        np.testing.assert_array_equal(cells.mean, [[0.3, 0.2, 0.1]])

    def test_as_many_as_there_is_room_for(self):
        params = [{"x": k, "y": 0} for k in range(12)]
        cells = SearchCells.read(searched(params, range(12)), "x", "y")
        assert cells.x_labels == [str(k) for k in range(12)]

    def test_more_are_divided_into_equal_ranges(self):
        params = [{"x": k, "y": 0} for k in range(17)] + [{"x": "auto", "y": 0}]
        cells = SearchCells.read(searched(params, range(18)), "x", "y", bins=4)
        assert cells.x_labels == [*("0 to 4", "4 to 8", "8 to 12", "12 to 16", "auto")]
        # A number at the edge of two is in the second.
        np.testing.assert_array_equal(cells.mean, [[3, 7, 11, 16, 17]])

    def test_over_decades_ranges_have_equal_ratios(self):
        params = [{"x": 10.0**-k, "y": 0} for k in np.linspace(0, 4, 20)]
        cells = SearchCells.read(searched(params, range(20)), "x", "y", bins=4)
        assert cells.x_labels == [
            *("0.0001 to 0.001", "0.001 to 0.01", "0.01 to 0.1", "0.1 to 1")
        ]
        assert cells.n_fits.tolist() == [[5, 5, 5, 5]]

    @given(
        st.lists(
            st.floats(allow_nan=False, width=32) | st.integers(-50, 50) | st.none(),
            min_size=1,
            max_size=40,
        ),
        st.integers(1, 9),
    )
    def test_no_candidate_is_lost(self, values, bins):
        params = [{"x": value, "y": 0} for value in values]
        search = searched(params, np.zeros(len(values)))
        cells = SearchCells.read(search, "x", "y", bins=bins)
        assert cells.n_fits.sum() == len(values)
        assert len(set(cells.x_labels)) == len(cells.x_labels) == cells.n_fits.size


class TestNames:
    @pytest.mark.parametrize(
        ("given_name", "found"),
        [
            ("net__init", "net__init"),
            ("init", "net__init"),
            ("bias_init", "net__bias_init"),
            ("alpha", "alpha"),
            ("b__lr", "a__b__lr"),
        ],
    )
    def test_found(self, given_name, found):
        params = [
            {
                "net__init": 1,
                "net__bias_init": 1,
                "alpha": 1,
                "net__alpha": 1,
                "a__b__lr": 1,
                "other": 1,
            }
        ]
        cells = SearchCells.read(searched(params, [0.0]), given_name, "other")
        assert cells.x == found

    @pytest.mark.parametrize(
        ("x", "y", "message"),
        [
            (
                "inti",
                "lr",
                r"x: Unknown parameter of the search 'inti'. Did you mean 'init'\? "
                r"Allowed names: init, lr, net__init, net__lr, scale__lr\.",
            ),
            ("init", None, "y: Unknown parameter of the search None. Allowed"),
            ("lr", "init", r"x='lr' may be any of 'net__lr', 'scale__lr'\. Write more"),
            (
                "init",
                "net__init",
                r"x and y are both 'net__init'\. Name two different parameters of the "
                r"search: net__init, net__lr, scale__lr\.",
            ),
        ],
    )
    def test_not_found(self, x, y, message):
        params = [{"net__init": 1, "net__lr": 1, "scale__lr": 1}]
        with pytest.raises(ValueError, match=message):
            SearchCells.read(searched(params, [0.0]), x, y)


class TestMetrics:
    @pytest.fixture
    def several(self):
        search = searched(grid([1, 2], [1]), [0.1, 0.2], metric="acc")
        search.cv_results_ |= {
            "mean_test_neg_mse": [-5.0, -6.0],
            "split0_test_neg_mse": [-5.0, -6.0],
            # One name in another, and the scores on the training rows.
            "mean_train_acc": [1.0, 1.0],
            "split0_test_acc_top": [9.0, 9.0],
        }
        return search

    @pytest.mark.parametrize(("metric", "mean"), [("acc", 0.1), ("neg_mse", -5.0)])
    def test_by_name(self, several, metric, mean):
        cells = SearchCells.read(several, "x", "y", metric=metric)
        assert (cells.metric, cells.n_folds) == (metric, 1)
        assert cells.mean[0, 0] == mean

    def test_the_one_a_search_refits_by(self, several):
        several.refit = "neg_mse"
        assert SearchCells.read(several, "x", "y").metric == "neg_mse"

    @pytest.mark.parametrize("refit", [False, max, "f1"])
    def test_has_to_be_named_if_there_is_none(self, several, refit):
        several.refit = refit
        message = r"has 2 metrics: acc, neg_mse\. Name one in `metric`"
        with pytest.raises(ValueError, match=message):
            SearchCells.read(several, "x", "y")

    def test_unknown(self, several):
        message = r"Unknown metric 'neg_msee'\. Did you mean 'neg_mse'\? Allowed names"
        with pytest.raises(ValueError, match=message):
            SearchCells.read(several, "x", "y", metric="neg_msee")

    @pytest.mark.parametrize(
        ("scoring", "metric"),
        [
            (None, "score"),
            ("accuracy", "accuracy"),
            ("neg_log_loss", "neg_log_loss"),
            (make_scorer(mean_squared_error), "mean_squared_error"),
            (
                make_scorer(mean_squared_error, greater_is_better=False),
                "neg_mean_squared_error",
            ),
            (functools.partial(max), "score"),
        ],
    )
    def test_the_only_one_has_the_name_of_its_scorer(self, scoring, metric):
        search = searched(grid([1], [1]), [0.5], scoring=scoring)
        for asked in (None, "score", metric):
            assert SearchCells.read(search, "x", "y", metric=asked).metric == metric


@pytest.fixture
def table(rng):
    X = rng.normal(size=(120, 4))
    return X, (X[:, 0] + 0.5 * rng.normal(size=120) > 0).astype(int)


class TestSearches:
    def test_the_best_is_that_of_the_search(self, table):
        model = make_pipeline(StandardScaler(), DecisionTreeClassifier(random_state=0))
        values = {
            "decisiontreeclassifier__max_depth": [None, 4, 1, 2],
            "decisiontreeclassifier__criterion": ["gini", "entropy"],
            "standardscaler__with_mean": [True, False],
        }
        search = GridSearchCV(model, values, cv=3).fit(*table)
        cells = SearchCells.read(search, "max_depth", "criterion")
        assert cells.candidates[cells.best] == search.best_index_
        assert cells.mean[cells.best] == search.best_score_
        std = search.cv_results_["std_test_score"][search.best_index_]
        assert cells.std[cells.best] == pytest.approx(std, rel=1e-12)
        assert cells.x_labels == ["1", "2", "4", "None"]
        assert cells.over == ["standardscaler__with_mean"]

    def test_draws_from_a_distribution(self, table):
        values = {"C": np.geomspace(1e-4, 1e2, 50), "fit_intercept": [True, False]}
        search = RandomizedSearchCV(
            LogisticRegression(), values, n_iter=30, cv=2, random_state=0
        ).fit(*table)
        cells = SearchCells.read(search, "C", "fit_intercept", bins=5)
        assert cells.mean.shape == (2, 5)
        assert cells.n_fits.sum() == 60
        assert cells.candidates[cells.best] == search.best_index_

    def test_halving(self, table):
        search = HalvingGridSearchCV(
            DecisionTreeClassifier(random_state=0),
            {"max_depth": [1, 2, 3], "criterion": ["gini", "entropy"]},
            cv=2,
            random_state=0,
            min_resources=20,
        ).fit(*table)
        cells = SearchCells.read(search, "max_depth", "criterion")
        assert cells.candidates[cells.best] == search.best_index_
        assert cells.resource == "n_samples"
        assert cells.resources[cells.best] == search.cv_results_["n_resources"].max()
        # Each cell has one candidate, whatever the number of its rounds.
        np.testing.assert_array_equal(cells.n_fits, np.full((2, 3), 2))

    def test_the_last_round_of_a_cell_counts(self):
        params = [{"x": 1, "y": 1}, {"x": 2, "y": 1}, {"x": 1, "y": 1}]
        search = searched(params, [0.9, 0.8, 0.5])
        search.cv_results_ |= {"iter": [0, 0, 1], "n_resources": [10, 10, 30]}
        cells = SearchCells.read(search, "x", "y")
        np.testing.assert_array_equal(cells.mean, [[0.5, 0.8]])
        np.testing.assert_array_equal(cells.resources, [[30, 10]])
        assert cells.best == (0, 0)
        assert cells.resource is None


class TestErrors:
    def test_not_fitted(self):
        search = GridSearchCV(Ridge(), {"alpha": [1]})
        with pytest.raises(NotFittedError, match="This GridSearchCV instance is not"):
            SearchCells.read(search, "alpha", "alpha")

    @pytest.mark.parametrize("search", [Ridge().fit([[1], [2]], [1, 2]), "search", {}])
    def test_no_search(self, search):
        with pytest.raises(
            TypeError, match="as a GridSearchCV, that has `cv_results_`"
        ):
            SearchCells.read(search, "x", "y")

    @pytest.mark.parametrize("results", [{}, {"params": []}, {"mean_test_score": [1]}])
    def test_no_candidates(self, results):
        with pytest.raises(ValueError, match="must hold the candidates of the search"):
            SearchCells.read(SimpleNamespace(cv_results_=results), "x", "y")

    def test_no_scores(self):
        results = {"params": grid([1], [1]), "mean_fit_time": [1]}
        message = r"no column 'mean_test_\.\.\.' .*has: params, mean_fit_time"
        with pytest.raises(ValueError, match=message):
            SearchCells.read(SimpleNamespace(cv_results_=results), "x", "y")

    @pytest.mark.parametrize("reduce", ["median", None, ["max"]])
    def test_reduce(self, reduce):
        search = searched(grid([1], [1]), [0.5])
        with pytest.raises(
            ValueError, match=r"reduce must be 'max', 'mean', 'min'\. G"
        ):
            SearchCells.read(search, "x", "y", reduce=reduce)
