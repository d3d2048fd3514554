"""The loss of a network around the weights it was trained to."""

from __future__ import annotations

import copy

import numpy as np
from scipy.linalg import eigh
from sklearn.exceptions import NotFittedError

from sknorm.inspection._loss_plane import LossSurface, stretched

__all__ = ["network_surface"]

# Weights up to which their Hessian is made whole.
_SMALL_HESSIAN = 40
_EIGENVALUE_TOL = 1e-5
_RANDOM_LABELS = "random direction 1", "random direction 2"
_PRINCIPAL_LABELS = (
    "direction of largest curvature",
    "direction of second largest curvature",
)


def network_surface(estimator, X, y, *, kind, n_points, radius, rng, name=None):
    """Return the loss of a fitted network on rows, around the weights it has.

    The kind of directions is "random" or "principal". What the other parameters mean
    is said where users meet them, in
    :meth:`~sknorm.inspection.LossSurfaceDisplay.from_estimator`.
    """
    from sknorm._device import local_rng

    opened = _open(estimator, X, y)
    module, criterion = opened.network, copy.deepcopy(opened.criterion)
    rows, device = (opened.X, opened.y, opened.weight), opened.X.device
    # A layer of the user's own may draw numbers even in evaluation.
    with local_rng(0, device):
        trained = _mean_loss(module, criterion, rows)
        if not np.isfinite(trained):
            raise ValueError(
                f"The loss of the trained network on these rows is {trained}: there is "
                "no surface around it. Train it anew, or look at X for values that it "
                "wasn't trained on."
            )
        weights = _Weights(module)
        if kind == "random":
            labels, curvatures = _RANDOM_LABELS, None
            directions = weights.random_directions(rng)
        else:
            labels = _PRINCIPAL_LABELS
            curvatures, directions = _principal(module, criterion, rows, rng)
            directions = directions * weights.norm
        along = stretched(radius, radius, n_points)
        loss = _loss_on_plane(module, criterion, rows, weights, directions, along)
    lowest = min(trained, float(np.nanmin(loss)))
    return LossSurface(
        name=name or type(opened.estimator).__name__,
        labels=labels,
        grid=np.array(np.meshgrid(along, along, indexing="ij")),
        excess=loss - lowest,
        lowest=lowest,
        center=np.zeros(2),
        center_loss=trained,
        reach=radius,
        curvatures=curvatures,
        directions=[weights.by_name(direction) for direction in directions],
    )


def _open(estimator, X, y):
    from sknorm.neural_network._opened import open_estimator

    opened = open_estimator(estimator, X, y)
    if not opened.is_fitted:
        raise NotFittedError(
            f"This {type(opened.estimator).__name__} instance is not fitted yet. Call "
            "'fit' first: the loss is drawn around trained weights."
        )
    if len(opened.X) < 2:
        raise ValueError(
            "A loss is drawn of at least two rows that count. Of those in X only one "
            "belongs to a class whose class_weight isn't 0."
        )
    return opened


class _Weights:
    """All trained numbers of a network as one vector."""

    def __init__(self, module):
        from torch.nn.utils import parameters_to_vector

        from sknorm.neural_network._optimizers import _parameter_groups

        self._parameters = {
            name: parameter
            for name, parameter in module.named_parameters()
            if parameter.requires_grad
        }
        groups = _parameter_groups(module)
        # What weight decay acts on are the weights proper.
        self._proper = {
            id(p) for group in groups if group["decay_factor"] for p in group["params"]
        }
        self.vector = parameters_to_vector(self._parameters.values()).detach()
        self.norm = float(
            np.sqrt(
                sum(
                    float(p.detach().cpu().double().square().sum())
                    for p in self._parameters.values()
                    if id(p) in self._proper
                )
            )
        )

    def random_directions(self, rng):
        """Draw two, each row of which is as long as that of the weight it is for."""
        return np.stack([self._random_direction(rng) for _ in range(2)])

    def _random_direction(self, rng):
        parts = []
        for parameter in self._parameters.values():
            part = np.zeros(parameter.shape)
            if id(parameter) in self._proper:
                weight = parameter.detach().cpu().double().numpy()
                part = rng.standard_normal(weight.shape)
                part *= _row_norms(weight) / _row_norms(part)
            parts.append(part.ravel())
        return np.concatenate(parts)

    def by_name(self, vector):
        """Return a vector in parts as the parameters are, by their names."""
        ends = np.cumsum([parameter.numel() for parameter in self._parameters.values()])
        parts = np.split(vector, ends[:-1])
        return {
            name: part.reshape(tuple(parameter.shape))
            for part, (name, parameter) in zip(
                parts, self._parameters.items(), strict=True
            )
        }

    def put(self, vector):
        """Give the network other values."""
        from torch.nn.utils import vector_to_parameters

        vector_to_parameters(vector, self._parameters.values())


