"""The networks made from the three tables."""

import copy
import functools
import pickle

import pytest
import torch
from torch import nn

from sknorm.nn.initializers import LSUV, Normal
from sknorm.nn.mlp import MLP, check_hidden_layer_sizes
from sknorm.nn.norms import NORMS


def parts(mlp):
    return [type(part).__name__ for part in mlp]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"hidden_layer_sizes": ()}, ["Linear"]),
        ({"hidden_layer_sizes": (4,)}, ["Linear", "ReLU", "Linear"]),
        (
            {"hidden_layer_sizes": (4,), "norm": "batch"},
            ["Linear", "BatchNorm1d", "ReLU", "Linear"],
        ),
        (
            {"hidden_layer_sizes": (4,), "norm": "batch", "norm_position": "after"},
            ["Linear", "ReLU", "BatchNorm1d", "Linear"],
        ),
        (
            {"hidden_layer_sizes": (4,), "norm": "layer", "dropout": 0.1},
            ["Linear", "LayerNorm", "ReLU", "Dropout", "Linear"],
        ),
        (
            {"hidden_layer_sizes": (4,), "activation": "selu", "dropout": 0.1},
            ["Linear", "SELU", "AlphaDropout", "Linear"],
        ),
        (
            {"hidden_layer_sizes": (4, 4), "norm": "weight"},
            ["WeightNormLinear", "ReLU", "WeightNormLinear", "ReLU", "Linear"],
        ),
        (
            {"hidden_layer_sizes": (4,), "norm": "spectral"},
            ["SpectralNormLinear", "ReLU", "Linear"],
        ),
        ({"hidden_layer_sizes": 4}, ["Linear", "ReLU", "Linear"]),
    ],
)
def test_layers_are_those_one_would_write_by_hand(arguments, expected):
    assert parts(MLP(3, 2, **arguments)) == expected


def test_reference_network_has_the_same_layers_shapes_and_logits(generator):
    reference = nn.Sequential(
        nn.Linear(784, 256),
        nn.BatchNorm1d(256),
        nn.ReLU(),
        nn.Linear(256, 128),
        nn.BatchNorm1d(128),
        nn.ReLU(),
        nn.Linear(128, 10),
    )
    mlp = MLP(
        784,
        10,
        hidden_layer_sizes=(256, 128),
        activation="relu",
        norm="batch",
        init="kaiming_normal",
        generator=generator,
    )
    assert [type(part) for part in mlp] == [type(part) for part in reference]
    shapes = {name: value.shape for name, value in mlp.state_dict().items()}
    assert shapes == {n: v.shape for n, v in reference.state_dict().items()}

    mlp.load_state_dict(reference.state_dict())
    x = torch.randn(64, 784, generator=generator)
    assert torch.equal(mlp(x), reference(x))
    mlp.eval()
    reference.eval()
    assert torch.equal(mlp(x), reference(x))


def test_kaiming_reaches_every_layer_of_the_reference_network(generator):
    mlp = MLP(784, 10, hidden_layer_sizes=(256, 128), init="kaiming_normal")
    for linear in mlp.linears:
        n = linear.weight.numel()
        expected = (2 / linear.in_features) ** 0.5
        # The standard deviation of n normal draws is off by 1 / sqrt(2 n); five of it.
        assert float(linear.weight.detach().std()) == pytest.approx(
            expected, rel=5 / (2 * n) ** 0.5
        )
        assert not linear.bias.any()


def test_same_generator_same_weights_and_no_global_draw():
    before = torch.get_rng_state()
    one, two = (
        MLP(5, 2, norm="batch", generator=torch.Generator().manual_seed(3))
        for _ in range(2)
    )
    assert torch.equal(torch.get_rng_state(), before)
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("activation", ["relu", "tanh", "selu", "gelu"])
def test_auto_starts_every_preactivation_near_unit_variance(activation, generator):
    width = 512
    mlp = MLP(
        width,
        width,
        hidden_layer_sizes=(width,) * 4,
        activation=activation,
        generator=generator,
    )
    signal = torch.randn(2000, width, generator=generator)
    for part in mlp:
        signal = part(signal)
        if isinstance(part, nn.Linear):
            # Widths of 512 leave some 5 / 512 of variance a layer, and deviations of
            # GELU's grow by 1.14: three of its standard deviations after five layers.
            assert 0.6 < float(signal.detach().var()) < 1.6


@pytest.mark.parametrize("norm", ["none", "batch", "layer", "rms", "weight"])
@pytest.mark.parametrize("position", ["before", "after"])
def test_auto_lets_the_first_units_bend_all_over_the_data(norm, position, generator):
    sizes = (512, 512)
    mlp = MLP(
        64,
        1,
        hidden_layer_sizes=sizes,
        norm=norm,
        norm_position=position,
        generator=generator,
    )
    X = torch.randn(2048, 64, generator=generator)
    z = mlp[: next(i for i, part in enumerate(mlp) if isinstance(part, nn.ReLU))](X)
    # Half of the variance is between units, and half of each one's own over the rows:
    # 512 draws make it within 5 sigma of 0.5, which is 5 * 0.5 * sqrt(2 / 512) = 0.16.
    assert z.mean(dim=0).var().item() == pytest.approx(0.5, abs=0.16)
    assert z.var(dim=0).mean().item() == pytest.approx(0.5, abs=0.1)
    assert z.mean().item() == pytest.approx(0, abs=5 * (0.5 / 512) ** 0.5)
    # Later layers have the textbook's zeros and ones.
    second, beta = mlp.linears[1].bias, getattr(mlp[-3], "bias", None)
    assert not second.any()
    if norm in {"batch", "layer"} and position == "before":
        assert not beta.any()
        assert (mlp[-3].weight == 1).all()


