"""Standardizers on Dask collections, on each scheduler there is."""

import os
import pickle
import re
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import dask
import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from distributed import Client, LocalCluster

import sknorm.preprocessing
from sknorm.preprocessing import (
    GroupStandardizer,
    QuantileStandardizer,
    Standardizer,
    WhiteningStandardizer,
)
from sknorm.preprocessing._columns import ColumnStandardizer
from sknorm.preprocessing._summary import SummaryStandardizer

ALL = [getattr(sknorm.preprocessing, name) for name in sknorm.preprocessing.__all__]
COLUMNS = [cls for cls in ALL if issubclass(cls, ColumnStandardizer)]
SUMMARIES = [
    cls
    for cls in ALL
    if issubclass(cls, SummaryStandardizer) and cls is not GroupStandardizer
]
FAMILIES = SUMMARIES + COLUMNS
every_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda c: c.__name__)

NAMES = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"]
# Of each of two workers. What they import takes 200 MB of it.
MEMORY_LIMIT = 350_000_000


@pytest.fixture
def data(rng):
    return rng.normal(size=(600, 10)) @ rng.normal(size=(10, 10)) + 10.0 * np.arange(10)


@pytest.fixture
def frame(data):
    return pd.DataFrame(data, columns=NAMES)


@pytest.fixture(scope="module")
def cluster():
    """Two worker processes, on which nothing else runs."""
    with (
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            dashboard_address=":0",
            memory_limit=MEMORY_LIMIT,
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


def chunked(X, chunks=(130, 4)):
    return da.from_array(X, chunks=chunks)


def learned(estimator):
    """Return the fitted arrays by name."""
    return {
        name: np.asarray(value)
        for name, value in vars(estimator).items()
        if name.endswith("_") and isinstance(value, np.ndarray | int | float)
    }


def assert_same(a, b, rtol=0.0):
    a, b = learned(a), learned(b)
    assert a.keys() == b.keys()
    assert a
    for name in a:
        if a[name].dtype.kind in "OU":
            np.testing.assert_array_equal(a[name], b[name], err_msg=name)
        else:
            np.testing.assert_allclose(
                a[name], b[name], rtol=rtol, atol=rtol, err_msg=name
            )


def tolerance(family):
    # Sums of blocks are merged; a column that is seen whole is the same column.
    return 0.0 if issubclass(family, ColumnStandardizer) else 1e-12


@every_family
class TestFit:
    @pytest.mark.parametrize("chunks", [(130, 4), (600, 3), (9, 10), (600, 10)])
    def test_an_array(self, family, data, chunks):
        assert_same(
            family().fit(chunked(data, chunks)), family().fit(data), tolerance(family)
        )

    def test_a_frame(self, family, frame):
        lazy = dd.from_pandas(frame, npartitions=4)
        scaler = family().fit(lazy)
        assert_same(scaler, family().fit(frame), tolerance(family))
        assert list(scaler.feature_names_in_) == NAMES
        assert scaler.n_features_in_ == 10

    def test_lengths_that_are_not_known_and_blocks_that_are_empty(self, family, frame):
        lazy = dd.from_pandas(frame, npartitions=6)
        some = lazy[lazy["a"] > 0]
        rows = frame[frame["a"] > 0].to_numpy()
        empty = some.map_partitions(lambda part: part[part.index < 250])
        kept = frame[(frame["a"] > 0) & (frame.index < 250)]
        assert (empty.map_partitions(len).compute() == 0).any()
        for collection, expected in (
            (some.to_dask_array(), rows),
            (empty, kept),
            (empty.to_dask_array(), kept.to_numpy()),
        ):
            assert_same(
                family().fit(collection), family().fit(expected), tolerance(family)
            )

    def test_missing_values(self, family, data, rng):
        data[rng.random(data.shape) < 0.1] = np.nan
        data = data[:, :3]
        assert_same(family().fit(chunked(data)), family().fit(data), tolerance(family))

    def test_float32_and_integers(self, family, data):
        for X in (data.astype(np.float32), (10 * data).astype(np.int16)):
            assert_same(family().fit(chunked(X)), family().fit(X), tolerance(family))

    def test_schedulers_and_threads_leave_no_trace(self, family, data):
        X = chunked(data)
        with dask.config.set(scheduler="synchronous"):
            alone = family().fit(X)
        for workers in (1, 4):
            with dask.config.set(scheduler="threads", num_workers=workers):
                assert_same(family().fit(X), alone)


@every_family
class TestWeights:
    @pytest.fixture
    def weight(self, rng):
        weight = rng.integers(0, 4, 600).astype(float)
        weight[130:260] = 0.0  # All of a block.
        return weight

    @pytest.mark.parametrize(
        "cut",
        [
            np.asarray,
            list,
            lambda w: chunked(w, 130),
            lambda w: chunked(w, 77),
        ],
        ids=["array", "list", "as X", "otherwise"],
    )
    def test_of_an_array(self, family, data, weight, cut):
        scaler = family().fit(chunked(data), sample_weight=cut(weight))
        memory = family().fit(data, sample_weight=weight)
        assert_same(scaler, memory, tolerance(family))

    def test_of_a_frame(self, family, frame, weight):
        lazy = dd.from_pandas(frame.assign(weight=weight), npartitions=4)
        memory = family().fit(frame, sample_weight=weight)
        for given in (weight, lazy["weight"], lazy["weight"].to_dask_array()):
            scaler = family().fit(lazy[NAMES], sample_weight=given)
            assert_same(scaler, memory, tolerance(family))

    def test_one_for_all(self, family, data):
        scaler = family().fit(chunked(data), sample_weight=2.0)
        assert_same(scaler, family().fit(data, sample_weight=2.0), tolerance(family))

    @pytest.mark.parametrize(
        ("weight", "message"),
        [
            (np.ones(599), r"sample_weight.shape == \(599,\), expected \(600,\)"),
            (da.ones(599, chunks=130), r"shape == \(599,\), expected \(600,\)"),
            (da.ones((600, 1)), "must be 1D. Got a Dask collection of 2 dimensions"),
            (-np.ones(600), "Negative values"),
            (np.full(600, np.nan), "NaN"),
            (np.zeros(600), "at least one non-zero number"),
        ],
        ids=["short", "short Dask", "2D", "negative", "NaN", "zeros"],
    )
    def test_bad_ones(self, family, data, weight, message):
        scaler = family().fit(data)
        before = pickle.dumps(scaler)
        with pytest.raises(ValueError, match=message):
            scaler.fit(chunked(data), sample_weight=weight)
        assert pickle.dumps(scaler) == before

    def test_other_blocks_than_those_of_unknown_length(self, family, frame):
        lazy = dd.from_pandas(frame, npartitions=4)
        with pytest.raises(ValueError, match="X has 4 blocks of rows and sample_wei"):
            family().fit(lazy, sample_weight=da.ones(600, chunks=100))
        with pytest.raises(ValueError, match=r"sample_weight\.shape == "):
            family().fit(lazy, sample_weight=da.ones(600, chunks=(10, 10, 10, 570)))


@every_family
class TestTransform:
    def test_an_array_there_and_back(self, family, data):
        X, scaler = chunked(data), family().fit(data)
        Z = scaler.transform(X)
        assert isinstance(Z, da.Array)
        assert Z.chunks == ((130, 130, 130, 130, 80), (10,))
        np.testing.assert_allclose(
            Z.compute(), scaler.transform(data), rtol=0, atol=1e-13
        )
        back = scaler.inverse_transform(Z)
        assert isinstance(back, da.Array)
        np.testing.assert_allclose(back.compute(), data, atol=1e-9)

    def test_nothing_is_computed(self, family, data):
        def refuse(block):
            raise AssertionError("this was computed")

        X = da.ones((600, 10), chunks=(100, 10)).map_blocks(
            refuse, meta=np.empty((0, 0))
        )
        scaler = family().fit(data)
        for container in ("default", "pandas"):
            scaler.set_output(transform=container)
            scaler.transform(X)
            scaler.inverse_transform(X)

    def test_float32_is_kept(self, family, data):
        X = chunked(data.astype(np.float32))
        Z = family().fit(X).transform(X)
        assert Z.dtype == Z.compute().dtype == np.float32
        assert Z._meta.dtype == np.float32
        Z = family().fit_transform(chunked((data * 10).astype(np.int32)))
        assert Z.dtype == Z.compute().dtype == np.float64

    def test_a_frame_becomes_an_array(self, family, frame):
        lazy = dd.from_pandas(frame, npartitions=4)
        scaler = family().fit(frame)
        Z = scaler.transform(lazy)
        assert isinstance(Z, da.Array)
        assert Z.shape[1] == 10
        np.testing.assert_allclose(
            Z.compute(), scaler.transform(frame), rtol=0, atol=1e-13
        )

    def test_or_a_frame_if_that_is_asked_for(self, family, frame):
        frame.index = np.arange(600) * 2
        lazy = dd.from_pandas(frame, npartitions=4)
        scaler = family().set_output(transform="pandas")
        Z = scaler.fit_transform(lazy)
        assert isinstance(Z, dd.DataFrame)
        assert Z.divisions == lazy.divisions
        assert list(Z.columns) == list(scaler.get_feature_names_out())
        expected = family().set_output(transform="pandas").fit_transform(frame)
        pd.testing.assert_frame_equal(Z.compute(), expected, rtol=0, atol=1e-11)

    def test_arrays_get_the_same_names(self, family, data):
        scaler = family().fit(data).set_output(transform="pandas")
        Z = scaler.transform(chunked(data))
        assert isinstance(Z, dd.DataFrame)
        pd.testing.assert_frame_equal(
            Z.compute(), scaler.transform(data), rtol=0, atol=1e-13
        )
        unknown = chunked(data)[da.from_array(data[:, 0] > 0, chunks=130)]
        Z = scaler.transform(unknown).compute()
        assert list(Z.columns) == list(scaler.get_feature_names_out())
        np.testing.assert_allclose(
            Z, scaler.transform(data[data[:, 0] > 0]), rtol=0, atol=1e-13
        )

    def test_blocks_without_rows(self, family, frame):
        lazy = dd.from_pandas(frame, npartitions=4).map_partitions(
            lambda part: part[part.index < 200]
        )
        scaler = family().fit(frame)
        for container in ("default", "pandas"):
            scaler.set_output(transform=container)
            Z = scaler.transform(lazy).compute()
            np.testing.assert_allclose(
                Z, scaler.transform(frame[:200]), rtol=0, atol=1e-13
            )

    def test_it_is_of_what_was_known_then(self, family, data):
        scaler = family().fit(data)
        expected = scaler.transform(data)
        Z = scaler.transform(chunked(data))
        scaler.fit(data * 3 + 5)
        np.testing.assert_allclose(Z.compute(), expected, rtol=0, atol=1e-13)

    def test_blocks_are_never_written_to(self, family, data):
        X = chunked(data, (600, 10)).persist()
        family(copy=False).fit(data).transform(X).compute()
        np.testing.assert_array_equal(X.compute(), data)

    def test_infinite_values_are_refused_when_it_is_computed(self, family, data):
        scaler = family().fit(data)
        data[300, 4] = np.inf
        Z = scaler.transform(chunked(data))
        with pytest.raises(ValueError, match="contains infinity in 1 column: 4"):
            Z.compute()

    def test_names_in_another_order(self, family, frame):
        scaler = family().fit(dd.from_pandas(frame, npartitions=2))
        with pytest.raises(ValueError, match="must be in the same order"):
            scaler.transform(dd.from_pandas(frame[NAMES[::-1]], npartitions=2))
        with pytest.raises(ValueError, match="Feature names seen at fit time, yet now"):
            scaler.transform(dd.from_pandas(frame[NAMES[:3]], npartitions=2))

    def test_another_number_of_columns(self, family, data):
        with pytest.raises(ValueError, match="X has 3 features, but"):
            family().fit(data).transform(chunked(data[:, :3]))

    def test_names_are_missed_once(self, family, data, frame):
        scaler = family().fit(frame)
        with pytest.warns(UserWarning, match="does not have valid feature") as caught:
            Z = scaler.transform(chunked(data))
        assert len(caught) == 1
        Z.compute()

    def test_polars_is_refused(self, family, data):
        scaler = family().fit(data).set_output(transform="polars")
        with pytest.raises(ValueError, match="'polars'\\) has no meaning for Dask"):
            scaler.transform(chunked(data))


@every_family
class TestBadInput:
    def assert_refused(self, family, X, error, message):
        good = np.random.default_rng(0).normal(size=(20, 10))
        scaler = family().fit(good)
        before = pickle.dumps(scaler)
        with pytest.raises(error, match=message):
            scaler.fit(X)
        assert pickle.dumps(scaler) == before

    def test_infinite_values_of_all_blocks_are_named(self, family, data):
        data[3, 1] = data[500, 9] = np.inf
        self.assert_refused(
            family, chunked(data), ValueError, r"infinity in 2 columns: 1, 9\."
        )

    def test_or_by_their_names(self, family, frame):
        frame.loc[500, "c"] = -np.inf
        lazy = dd.from_pandas(frame, npartitions=3)
        self.assert_refused(family, lazy, ValueError, r"infinity in 1 column: 'c'\.")

    def test_words(self, family, frame):
        frame = frame.assign(city="x", day=pd.Timestamp(0))
        self.assert_refused(
            family,
            dd.from_pandas(frame, npartitions=2),
            ValueError,
            r"takes numbers only, and these columns hold something else: 'city' "
            r"\((str|string|object)\), 'day' \(datetime64\[\w+\]\)\. Leave them out",
        )

    def test_no_rows(self, family, frame):
        lazy = dd.from_pandas(frame, npartitions=3)
        none = lazy[lazy["a"] > 1e9]
        message = r"Found array with 0 sample\(s\) \(shape=\(0, 10\)\)"
        self.assert_refused(family, none, ValueError, message)
        self.assert_refused(family, none.to_dask_array(), ValueError, message)

    @pytest.mark.parametrize(
        ("make", "error", "message"),
        [
            (lambda: da.ones(5), ValueError, "Expected 2D array, got 1D"),
            (lambda: da.ones((5, 2, 2)), ValueError, "dim 3"),
            (lambda: da.ones((5, 2), dtype=complex), ValueError, "Complex data not"),
            (lambda: da.ones((5, 0)), ValueError, r"0 feature\(s\)"),
            (lambda: dask.delayed(np.ones((5, 2))), TypeError, "Got Delayed"),
        ],
        ids=["1D", "3D", "complex", "no columns", "delayed"],
    )
    def test_not_a_table(self, family, make, error, message):
        self.assert_refused(family, make(), error, message)

    def test_empty_columns_are_warned_of_by_the_caller(self, family, data):
        data[:, 9] = np.nan
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            family().fit(chunked(data))
        (warning,) = caught
        assert "found no values in 1 column: 9," in str(warning.message)
        assert warning.filename == __file__


@pytest.mark.parametrize("family", SUMMARIES, ids=lambda c: c.__name__)
class TestPartialFit:
    def test_collections_and_arrays_add_up(self, family, data):
        scaler = family().partial_fit(chunked(data[:250]))
        scaler.partial_fit(data[250:400]).partial_fit(chunked(data[400:]))
        assert_same(scaler, family().fit(data), 1e-12)

    def test_one_that_fails_leaves_what_was_learned(self, family, data):
        scaler = family().partial_fit(chunked(data))
        before = pickle.dumps(scaler)
        with pytest.raises(ValueError, match="X has 3 features"):
            scaler.partial_fit(chunked(data[:, :3]))
        data[0, 0] = np.inf
        with pytest.raises(ValueError, match="infinity in 1 column: 0"):
            scaler.partial_fit(chunked(data))
        assert pickle.dumps(scaler) == before


class TestDraws:
    """A subsample is of rows: the same ones for all groups of columns."""

    def test_as_in_memory(self, data):
        scaler = QuantileStandardizer(subsample=100, random_state=3)
        assert_same(
            scaler.fit(chunked(data)),
            QuantileStandardizer(subsample=100, random_state=3).fit(data),
        )

    @pytest.mark.parametrize("make", [lambda: None, lambda: np.random.RandomState(0)])
    def test_the_same_for_all_columns(self, data, make):
        X = np.repeat(data[:, :1], 20, axis=1)
        state = make()
        scaler = QuantileStandardizer(subsample=50, random_state=state)
        scores = scaler.fit(chunked(X, (100, 3))).quantiles_
        np.testing.assert_array_equal(scores, np.repeat(scores[:, :1], 20, axis=1))
        assert scaler.random_state is state


class TestCluster:
    def test_the_same_bits(self, cluster, data):
        X, weight = chunked(data), chunked(np.arange(600.0), 50)
        for family in FAMILIES:
            with dask.config.set(scheduler="synchronous"):
                alone = family().fit(X, sample_weight=weight)
            with cluster.as_current():
                scaler = family().fit(X, sample_weight=weight)
                Z = scaler.transform(X).compute()
            assert_same(scaler, alone)
            memory = family().fit(data, sample_weight=np.arange(600.0))
            np.testing.assert_allclose(Z, memory.transform(data), rtol=0, atol=1e-11)

    def test_more_than_fits_in_memory(self, cluster):
        def peak_memory():
            # The resource module counts in what the process was started from.
            status = Path("/proc/self/status").read_text()
            return 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", status)[1])

        X = da.random.default_rng(0).random((2_000_000, 100), chunks=(5_000, 100))
        assert X.nbytes > 2 * 2 * MEMORY_LIMIT
        with cluster.as_current():
            scaler = Standardizer().fit(X)
            mean_square = da.square(scaler.transform(X)).mean(axis=0).compute()
        np.testing.assert_allclose(scaler.mean_, 0.5, atol=2e-3)
        np.testing.assert_allclose(mean_square, 1.0, rtol=1e-12)
        assert scaler.n_samples_seen_ == 2_000_000
        if sys.platform == "linux":
            peaks = cluster.run(peak_memory)
            assert len(peaks) == 2
            assert max(peaks.values()) < MEMORY_LIMIT

    def test_a_worker_that_is_killed(self, cluster, data, tmp_path):
        flag, me = tmp_path / "killed", os.getpid()

        def kill_once(block, block_info=None):
            if os.getpid() != me and block_info[0]["chunk-location"][0] == 20:
                try:
                    flag.touch(exist_ok=False)
                except FileExistsError:
                    pass
                else:
                    os.kill(os.getpid(), signal.SIGKILL)
            return block

        X = chunked(data, (15, 10)).map_blocks(kill_once, meta=np.empty((0, 0)))
        before = set(cluster.run(os.getpid).values())
        with cluster.as_current():
            scaler = Standardizer().fit(X)
        assert flag.exists()
        assert_same(scaler, Standardizer().fit(data), 1e-12)
        with dask.config.set(scheduler="synchronous"):
            assert_same(scaler, Standardizer().fit(X))
        cluster.wait_for_workers(2, timeout=30)
        assert set(cluster.run(os.getpid).values()) != before


class TestComponents:
    """The result of a transform may have columns of its own."""

    @pytest.fixture
    def scaler(self, frame):
        return WhiteningStandardizer(method="pca", n_components=3).fit(frame)

    def test_there_and_back(self, scaler, frame):
        Z = scaler.transform(dd.from_pandas(frame, npartitions=3))
        assert Z.shape[1] == 3
        expected = scaler.transform(frame)
        np.testing.assert_allclose(Z.compute(), expected, rtol=0, atol=1e-12)
        back = scaler.inverse_transform(Z)
        assert back.shape[1] == 10
        np.testing.assert_allclose(back, scaler.inverse_transform(expected), rtol=1e-9)

    def test_their_names(self, scaler, frame):
        scaler.set_output(transform="pandas")
        Z = scaler.transform(dd.from_pandas(frame, npartitions=3))
        assert list(Z.columns) == [f"whiteningstandardizer{i}" for i in range(3)]

    def test_their_number(self, scaler, data):
        with pytest.raises(ValueError, match="X has 10 columns, but"):
            scaler.inverse_transform(chunked(data))


class TestGroups:
    """Labels of groups are a column of the collection."""

    @pytest.fixture
    def grouped(self, frame, rng):
        return frame.assign(sensor=rng.choice(["x", "y", "z"], 600))

    def test_as_in_memory(self, grouped):
        lazy = dd.from_pandas(grouped, npartitions=4)
        scaler = GroupStandardizer(by="sensor")
        Z = scaler.fit_transform(lazy)
        memory = GroupStandardizer(by="sensor").fit(grouped)
        assert_same(scaler, memory, 1e-12)
        assert Z.shape[1] == 10
        expected = memory.transform(grouped)
        np.testing.assert_allclose(Z.compute(), expected, rtol=0, atol=1e-11)
        scaler.set_output(transform="pandas")
        assert list(scaler.transform(lazy).columns) == NAMES
        assert list(scaler.transform(lazy).compute().columns) == NAMES

    def test_of_an_array(self, data, rng):
        data[:, 4] = rng.integers(0, 3, 600)
        scaler = GroupStandardizer(by=4)
        scaler.partial_fit(chunked(data[:300])).partial_fit(chunked(data[300:]))
        memory = GroupStandardizer(by=4).fit(data)
        assert_same(scaler, memory, 1e-12)
        Z = scaler.transform(chunked(data)).compute()
        np.testing.assert_allclose(Z, memory.transform(data), rtol=0, atol=1e-11)

    def test_infinite_values(self, grouped):
        grouped.loc[7, "b"] = np.inf
        lazy = dd.from_pandas(grouped, npartitions=4)
        with pytest.raises(ValueError, match="infinity in 1 column: 'b'"):
            GroupStandardizer(by="sensor").fit(lazy)

    def test_labels_apart_are_refused(self, data):
        scaler = GroupStandardizer(shrinkage="none")
        groups = np.arange(600) % 3
        message = "groups can't be given beside a Dask collection"
        for method in (scaler.fit, scaler.partial_fit, scaler.fit_transform):
            with pytest.raises(ValueError, match=message):
                method(chunked(data), groups=groups)
        scaler.fit(data, groups=groups)
        with pytest.raises(ValueError, match=message):
            scaler.transform(chunked(data), groups=groups)
        with pytest.raises(ValueError, match="knows 3 groups and must be told"):
            scaler.transform(chunked(data))
        with pytest.raises(
            TypeError, match=r"takes no Dask collections\. Compute them"
        ):
            scaler.inverse_transform(chunked(data))


def test_arrays_in_memory_do_not_load_dask():
    code = (
        "import sys, numpy as np; from sknorm.preprocessing import Standardizer;"
        "Standardizer().fit_transform(np.eye(3));"
        "print([n for n in ('dask', 'distributed') if n in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


GUIDE = Path(__file__).parents[2] / "docs" / "out_of_core.md"


def test_the_guide_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), flags=re.DOTALL)
    assert len(blocks) >= 4
    space = {}
    for block in blocks:
        exec(block, space)