def _row_norms(weight):
    return np.linalg.norm(weight, axis=-1, keepdims=True)


def _mean_loss(module, criterion, rows):
    """Return the loss of a network, without keeping what a gradient needs."""
    import torch

    from sknorm.neural_network._net import inference_rows

    X, y, weight = rows
    step, total = inference_rows(module), 0.0
    with torch.no_grad():
        for start in range(0, len(X), step):
            part = slice(start, start + step)
            share = None if weight is None else weight[part]
            loss = criterion(module(X[part]), y[part], share)
            total += float(loss) * len(X[part])
    return total / len(X)


def _loss_on_plane(module, criterion, rows, weights, directions, along):
    """Return the loss on a grid, and leave the copy with the weights it had."""
    import torch

    first, second = (
        torch.from_numpy(direction).to(weights.vector.dtype).to(weights.vector.device)
        for direction in directions
    )
    loss = np.empty((len(along), len(along)))
    with torch.no_grad():
        for i, a in enumerate(along):
            line = weights.vector + float(a) * first
            for j, b in enumerate(along):
                weights.put(line + float(b) * second)
                loss[i, j] = _mean_loss(module, criterion, rows)
        weights.put(weights.vector)
    return loss


def _principal(module, criterion, rows, rng):
    """Return the two eigenvalues of largest size of the Hessian, and eigenvectors."""
    from scipy.sparse.linalg import LinearOperator, eigsh

    product, size = _hessian_product(module, criterion, rows)
    start = rng.standard_normal(size)
    if size < 2 or not product(start).any():
        raise ValueError(
            "The loss has no curvature in two directions at these weights. Use "
            "directions='random'."
        )
    if size <= _SMALL_HESSIAN:
        values, vectors = eigh(np.stack([product(row) for row in np.eye(size)]))
    else:
        hessian = LinearOperator((size, size), matvec=product, dtype=np.float64)
        values, vectors = eigsh(hessian, k=2, which="LM", tol=_EIGENVALUE_TOL, v0=start)
    order = np.argsort(-np.abs(values))[:2]
    return values[order], vectors.T[order]


def _hessian_product(module, criterion, rows):
    """Return what multiplies the Hessian with a vector, and its size.

    In float64 if the device has it: the second eigenvalue may be a millionth of the
    first.
    """
    import torch

    device = next(module.parameters()).device
    if device.type != "mps":
        module = copy.deepcopy(module).double()
        criterion = copy.deepcopy(criterion).double()
        rows = [
            part.double() if part is not None and part.is_floating_point() else part
            for part in rows
        ]
    parameters = [p for p in module.parameters() if p.requires_grad]
    dtype, sizes = parameters[0].dtype, [p.numel() for p in parameters]
    X, y, weight = rows
    with torch.enable_grad():
        loss = criterion(module(X), y, weight)
        slopes = torch.autograd.grad(
            loss, parameters, create_graph=True, materialize_grads=True
        )

    def product(vector):
        parts = torch.from_numpy(np.ravel(vector)).to(dtype).to(device).split(sizes)
        bent = [
            (slope, part.view_as(slope))
            for slope, part in zip(slopes, parts, strict=True)
            if slope.requires_grad
        ]
        if not bent:
            return np.zeros(sum(sizes))
        products = torch.autograd.grad(
            [slope for slope, _ in bent],
            parameters,
            [part for _, part in bent],
            retain_graph=True,
            materialize_grads=True,
        )
        return torch.cat([part.ravel() for part in products]).cpu().double().numpy()

    return product, sum(sizes)
