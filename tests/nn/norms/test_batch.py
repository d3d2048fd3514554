import copy
import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from sknorm.nn.norms import NORMS, BatchRenorm, GhostBatchNorm

EPS = 1e-5
BATCH_NORMS = ["batch", "ghost_batch", "batch_renorm"]
PARITY = {
    "batch": (NORMS["batch"].build(12), nn.BatchNorm1d(12)),
    "ghost, whole": (GhostBatchNorm(12, virtual_batch_size=9), nn.BatchNorm1d(12)),
    "ghost, part": (GhostBatchNorm(12, virtual_batch_size=99), nn.BatchNorm1d(12)),
    "renorm, no room": (
        BatchRenorm(12, r_max=1, d_max=0, warm_up=0),
        nn.BatchNorm1d(12),
    ),
    "renorm, warming up": (BatchRenorm(12), nn.BatchNorm1d(12)),
    "renorm, average": (
        BatchRenorm(12, momentum=None),
        nn.BatchNorm1d(12, momentum=None),
    ),
    "renorm, bare": (BatchRenorm(12, affine=False), nn.BatchNorm1d(12, affine=False)),
}


def running(module):
    return module.running_mean, module.running_var


@pytest.mark.parametrize("name", BATCH_NORMS)
def test_evaluation_uses_running_statistics_of_unbiased_variance(
    name, draw, with_gamma_and_beta
):
    norm = NORMS[name].build(2).double()
    gamma, beta = with_gamma_and_beta(norm)
    norm(torch.tensor([[1.0, 2.0], [3.0, 6.0]], dtype=torch.float64))
    # A tenth of the batch's mean (2, 4) and unbiased variance (2, 8).
    mean = torch.tensor([0.2, 0.4], dtype=torch.float64)
    var = torch.tensor([0.9 + 0.2, 0.9 + 0.8], dtype=torch.float64)
    assert_close(running(norm), (mean, var))
    x = draw(3, 2)
    expected = gamma * (x - mean) / (var + EPS).sqrt() + beta
    assert_close(norm.eval()(x).detach(), expected)
    assert_close(running(norm), (mean, var))


@pytest.mark.parametrize("case", PARITY)
def test_same_values_and_gradients_as_torch(case, assert_as_torch):
    assert_as_torch(*map(copy.deepcopy, PARITY[case]))


@pytest.mark.parametrize("name", BATCH_NORMS)
def test_batch_norms_bring_every_feature_to_mean_0_and_variance_1(name, draw):
    x = 5 + draw(30, 4) * torch.tensor([0.1, 1.0, 10.0, 1e3], dtype=torch.float64)
    y = NORMS[name].build(4).double()(x)
    variance = x.var(dim=0, correction=0)
    assert_close(y.mean(dim=0), torch.zeros(4).double(), rtol=0, atol=1e-12)
    assert_close(y.var(dim=0, correction=0), variance / (variance + EPS))


@pytest.mark.parametrize("name", BATCH_NORMS)
def test_train_and_evaluation_differ_by_the_unbiased_variance_alone(name, draw):
    norm, x = NORMS[name].build(4).double(), 2 + draw(20, 4)
    norm.momentum = 1.0  # the running statistics are those of the one batch
    y = norm(x)
    variance = x.var(dim=0, correction=0)
    shrink = ((variance + EPS) / (variance * 20 / 19 + EPS)).sqrt()
    assert_close(norm.eval()(x), y * shrink)


@pytest.mark.parametrize("name", BATCH_NORMS)
def test_batch_norms_refuse_one_row_in_training_and_take_it_at_evaluation(name):
    norm, x = NORMS[name].build(3), torch.ones(1, 3)
    with pytest.raises(ValueError, match=r"xpected more than 1 .*\(?\[?1, 3"):
        norm(x)
    assert norm.eval()(x).shape == (1, 3)


@pytest.mark.parametrize("cls", [GhostBatchNorm, BatchRenorm])
def test_batch_norms_of_our_own_work_without_gamma_and_beta(cls, draw):
    module = cls(3, affine=False)
    assert list(module.parameters()) == []
    assert module(draw(9, 3, dtype=torch.float32)).isfinite().all()


# -- ghost_batch -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n_rows", "size", "parts"),
    [
        (3, 4, [3]),
        (8, 4, [4, 4]),
        (5, 4, [5]),  # a tail of one joins
        (6, 4, [4, 2]),  # half a virtual batch stands alone
        (9, 4, [4, 5]),
        (10, 4, [4, 4, 2]),
        (4, 3, [4]),
        (5, 3, [3, 2]),
        (7, 3, [3, 4]),
        (5, 2, [2, 3]),  # half a virtual batch is one row: too few
        (2, 2, [2]),
        (49, 32, [32, 17]),
        (47, 32, [47]),
    ],
)
@pytest.mark.parametrize("momentum", [0.1, None])
def test_ghost_batch_is_batch_norm_part_by_part(n_rows, size, parts, momentum, draw):
    ghost = GhostBatchNorm(3, virtual_batch_size=size, momentum=momentum).double()
    batch = nn.BatchNorm1d(3, momentum=momentum).double()
    x = draw(n_rows, 3)
    expected = torch.cat([batch(part) for part in torch.split(x, parts)])
    assert torch.equal(ghost(x), expected)
    assert_close(dict(ghost.state_dict()), dict(batch.state_dict()), rtol=0, atol=0)
    assert torch.equal(ghost.eval()(x), batch.eval()(x))


