"""What came out of a fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True, kw_only=True)
class EpochRecord:
    """One epoch.

    Attributes:
        epoch: from 1.
        training_loss: mean over the epoch's steps, of the loss that was minimised.
        validation_loss: the task's, after the epoch.
        measures: name -> figure of the task's measures on the validation split, after the epoch.
    """

    epoch: int
    training_loss: float
    validation_loss: float
    measures: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """The fitted model and how it went.

    Attributes:
        model: with the weights of the best settled epoch, on the CPU, in evaluation mode.
        history: one record per epoch.
        best_validation_loss: of the weights that were kept.
        measures: on the validation split, of the weights that were kept.
        epochs_run: how many epochs were run, also before an interruption.
        steps: how many optimizer steps, also before an interruption.
        resumed: whether the fit went on from a checkpoint.
    """

    model: nn.Module
    history: tuple[EpochRecord, ...]
    best_validation_loss: float
    measures: Mapping[str, float]
    epochs_run: int
    steps: int
    resumed: bool
