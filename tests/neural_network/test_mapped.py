"""Tables in files: what is read is what is there, and does not stay."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.utils import check_array

from sknorm.neural_network import _mapped
from sknorm.neural_network._mapped import MappedTable, is_mapped, stays_in_file


@pytest.fixture
def in_file(tmp_path):
    """Return a function that writes an array to a file and maps it."""

    def write(array, mode="r", order="C"):
        path = tmp_path / f"table{len(list(tmp_path.iterdir()))}"
        array.ravel(order).tofile(path)
        return np.memmap(path, array.dtype, mode, shape=array.shape, order=order)

    return write


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch):
    monkeypatch.setattr(_mapped, "_READ_BYTES", 64)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int8, ">f4"])
def test_rows_are_those_of_the_array(rng, in_file, dtype, order):
    array = rng.integers(-9, 9, (40, 3)).astype(dtype)
    table = MappedTable(in_file(array, order=order), "float32")
    expected = torch.from_numpy(array.astype(np.float32))
    index = torch.tensor([7, 0, 39, 7])
    assert len(table) == 40
    assert table.shape == (40, 3)
    assert table.nbytes == expected.nbytes
    assert table[:].dtype == torch.float32
    assert torch.equal(table[:], expected)
    assert torch.equal(table[35:99], expected[35:])
    assert torch.equal(table[index], expected[index])
    assert torch.equal(table.to("cpu"), expected)
    assert len(table[40:]) == 0


def test_taken_rows_stay_in_the_file(rng, in_file):
    array = rng.standard_normal((40, 3))
    rows = np.array([1, 3, 4, 30, 31])
    table = MappedTable(in_file(array), "float64").take(rows)
    twice = table.take(np.array([0, 2, 4]))
    assert (len(table), len(twice)) == (5, 3)
    np.testing.assert_array_equal(table[1:3].numpy(), array[[3, 4]])
    np.testing.assert_array_equal(table[torch.tensor([4, 0])].numpy(), array[[31, 1]])
    np.testing.assert_array_equal(twice.to("cpu").numpy(), array[[1, 4, 31]])


def resident(path):
    """Return how many bytes of a mapped file count as memory of this process."""
    lines = Path("/proc/self/smaps").read_text().splitlines()
    begins = [i for i, line in enumerate(lines) if line.endswith(str(path))]
    sizes = [line for i in begins for line in lines[i : i + 8] if line[:4] == "Rss:"]
    assert len(sizes) == len(begins) > 0
    return 1024 * sum(int(line.split()[1]) for line in sizes)


@pytest.mark.parametrize("mode", ["r", "r+"])
def test_what_was_read_is_no_memory_of_the_process(in_file, mode):
    mapped = in_file(np.ones((1 << 18, 4), np.float32), mode)
    assert mapped.sum() > 0
    assert resident(mapped.filename) == mapped.nbytes
    table = MappedTable(mapped, "float32")
    assert len(table[:100]) == 100
    assert resident(mapped.filename) == 0


@pytest.mark.parametrize("mode", ["r+", "c"])
def test_what_the_caller_wrote_is_not_lost(in_file, mode):
    mapped = in_file(np.zeros((40, 3), np.float32), mode)
    mapped[5] = 7.0
    table = MappedTable(mapped, "float32")
    assert [table[:][5].tolist() for _ in range(2)] == [[7.0] * 3] * 2
    assert mapped[5].tolist() == [7.0] * 3


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_refused_in_scikit_learns_words(rng, in_file, bad):
    array = rng.standard_normal((40, 3))
    MappedTable(in_file(array), "float64").check_finite("Net")
    array[39, 1] = bad
    with pytest.raises(ValueError, match="Input X contains") as theirs:
        check_array(array, estimator="Net", input_name="X")
    with pytest.raises(ValueError, match="Input X contains") as ours:
        MappedTable(in_file(array), "float64").check_finite("Net")
    assert str(ours.value) == str(theirs.value)


def test_what_is_too_large_for_the_precision_is_refused(in_file):
    array = np.full((40, 3), 1e300)
    MappedTable(in_file(array), "float64").check_finite("Net")
    with pytest.raises(ValueError, match="Input X contains infinity"):
        MappedTable(in_file(array), "float32").check_finite("Net")


def test_mapped_is_what_lies_in_a_file(in_file):
    mapped = in_file(np.ones((40, 3), np.float32))
    for view in (mapped, mapped[3:], np.asarray(mapped)[::2], mapped.T, mapped[:, 1]):
        assert is_mapped(view)
    for copy in (mapped[[1, 2]], mapped.copy(), mapped + 1, np.array(mapped), [1], 2):
        assert not is_mapped(copy)


def test_small_files_are_read_into_memory(in_file, monkeypatch):
    mapped = in_file(np.ones((40, 3), np.float32))
    monkeypatch.setattr(_mapped, "_LOADED_BYTES", 40 * 3 * 4)
    assert not stays_in_file(mapped, "float32")
    assert stays_in_file(mapped, "float64")
    assert not stays_in_file(np.array(mapped), "float64")