@pytest.mark.parametrize(
    "arguments",
    [{"init": "kaiming_normal"}, {"init": "zeros"}, {"bias_init": "zeros"}],
    ids=str,
)
def test_a_named_scheme_leaves_biases_and_norms_at_the_textbooks_values(arguments):
    mlp = MLP(8, 2, hidden_layer_sizes=(16,), norm="batch", **arguments)
    assert not mlp[0].bias.any()
    assert not mlp[1].bias.any()
    assert (mlp[1].weight == 1).all()


def test_a_slice_shares_its_layers():
    mlp = MLP(8, 2, hidden_layer_sizes=(16,), norm="batch")
    front = mlp[:2]
    assert parts(front) == ["Linear", "BatchNorm1d"]
    assert front[0] is mlp[0]
    assert mlp[-1] is mlp.linears[-1]


def test_auto_leaves_the_bias_of_a_linear_model_at_zero():
    assert not MLP(8, 2, hidden_layer_sizes=()).linears[0].bias.any()


def test_layer_behind_a_norm_takes_gain_one(generator):
    mlp = MLP(
        400,
        400,
        hidden_layer_sizes=(400,),
        norm="layer",
        norm_position="after",
        generator=generator,
    )
    assert float(mlp.linears[-1].weight.detach().std()) == pytest.approx(
        400**-0.5, rel=0.02
    )


@pytest.mark.parametrize("norm", ["none", "batch", "layer", "weight"])
def test_lsuv_brings_variances_to_one_on_the_sample(norm, generator):
    sample = 3 + 10 * torch.randn(300, 20, generator=generator)
    mlp = MLP(
        20,
        3,
        hidden_layer_sizes=(30, 30),
        activation="tanh",
        norm=norm,
        init=LSUV(tol=0.05),
        dropout=0.3,
        generator=generator,
        sample=sample,
    )
    signal = sample
    for part in mlp:
        part.train(norm == "batch" and isinstance(part, nn.BatchNorm1d))
        signal = part(signal)
        if isinstance(part, nn.Linear):
            assert float(signal.detach().var()) == pytest.approx(1, abs=0.06)


def test_lsuv_without_a_sample_takes_standard_normal_rows(generator):
    mlp = MLP(8, 2, hidden_layer_sizes=(16,), init="lsuv", generator=generator)
    rows = torch.randn(4000, 8, generator=generator)
    # 0.1 is LSUV's tolerance; 1024 rows of its own leave some 5 % more.
    assert float(mlp[0](rows).detach().var()) == pytest.approx(1, abs=0.15)


def test_looking_at_the_sample_leaves_running_statistics_alone(generator):
    mlp = MLP(4, 2, hidden_layer_sizes=(4,), norm="batch", init="lsuv")
    assert not mlp[1].running_mean.any()
    assert int(mlp[1].num_batches_tracked) == 0


def test_users_own_parts_work_clone_and_pickle(generator):
    mlp = MLP(
        6,
        2,
        hidden_layer_sizes=(8,),
        activation=functools.partial(nn.LeakyReLU, 0.2),
        norm=functools.partial(nn.GroupNorm, 4),
        init=nn.init.xavier_uniform_,
        bias_init=Normal(0, 0.1),
        generator=generator,
    )
    assert mlp[2].negative_slope == 0.2
    assert mlp[1].num_groups == 4
    assert mlp[0].bias.any()
    x = torch.randn(5, 6, generator=generator)
    for twin in (copy.deepcopy(mlp), pickle.loads(pickle.dumps(mlp))):
        assert torch.equal(twin(x), mlp(x))


def test_module_given_as_activation_is_copied_for_each_layer():
    shared = nn.PReLU()
    mlp = MLP(3, 1, hidden_layer_sizes=(4, 4), activation=shared)
    activations = [part for part in mlp if isinstance(part, nn.PReLU)]
    assert len({id(part) for part in [shared, *activations]}) == 3


def test_activation_that_is_not_elementwise_needs_a_scheme_without_its_gain():
    softmax = functools.partial(nn.Softmax, dim=1)
    MLP(3, 1, hidden_layer_sizes=(4,), activation=softmax, init="xavier_normal")
    with pytest.raises(ValueError, match="not elementwise"):
        MLP(3, 1, hidden_layer_sizes=(4,), activation=softmax, init="kaiming_normal")


@pytest.mark.parametrize("norm", list(NORMS))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_parameter_has_the_dtype_asked_for(norm, dtype):
    mlp = MLP(3, 2, hidden_layer_sizes=(8,), norm=norm, dtype=dtype)
    assert {p.dtype for p in mlp.parameters()} == {dtype}


@pytest.mark.parametrize("bad", [(0,), (-1, 3), (2.5,), ("a",), True, (8, True)])
def test_hidden_layer_sizes_are_checked(bad):
    with pytest.raises(ValueError, match="'hidden_layer_sizes' parameter of X must"):
        check_hidden_layer_sizes(bad, owner="X")


def test_norm_position_is_checked():
    with pytest.raises(ValueError, match=r"'before' or 'after'.*Got 'front'"):
        MLP(3, 2, norm_position="front")


def test_bias_init_that_needs_fans_is_refused():
    with pytest.raises(ValueError, match="'bias_init' parameter of MLP must be"):
        MLP(3, 2, bias_init="xavier_normal")


def test_too_narrow_for_the_norm_is_said():
    with pytest.raises(ValueError, match=r"norm='layer'.*at least 2"):
        MLP(3, 2, hidden_layer_sizes=(1,), norm="layer")
