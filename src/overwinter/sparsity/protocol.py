"""What a sparsifier is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import nn

from overwinter.data import Split
from overwinter.models import StepHook
from overwinter.sparsity.report import SparsityReport


class Sparsifier(Protocol):
    """A way to remove weights, made by its settings (`SparsifyConfig.open`); used once, for one model.

    One that works at once, with or without calibration data, does it all in `prepare` and returns no hook.
    One that works while the model is fine-tuned returns hooks, which see the gradients before each
    optimizer step and the weights after it.
    """

    def prepare(self, model: nn.Module, train: Split) -> Sequence[StepHook]:
        """Change ``model`` in place as far as can be done at once, before the fine-tuning.

        Args:
            model: trained, on the CPU, in evaluation mode. It is the very object that is fine-tuned.
            train: the training split, for examples and calibration.

        Returns:
            hooks for the fine-tuning.
        """

    def report(self, model: nn.Module) -> SparsityReport:
        """Count what was removed from the fine-tuned ``model``."""
