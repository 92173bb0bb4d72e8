"""What came out of a fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from overwinter.errors import OverwinterError


@dataclass(frozen=True, kw_only=True)
class EpochRecord:
    """One epoch.

    Attributes:
        epoch: from 1; the last one may have stopped at the target.
        training_loss: mean over the epoch's steps, of the loss that was minimised.
        validation_loss: the task's, after the epoch.
        measures: name -> figure of the task's measures on the validation split, after the epoch.
        spent_j: joules of the fit until then, if the caller of `fit` says them.
    """

    epoch: int
    training_loss: float
    validation_loss: float
    measures: Mapping[str, float]
    spent_j: float | None = None


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """The fitted model and how it went.

    Attributes:
        model: with the weights of the best settled epoch, on the CPU, in evaluation mode.
        history: one record per epoch.
        best_validation_loss: of the weights that were kept.
        measures: on the validation split, of the weights that were kept, in fp32.
        epochs_run: how many epochs were run, also before an interruption.
        steps: how many optimizer steps, also before an interruption.
        resumed: whether the fit went on from a checkpoint.
        reached: whether its target was reached; None: it had none.
        compiling: whether it was compiled, and why; None: it was not to be.
        last_return: gain of the headline measure per kilojoule for which it was stopped; None: it was not.
    """

    model: nn.Module
    history: tuple[EpochRecord, ...]
    best_validation_loss: float
    measures: Mapping[str, float]
    epochs_run: int
    steps: int
    resumed: bool
    reached: bool | None = None
    compiling: str | None = None
    last_return: float | None = None


class StoppedRankError(OverwinterError):
    """The main rank of a distributed fit was stopped, and so is this one."""