@pytest.mark.parametrize("size", [1, 0, -3])
def test_ghost_batch_needs_a_variance_in_every_part(size):
    with pytest.raises(
        ValueError, match=rf"'virtual_batch_size' .* at least 2.*{size}"
    ):
        GhostBatchNorm(3, virtual_batch_size=size)


# -- batch_renorm ----------------------------------------------------------------------


def renorm_after(count, *, mean, var, **kwargs):
    """Return a BatchRenorm of one feature that has seen ``count`` batches."""
    norm = BatchRenorm(1, **kwargs).double()
    norm.num_batches_tracked.fill_(count)
    norm.running_mean.fill_(mean)
    norm.running_var.fill_(var)
    return norm


PAIR = torch.tensor([[1.0], [3.0]], dtype=torch.float64)  # mean 2, biased variance 1


@pytest.mark.parametrize(
    ("count", "r", "d"),
    [(0, 1, 0), (10, 1, 0), (15, 2, 2.5), (18, 2.6, 4), (20, 3, 5), (10**6, 3, 5)],
)
def test_batch_renorm_gives_its_corrections_room_by_and_by(count, r, d):
    # sigma_B / sigma = 100 and (mu_B - mu) / sigma = 200: both at their limits.
    norm = renorm_after(count, mean=0.0, var=1e-4, warm_up=10, eps=1e-12)
    expected = torch.tensor([[d - r], [d + r]], dtype=torch.float64)
    assert_close(norm(PAIR).detach(), expected, rtol=1e-9, atol=1e-9)
    assert int(norm.num_batches_tracked) == count + 1


def test_batch_renorm_limits_corrections_downward_too():
    norm = renorm_after(1, mean=1000.0, var=100.0, warm_up=0, eps=1e-12)
    expected = torch.tensor([[-5 - 1 / 3], [-5 + 1 / 3]], dtype=torch.float64)
    assert_close(norm(PAIR).detach(), expected, rtol=1e-9, atol=1e-9)


def test_batch_renorm_takes_its_first_batch_plain_even_without_warm_up():
    norm = renorm_after(0, mean=1000.0, var=100.0, warm_up=0, eps=1e-12)
    assert_close(norm(PAIR).detach(), PAIR - 2, rtol=1e-9, atol=1e-9)


def test_batch_renorm_within_its_limits_trains_as_it_evaluates(
    draw, with_gamma_and_beta
):
    x = 1 + 2 * draw(6, 1)
    norm = renorm_after(10**4, mean=0.5, var=2.0)
    with_gamma_and_beta(norm)
    expected = copy.deepcopy(norm).eval()(x)
    assert_close(norm(x), expected)


def test_batch_renorm_takes_corrections_for_constants_in_the_gradient(draw):
    x = (1 + 2 * draw(6, 1)).requires_grad_()
    norm = renorm_after(10**4, mean=0.5, var=2.0, affine=False)
    weights = draw(6, 1, seed=1)
    (norm(x) * weights).sum().backward()
    x_hat = torch.nn.functional.batch_norm(x, None, None, training=True, eps=EPS)
    r = (x.detach().var(correction=0) + EPS).sqrt() / math.sqrt(2.0 + EPS)
    (expected,) = torch.autograd.grad((r * x_hat * weights).sum(), x)
    assert_close(x.grad, expected)


def test_batch_renorm_counts_in_training_only(draw):
    norm = BatchRenorm(3)
    norm(draw(4, 3, dtype=torch.float32))
    norm.eval()(draw(4, 3, dtype=torch.float32))
    assert int(norm.state_dict()["num_batches_tracked"]) == 1


@pytest.mark.parametrize(
    "parameters", [{"r_max": 0.9}, {"d_max": -1.0}, {"warm_up": -1}], ids=str
)
def test_batch_renorm_checks_its_parameters(parameters):
    ((name, value),) = parameters.items()
    with pytest.raises(ValueError, match=rf"r_max >= 1, .*{name}={value!r}"):
        BatchRenorm(3, **parameters)


@pytest.mark.parametrize("shape", [(4,), (4, 2), (4, 1), (4, 3, 5)], ids=str)
def test_batch_renorm_names_the_shape_it_wants(shape):
    with pytest.raises(ValueError, match=r"shape \(n_rows, 3\)\. Got \(4,"):
        BatchRenorm(3)(torch.ones(shape))
