import math

import pytest
import torch

from sknorm.nn.tabular import TabularInputs


def test_codes_by_hand():
    inputs = TabularInputs(1, [3, 2])
    x = torch.tensor([[0.5, 1, 1], [-1.5, 2, 0], [0.0, 0, 1]])
    assert inputs(x).tolist() == [
        [0.5, 1, 0, 1],
        [-1.5, 0, 1, 0],
        [0, 0, 0, 1],
    ]
    assert inputs.chunks == [1, 2, 1]
    assert inputs.out_features == 4


@pytest.mark.parametrize("code", [0.0, 3.0, -1.0, math.nan, math.inf, 1e9])
@pytest.mark.parametrize("max_one_hot", [16, 1])
def test_what_is_no_code_counts_as_missing(code, max_one_hot):
    inputs = TabularInputs(0, [3, 3], max_one_hot=max_one_hot, d_category=2)
    got = inputs(torch.tensor([[code, 1.0], [0.0, 1.0]]))
    assert torch.equal(got[0], got[1])
    width = inputs.out_features // 2
    assert not got[0, :width].any()
    assert got[0, width:].any()


def test_vectors_are_looked_up_in_the_columns_own_part(generator):
    inputs = TabularInputs(0, [4, 6], max_one_hot=3, d_category=2, generator=generator)
    vectors = inputs.vectors.weight
    assert vectors.shape == (10, 2)
    got = inputs(torch.tensor([[3.0, 5.0], [1.0, 1.0]]))
    assert torch.equal(got[0], torch.cat([vectors[3], vectors[9]]))
    assert torch.equal(got[1], torch.cat([vectors[1], vectors[5]]))
    # The vectors of what is missing start at zero and are learned as the others.
    assert not vectors[[0, 4]].any()
    inputs(torch.zeros(1, 2)).sum().backward()
    assert inputs.vectors.weight.grad[[0, 4]].all()


def test_one_hot_up_to_sixteen_codes_and_vectors_of_eight_beyond():
    inputs = TabularInputs(2, [16, 17])
    assert inputs.chunks == [1, 1, 15, 8]
    assert inputs(torch.zeros(1, 4)).shape == (1, 25)


def test_ten_thousand_categories():
    inputs = TabularInputs(0, [10_001])
    x = torch.arange(10_001.0)[:, None]
    assert torch.equal(inputs(x), inputs.vectors.weight)


def test_column_of_missing_values_alone_is_a_column_of_zeros():
    inputs = TabularInputs(0, [1])
    assert inputs(torch.tensor([[0.0], [1.0 / 3], [5.0]])).tolist() == [[0]] * 3


@pytest.mark.parametrize("max_one_hot", [16, 1])
@pytest.mark.parametrize("embedding", ["none", "linear"])
def test_mean_square_is_what_a_standardized_table_has(max_one_hot, embedding, table):
    inputs = TabularInputs(
        3,
        [3, 5],
        embedding=embedding,
        max_one_hot=max_one_hot,
        generator=torch.Generator().manual_seed(0),
    )
    rows = table(50_000, 3, [3, 5])
    seen = rows[(rows[:, 3] > 0) & (rows[:, 4] > 0)]
    expected = float(inputs(seen).detach().square().mean())
    # 1024 rows of three squares of variance 2 are off by some 5 % at most.
    assert inputs.mean_square() == pytest.approx(expected, rel=0.1)


def test_sample_rows_are_a_table_of_the_networks_columns(generator):
    rows = TabularInputs(2, [3], dtype=torch.float64).sample_rows(generator)
    assert rows.shape == (1024, 3)
    assert rows.dtype == torch.float64
    assert set(rows[:, 2].tolist()) == {0, 1, 2}


def test_wrong_number_of_columns_is_said(network):
    message = r"expected 4 numeric columns and 3 of category codes. .*\(2, 6\)"
    with pytest.raises(ValueError, match=message):
        network()(torch.zeros(2, 6))
