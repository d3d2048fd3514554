import math

import numpy as np
import pytest
import torch

from sknorm.nn.embeddings import PiecewiseLinear


def shares(column, x, **kwargs):
    """Return the encoding of one column's numbers as lists."""
    sample = torch.tensor(column, dtype=torch.float32)[:, None]
    embedding = PiecewiseLinear(d_embedding=None, **kwargs)
    return embedding.build(1, sample=sample)(torch.tensor(x)[:, None]).tolist()


def test_number_in_the_third_of_five_bins():
    edges = [0.0, 1.0, 2.0, 4.0, 8.0, 16.0]
    assert shares(edges, [2.5], n_bins=5) == [[1, 1, 0.25, 0, 0]]


def test_shares_stay_as_they_are_beyond_the_ends():
    assert shares([0.0, 1.0, 2.0], [-7.0, 0.0, 2.0, 99.0]) == (
        [[0, 0], [0, 0], [1, 1], [1, 1]]
    )


def test_edges_are_quantiles_if_there_are_more_values_than_edges():
    # 0, 1, ..., 100 in four bins: edges at 0, 25, 50, 75, 100.
    values = [float(i) for i in range(101)]
    assert shares(values, [30.0], n_bins=4) == [[1, pytest.approx(0.2), 0, 0]]


def test_a_value_that_fills_a_bin_is_an_edge_and_takes_no_other():
    # Seven of ten values are 0; the bins that are left split 1, 2, ..., 31 in three.
    values = [0.0] * 70 + [float(i) for i in range(1, 32)]
    encoded = shares(values, [0.0, 0.5, 1.0, 11.0, 21.0, 31.0], n_bins=4)
    expected = [[0] * 4, [0.5, 0, 0, 0]] + [
        [1] * k + [0] * (4 - k) for k in (1, 2, 3, 4)
    ]
    np.testing.assert_allclose(encoded, expected, atol=1e-6)


def test_values_that_fill_what_the_heavier_ones_leave():
    # 0 takes a bin; then 5 has more rows than each of the three others should hold.
    values = [0.0] * 80 + [5.0] * 10 + [float(i) for i in (1, 2, 3, 4, 6, 7, 8, 9)]
    encoded = shares(values, [5.0, 9.0], n_bins=4)
    # Edges 0, 1, 5, 5, 9: the middle of the rest lies where 5 is, and is one with it.
    np.testing.assert_allclose(encoded, [[1, 1, 0], [1, 1, 1]], atol=1e-6)


def test_no_more_bins_than_asked_for(rng):
    for _ in range(20):
        column = rng.poisson(rng.exponential(30.0), size=500).astype(float)
        column[rng.random(500) < rng.random()] = 7.0
        layer = PiecewiseLinear(n_bins=9, d_embedding=None).build(
            1, sample=torch.from_numpy(column)[:, None]
        )
        assert layer.shares.n_bins <= 9


@pytest.mark.parametrize("kind", ["quantile", "tree"])
def test_columns_of_one_and_two_values(kind, generator):
    sample = torch.tensor([[5.0, 0.0, 0.1], [5.0, 1.0, 0.2], [5.0, 0.0, 0.3]])
    target = torch.tensor([0.0, 1.0, 0.0])
    plain = PiecewiseLinear(bins=kind, d_embedding=None, n_bins=4)
    encoded = plain.build(3, sample=sample, target=target)(sample)
    # The constant has a share of 0 and the binary one of its own value.
    assert encoded[:, 0].tolist() == [0, 0, 0]
    assert encoded[:, 1].tolist() == [0, 1, 0]
    layer = PiecewiseLinear(bins=kind, d_embedding=4).build(
        3, sample=sample, target=target, generator=generator
    )
    layer(sample).sum().backward()
    bends = layer.by_feature.weight.grad
    assert not bends[0].any()
    assert bends[1, 0].any()


def test_missing_bins_are_filled_up_without_effect(generator):
    sample = torch.tensor([[float(i), float(i % 2)] for i in range(9)])
    layer = PiecewiseLinear(n_bins=8, identity=False).build(2, sample=sample)
    before = layer(sample)
    layer.by_feature[1].weight.data[1, 1:].fill_(1e9)
    assert torch.equal(layer(sample), before)


def test_a_row_alone_is_a_sample():
    layer = PiecewiseLinear().build(2, sample=torch.ones(1, 2))
    assert layer(torch.zeros(3, 2)).isfinite().all()


def test_sample_of_what_is_no_number():
    sample = torch.tensor([[math.nan, 0.0], [math.nan, 1.0], [math.nan, math.inf]])
    encoded = PiecewiseLinear(d_embedding=None).build(2, sample=sample)
    assert encoded(torch.tensor([[3.0, 0.5]])).tolist() == [[0, 0.5]]


def test_numbers_that_one_precision_tells_apart_and_another_does_not():
    sample = torch.tensor([[1.0], [1.0 + 1e-12], [2.0]], dtype=torch.float64)
    embedding = PiecewiseLinear(d_embedding=None)
    narrow = embedding.build(1, sample=sample, dtype=torch.float32)
    wide = embedding.build(1, sample=sample, dtype=torch.float64)
    assert (narrow.out_features, wide.out_features) == (1, 2)
    assert wide(sample)[1].tolist() == [1, 0]


