"""The processes (ranks) that fit one model together; in the simplest case this one alone."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

_Checkpoint = tuple[dict[str, torch.Tensor], dict[str, Any]]


class RankGroup:
    """One process that fits a model alone; `overwinter.training.distributed` has groups of several.

    Each method is called by all ranks at the same place of the program.

    Attributes:
        rank: of this process, from 0.
        size: how many there are.
        is_main: whether this one reports, and writes what is kept.
        shards: whether each rank holds a share of the model, so that whole tensors are made by all together.
    """

    rank = 0
    size = 1
    is_main = True
    shards = False

    def check(self, model: nn.Module) -> None:
        """Refuse a model that this group cannot fit.

        Raises:
            ConfigError: with the name of the layer.
        """

    def place(self, model: nn.Module, device: torch.device) -> nn.Module:
        """Return the model to be trained, on the device."""
        return model.to(device)

    def wrap(self, model: nn.Module) -> nn.Module:
        """Return what a training step calls instead of the model: its gradients are the whole batch's."""
        return model

    def part(self, samples: int) -> slice:
        """Return which of a batch of so many samples are this rank's."""
        return slice(0, samples)

    def mean(self, value: float, weight: int) -> tuple[float, float]:
        """Return the mean over all ranks, and by what to multiply this rank's loss so that gradients are the mean's.

        Args:
            value: this rank's mean loss.
            weight: over how many targets.
        """
        del weight
        return value, 1.0

    def from_main(self, value: Any) -> Any:
        """Return the main rank's value: a JSON value, in which tuples may have become lists."""
        return value

    def gather(self, content: bytes) -> list[bytes]:
        """Return the contents of all ranks, in order."""
        return [content]

    def checkpoint_from_main(self, found: _Checkpoint | None) -> _Checkpoint | None:
        """Return the tensors and the progress of the checkpoint that the main rank has found."""
        return found

    def whole(self, tensor: torch.Tensor) -> torch.Tensor | None:
        """Return a tensor of the model or its optimizer in full on the main rank; others may get None."""
        return tensor

    def finished(self, model: nn.Module) -> nn.Module:
        """Return the trained model on the CPU; on ranks that are not main, it may be of no use."""
        return model.to("cpu")


ALONE = RankGroup()
"""This process alone."""
