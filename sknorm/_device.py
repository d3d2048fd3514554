"""Where a network is trained."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def best_device() -> torch.device:
    """Return the fastest device present: cuda, then mps, then cpu."""
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def resolve_device(
    device: str | torch.device, *, dtype: torch.dtype = torch.float32
) -> torch.device:
    """Turn the ``device`` parameter into a device that is really there.

    Parameters
    ----------
    device : "auto", str or torch.device
        ``"auto"`` takes :func:`best_device`; anything else is read by torch.
    dtype : torch.dtype, default=torch.float32
        What the device has to compute in. MPS has no float64.

    Returns
    -------
    torch.device
        The device to train on.

    Raises
    ------
    ValueError
        If torch doesn't know the name, the machine has no such device, or the device
        can't compute in ``dtype``.
    """
    if isinstance(device, str) and device == "auto":
        best = best_device()
        return best if _computes(best, dtype) else torch.device("cpu")
    try:
        resolved = torch.device(device)
    except (RuntimeError, TypeError):
        raise ValueError(
            "The 'device' parameter must be 'auto', a name that torch knows such as "
            f"'cpu', 'cuda', 'cuda:1' or 'mps', or a torch.device. Got {device!r}."
        ) from None
    if resolved.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (resolved.index or 0) >= count:
            raise ValueError(
                f"device={device!r} was asked for, but torch sees {count} CUDA "
                "device(s) here. Use device='auto' to take what is present."
            )
    if resolved.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError(
            f"device={device!r} was asked for, but torch sees no MPS device here. "
            "Use device='auto' to take what is present."
        )
    if not _computes(resolved, dtype):
        raise ValueError(
            f"device={device!r} can't compute in {dtype}. Use dtype='float32' or "
            "device='cpu'."
        )
    return resolved


def _computes(device: torch.device, dtype: torch.dtype) -> bool:
    return not (device.type == "mps" and dtype == torch.float64)


def free_memory(device: torch.device) -> int | None:
    """Return how many bytes a device can still take, None if it has none of its own.

    Parameters
    ----------
    device : torch.device
        Where something is to be put.
    """
    if device.type != "cuda":
        return None
    free, _ = torch.cuda.mem_get_info(device)
    # What torch holds on to and doesn't use is there to be used.
    idle = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return free + idle


@contextmanager
def local_rng(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's generators inside the block and give them back as they were.

    Parameters
    ----------
    seed : int
        What dropout, and any layer of the user's own, draws from inside the block.
    device : torch.device
        The device whose generator is seeded beside the CPU's.
    """
    is_cuda, is_mps = device.type == "cuda", device.type == "mps"
    mps_state = torch.mps.get_rng_state() if is_mps else None
    with torch.random.fork_rng(devices=[device] if is_cuda else []):
        torch.default_generator.manual_seed(seed)
        if is_cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        if is_mps:
            torch.mps.manual_seed(seed)
        try:
            yield
        finally:
            if mps_state is not None:
                torch.mps.set_rng_state(mps_state)


# Multiplications in a forward pass below which handing work to other threads costs more
# than they save.
_WORTH_A_THREAD = 4e6


@contextmanager
def fitting_threads(work: float, device: torch.device) -> Iterator[None]:
    """Compute small steps on one thread, and give the setting back.

    Parameters
    ----------
    work : float
        Multiplications in the forward pass of one step.
    device : torch.device
        Where the step is computed; threads matter on the CPU alone.
    """
    before = torch.get_num_threads()
    if device.type != "cpu" or work >= _WORTH_A_THREAD or before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
