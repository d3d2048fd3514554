"""A progress bar over epochs."""

from __future__ import annotations

from typing import Any

from skorch import NeuralNet
from skorch.callbacks import Callback

__all__ = ["EpochProgress"]


class EpochProgress(Callback):
    """Draw one bar for a fit, with the latest losses beside it.

    Parameters
    ----------
    label : str
        What is being fitted.
    """

    def __init__(self, label: str) -> None:
        self.label = label

    def initialize(self) -> EpochProgress:
        """Start without a bar."""
        self.bar_: Any = None
        return self

    def on_train_begin(self, net: NeuralNet, *args: Any, **kwargs: Any) -> None:
        """Open the bar."""
        # Only now: it warns in notebooks that lack ipywidgets, and not all draw bars.
        from tqdm.auto import tqdm

        self.bar_ = tqdm(total=net.max_epochs, desc=self.label, unit="epoch")

    def on_epoch_end(self, net: NeuralNet, *args: Any, **kwargs: Any) -> None:
        """Move the bar and show the losses of the epoch."""
        epoch = net.history[-1]
        losses = {k: epoch[k] for k in ("train_loss", "valid_loss") if k in epoch}
        self.bar_.set_postfix(losses, refresh=False)
        self.bar_.update()

    def on_train_end(self, net: NeuralNet, *args: Any, **kwargs: Any) -> None:
        """Close the bar, early or not."""
        self.bar_.close()
        self.bar_ = None
