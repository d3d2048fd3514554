"""The gradient of a batch: products in bfloat16, and recorded, where that is wanted."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from sknorm.neural_network._losses import Loss

__all__ = ["CapturedGradient", "CudaRecorder", "Gradient", "Recorder", "check_amp"]

# Where torch multiplies matrices in bfloat16 if it is asked to.
_AMP_DEVICES = {"cpu", "cuda"}

# Batches that are computed as they come before one is recorded: libraries choose their
# kernels and allocate what they work in when they first meet a shape.
_WARM_UP = 3

# A process can't record two graphs at once; threads may each be training a network.
_ONE_AT_A_TIME = threading.Lock()


def check_amp(device: torch.device, dtype: str) -> None:
    """Raise a ValueError if there is no mixed precision on the device or for a dtype.

    Parameters
    ----------
    device : torch.device
        Where the network is trained.
    dtype : str
        Its precision.
    """
    if dtype != "float32":
        raise ValueError(
            "amp=True multiplies matrices in bfloat16 and keeps all else in float32. "
            f"Set dtype='float32' or amp=False. Got dtype={dtype!r}."
        )
    if device.type not in _AMP_DEVICES:
        raise ValueError(
            f"amp=True needs a device of the type 'cuda' or 'cpu'. Got {str(device)!r}."
        )


class Gradient:
    """Computes the loss of a batch, and its gradient, which parameters then hold.

    Parameters
    ----------
    module : nn.Module
        The network.
    criterion : Loss
        What is minimised.
    clip_grad_norm : float, default=None
        Largest norm of the gradient over all parameters; None leaves it alone.
    amp : bool, default=False
        Whether the network multiplies matrices in bfloat16. It has the range of
        float32, so that losses needn't be scaled; they are computed in float32.
    on_backward : callable, default=None
        Called with inputs and targets when there are gradients, before they are
        clipped.
    """

    def __init__(
        self,
        module: nn.Module,
        criterion: Loss,
        *,
        clip_grad_norm: float | None = None,
        amp: bool = False,
        on_backward: Callable[[Tensor, Tensor], None] | None = None,
    ) -> None:
        self.module = module
        self.criterion = criterion
        self.clip_grad_norm = clip_grad_norm
        self.amp = amp
        self.on_backward = on_backward
        # Asked for once: finding them takes a walk through the module.
        self.parameters = list(module.parameters())

    def __call__(
        self, X: Tensor, y: Tensor, weight: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return loss and output. Gradients take the place of those before."""
        loss, output = self._backward(X, y, weight)
        if self.on_backward is not None:
            self.on_backward(X, y)
        if self.clip_grad_norm is not None:
            nn.utils.clip_grad_norm_(self.parameters, self.clip_grad_norm)
        return loss, output

    def _backward(
        self, X: Tensor, y: Tensor, weight: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        for parameter in self.parameters:
            parameter.grad = None
        output = self._output(X)
        loss = self.criterion(output, y, weight)
        loss.backward()
        return loss.detach(), output.detach()

    def _output(self, X: Tensor) -> Tensor:
        if not self.amp:
            return self.module(X)
        with torch.autocast(X.device.type, torch.bfloat16):
            output = self.module(X)
        return output.to(X.dtype)


class Recorder(Protocol):
    """What can record work on a device and do it again on the same memory."""

    def warm_up(self, work: Callable[[], Any]) -> Any:
        """Do the work as it will be recorded, and return its result."""

    def record(self, work: Callable[[], Any]) -> tuple[Callable[[], Any], Any]:
        """Return what does the work again, and where its result will be."""


class CudaRecorder:
    """Records CUDA graphs, on a stream of its own.

    Parameters
    ----------
    device : torch.device
        A CUDA device.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._stream = torch.cuda.Stream(device)

    def warm_up(self, work: Callable[[], Any]) -> Any:
        """Do the work on the stream that is recorded."""
        here = torch.cuda.current_stream(self.device)
        self._stream.wait_stream(here)
        with torch.cuda.stream(self._stream):
            result = work()
        here.wait_stream(self._stream)
        return result

    def record(self, work: Callable[[], Any]) -> tuple[Callable[[], Any], Any]:
        """Record the work without doing it."""
        graph = torch.cuda.CUDAGraph()
        # Of this thread alone: others may allocate, to train networks of their own.
        recording = torch.cuda.graph(
            graph, stream=self._stream, capture_error_mode="thread_local"
        )
        with _ONE_AT_A_TIME, torch.cuda.device(self.device), recording:
            result = work()
        return graph.replay, result


class CapturedGradient:
    """A gradient that is recorded once and played back for batches of one size.

    Parameters
    ----------
    gradient : Gradient
        What is recorded. Nothing in it may look at a value: the device has none yet.
    n_rows : int
        Rows of the batches that are played back. Others are computed as they come.
    recorder : Recorder
        What records.

    Notes
    -----
    What is played back works on the memory that it was recorded with: batches are
    copied into it, and gradients, the loss and the output are found in it. A layer that
    puts a new tensor in the place of a buffer has it copied into the old one.
    """

    def __init__(self, gradient: Gradient, n_rows: int, recorder: Recorder) -> None:
        self.gradient = gradient
        self.n_rows = n_rows
        self.recorder = recorder
        self._buffers = [
            (vars(part)["_buffers"], name, buffer)
            for part in gradient.module.modules()
            for name, buffer in part.named_buffers(recurse=False)
        ]
        self._n_seen = 0
        self._replay: Callable[[], Any] | None = None

    def __call__(
        self, X: Tensor, y: Tensor, weight: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return loss and output. The next call overwrites the output."""
        batch = (X, y, weight)
        if len(X) != self.n_rows:
            return self._compute(batch)
        if self._n_seen < _WARM_UP:
            self._n_seen += 1
            return self.recorder.warm_up(lambda: self._compute(batch))
        if self._replay is None:
            self._replay = self._record(batch)
        for held, part in zip(self._batch, batch, strict=True):
            if held is not None:
                held.copy_(part)
        self._replay()
        parameters = self.gradient.parameters
        for parameter, grad in zip(parameters, self._grads, strict=True):
            parameter.grad = grad
        loss, output = self._result
        return loss.clone(), output

    def _record(self, batch: tuple) -> Callable[[], Any]:
        """Record a batch, and keep hold of the memory that it is computed in."""
        held = tuple(None if part is None else part.clone() for part in batch)
        try:
            replay, self._result = self.recorder.record(lambda: self._compute(held))
        except RuntimeError as error:
            raise RuntimeError(
                "A step of training could not be recorded as a CUDA graph, mostly "
                "because a layer or the loss looks at a value, as .item() and if do. "
                f"Set compile=False. The device said: {error}"
            ) from error
        self._batch = held
        self._grads = [parameter.grad for parameter in self.gradient.parameters]
        return replay

    def _compute(self, batch: tuple) -> tuple[Tensor, Tensor]:
        result = self.gradient(*batch)
        for buffers, name, buffer in self._buffers:
            if buffers[name] is not buffer:
                buffer.copy_(buffers[name])
                buffers[name] = buffer
        return result
