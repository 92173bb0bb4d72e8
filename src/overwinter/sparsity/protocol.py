"""What a sparsifier is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import nn

from overwinter.data import Split
from overwinter.models import StepHook
from overwinter.progress import Progress, silent
from overwinter.sparsity.report import SparsityReport
from overwinter.tasks import Task


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What a sparsifier that calibrates needs beside the training split.

    Attributes:
        seed: of the drawing of samples, and of text that the model writes.
        leading: tokens that every text begins with, such as Gemma's ``<bos>``.
        device: that computes: `cpu`, `cuda` or `cuda:N`.
        task: has the loss, for gradients.
        progress: called with the work done and the total; it may raise to stop the work.
    """

    seed: int = 0
    leading: Sequence[int] = ()
    device: str = "cpu"
    task: Task | None = None
    progress: Progress = silent


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


@runtime_checkable
class Calibrated(Protocol):
    """What a `Sparsifier` that calibrates has too."""

    def calibrate_with(self, calibration: Calibration) -> None:
        """Take in, before `Sparsifier.prepare`, what the calibration needs."""


@runtime_checkable
class Recovering(Protocol):
    """What a `Sparsifier` whose model recovers without targets has too."""

    def recover(self, model: nn.Module, dense: nn.Module, task: Task) -> None:
        """Fit, after `Sparsifier.prepare`, the kept weights of ``model`` in place to the dense model's outputs."""
