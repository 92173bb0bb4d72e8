"""Recovery without targets: the kept weights of a pruned model are fitted to the dense model, as the settings say."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from torch import nn

from overwinter.calibration.following import AdamFit
from overwinter.inputs import TensorInputs
from overwinter.sparsity.distillation import distill_weights
from overwinter.sparsity.masks import HeldMasks
from overwinter.sparsity.protocol import Calibration
from overwinter.sparsity.reconstruction import reconstruct_blocks
from overwinter.sparsity.report import Recovered
from overwinter.sparsity.settings import DISTILL, RecoveryConfig
from overwinter.tasks import Task

_ENDS = 10  # the first and the last tenth of the steps are what distillation is reported by


def recover(
    model: nn.Module,
    dense: nn.Module,
    batches: Sequence[TensorInputs],
    masks: HeldMasks,
    config: RecoveryConfig,
    calibration: Calibration,
    *,
    task: Task,
) -> Recovered:
    """Fit the kept weights of masked layers in place, block by block or end to end.

    Args:
        model: sparse, on the CPU, in evaluation mode.
        dense: what it was made from.
        batches: of model inputs (n, ...).
        masks: of the model's layers.
        config: the method is `reconstruct` or `distill`.
        calibration: has the seed, the device and whom to report progress to.
        task: what the outputs are.

    Raises:
        OverwinterError: the fit diverged, or the masks were broken.
    """
    fit = AdamFit(
        steps=config.steps, learning_rate=config.learning_rate, batch_size=config.batch_size, seed=calibration.seed
    )
    method = _distilled if config.method == DISTILL else _reconstructed
    recovered = method(model, dense, batches, masks, fit, calibration, task)
    masks.refuse_broken()
    return recovered


def _distilled(
    model: nn.Module,
    dense: nn.Module,
    batches: Sequence[TensorInputs],
    masks: HeldMasks,
    fit: AdamFit,
    calibration: Calibration,
    task: Task,
) -> Recovered:
    losses = distill_weights(
        model, dense, batches, masks, fit, calibration.progress, task=task, device=calibration.device
    )
    end = -(-len(losses) // _ENDS)
    before, after = statistics.fmean(losses[:end]), statistics.fmean(losses[-end:])
    return Recovered(method="distill", before=before, after=after, unit=task.divergence_unit)


def _reconstructed(
    model: nn.Module,
    dense: nn.Module,
    batches: Sequence[TensorInputs],
    masks: HeldMasks,
    fit: AdamFit,
    calibration: Calibration,
    task: Task,
) -> Recovered:
    errors = reconstruct_blocks(
        model, dense, batches, masks, fit, calibration.progress, task=task, device=calibration.device
    )
    blocks = {prefix: (each.before, each.after) for prefix, each in errors.items()}
    before, after = (statistics.fmean(each) for each in zip(*blocks.values(), strict=True))
    unit = "of the mean square"
    return Recovered(method="reconstruct", before=before, after=after, unit=unit, blocks=blocks)