def test_bins_so_narrow_that_their_inverse_is_infinite():
    sample = torch.tensor([[0.0], [1e-44], [1.0]])
    layer = PiecewiseLinear(d_embedding=None).build(1, sample=sample)
    assert layer(torch.tensor([[0.0], [1.0]])).tolist() == [[0, 0], [1, 1]]


def test_bins_keep_their_digits_far_from_zero():
    # A step of one unit in the last place of 1e6 is told from its neighbours.
    step = 0.0625
    sample = torch.tensor([[1e6], [1e6 + step], [1e6 + 2 * step]])
    layer = PiecewiseLinear(d_embedding=None).build(1, sample=sample)
    assert layer(sample).tolist() == [[0, 0], [1, 0], [1, 1]]


def test_tree_puts_edges_where_the_target_jumps():
    x = torch.linspace(0, 1, 401)[:, None]
    embedding = PiecewiseLinear(n_bins=3, d_embedding=None, bins="tree")
    jumps = (x[:, 0] > 0.3).float() + 2 * (x[:, 0] > 0.7).float()
    layer = embedding.build(1, sample=x, target=jumps)
    # Splits lie half way between neighbours, 0.00125 beyond the jump.
    left = layer.shares.left.ravel().tolist()
    assert left == pytest.approx([0, 0.30125, 0.70125], abs=2e-3)


def test_tree_takes_integers_for_classes():
    # As numbers 100 stands out and is split off first; as classes 0 is, the largest.
    x = torch.linspace(0, 1, 301)[:, None]
    labels = 1 * (x[:, 0] > 0.5) + 99 * (x[:, 0] > 0.75)
    pair = torch.stack([labels, labels], dim=1)
    embedding = PiecewiseLinear(n_bins=2, d_embedding=None, bins="tree")
    for target, edge in [
        (labels, 0.5),
        (pair, 0.5),
        (labels.double(), 0.75),
        (pair.float(), 0.75),
    ]:
        layer = embedding.build(1, sample=x, target=target)
        assert layer.shares.left[0, 1].item() == pytest.approx(edge, abs=4e-3)


def test_tree_of_a_single_bin_spans_the_column():
    embedding = PiecewiseLinear(n_bins=1, d_embedding=None, bins="tree")
    x = torch.tensor([[0.0], [4.0]])
    layer = embedding.build(1, sample=x, target=torch.zeros(2))
    assert layer(torch.tensor([[1.0]])).tolist() == [[0.25]]


def test_piecewise_linear_starts_as_a_line_and_bends():
    sample = torch.tensor([[0.0], [1.0], [3.0]])
    layer = PiecewiseLinear(d_embedding=1).build(1, sample=sample)
    bent = layer.by_feature
    with torch.no_grad():
        bent.line.weight.fill_(2.0)
        bent.line.bias.fill_(1.0)
    x = torch.tensor([[0.5], [2.0], [5.0]])
    assert layer(x).ravel().tolist() == [2, 5, 11]
    bent.weight.data.copy_(torch.tensor([[[10.0], [100.0]]]))
    # Half of the first bin; the first and half of the second; both.
    assert layer(x).ravel().tolist() == [7, 65, 121]


def test_without_identity_shares_go_through_a_linear_layer(generator):
    sample = torch.randn(50, 2, generator=generator)
    layer = PiecewiseLinear(4, 3, identity=False, activation=True).build(
        2, sample=sample, generator=generator
    )
    parts, linear = layer.by_feature
    x = torch.randn(5, 2, generator=generator)
    expected = torch.einsum("bfn,fnd->bfd", parts(x), linear.weight) + linear.bias
    torch.testing.assert_close(layer(x), expected.relu().flatten(1))


def test_quantile_edges_are_numpys(rng):
    values = rng.standard_normal(1000)
    layer = PiecewiseLinear(n_bins=7, d_embedding=None).build(
        1, sample=torch.from_numpy(values)[:, None], dtype=torch.float64
    )
    expected = np.quantile(values, np.arange(7) / 7)
    np.testing.assert_allclose(layer.shares.left[0].numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PiecewiseLinear(n_bins=0), "'n_bins' parameter of PiecewiseLinear"),
        (lambda: PiecewiseLinear(bins="kmeans"), "'quantile' or 'tree'. Got 'kmeans'"),
        (lambda: PiecewiseLinear(identity=1), "'identity' parameter of PiecewiseLin"),
    ],
)
def test_bad_parameters_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("sample", [None, torch.zeros(3, 4), torch.zeros(3)])
def test_bins_need_a_sample(sample):
    with pytest.raises(ValueError, match=r"bins in a sample .* \(n_rows, 2\). Got"):
        PiecewiseLinear().build(2, sample=sample)


@pytest.mark.parametrize("target", [None, torch.zeros(2), torch.zeros(3, 1, 1)])
def test_trees_need_a_target(target):
    with pytest.raises(ValueError, match=r"each of the 3 rows of the sample\. Got"):
        PiecewiseLinear(bins="tree").build(2, sample=torch.zeros(3, 2), target=target)
