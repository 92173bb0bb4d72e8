"""Recovery block by block: the kept weights of each block are fitted to what the dense block returns, masks held.

After Wagner, Roux, Zimmer and Pokutta, "A Free Lunch in LLM Compression: Revisiting Retraining after Pruning"
(https://arxiv.org/abs/2510.14444). Memory holds the gradients of one block at a time, so that a model recovers which
is too large to be trained as a whole. Each block is given what the recovered blocks before it return, and is asked
for what the dense model has in the same place, so that it makes up for their errors too.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from overwinter.calibration.batches import count_samples, split_batches
from overwinter.calibration.chain import Arguments, call_block, open_chain
from overwinter.calibration.device_placement import CPU, offloaded
from overwinter.calibration.following import BETAS, AdamFit, descend
from overwinter.calibration.teacher import quick_enough
from overwinter.errors import ConfigError
from overwinter.inputs import TensorInputs
from overwinter.progress import Progress, silent
from overwinter.sparsity.masks import HeldMasks
from overwinter.tasks import Task

_REPORTED = 4  # batches on which a block's error is measured before and after
_LEAST = 1e-12  # mean square of an output that is all zeros


@dataclass(frozen=True, kw_only=True)
class BlockError:
    """Mean squared error of a block's output, over the mean square of the dense model's.

    Attributes:
        before: with the weights as they were, on what the recovered blocks return.
        after: with the fitted weights.
    """

    before: float
    after: float


def reconstruct_blocks(
    model: nn.Module,
    dense: nn.Module,
    calibration: Sequence[TensorInputs],
    masks: HeldMasks,
    fit: AdamFit,
    progress: Progress = silent,
    *,
    task: Task,
    device: str = CPU,
) -> dict[str, BlockError]:
    """Fit the kept weights of the masked layers in place, block by block; return the blocks' errors by their prefix.

    A model that is no chain of blocks (`calibration.chain`) is fitted as one block. Masked layers outside the blocks
    stay as they are.

    Args:
        model: sparse, on the CPU, in evaluation mode.
        dense: what it was made from.
        calibration: batches of model inputs (n, ...), one for each shape of sample.
        masks: of the model's layers.
        fit: how long and how fast; its steps are those of each block.
        progress: called with the blocks done and their number.
        task: what the outputs are: those of numbers are computed more precisely.
        device: that computes: `cpu`, `cuda` or `cuda:N`; its memory holds one block of each model and one batch.

    Raises:
        ConfigError: no calibration samples.
        OverwinterError: a block's error became NaN or infinite.
    """
    if not count_samples(calibration):
        raise ConfigError("Recovery needs at least one calibration sample.")
    batches = list(split_batches(calibration, fit.batch_size))
    ours, theirs = open_chain(model, batches), open_chain(dense, batches)
    given: Sequence[TensorInputs] = ours.inputs
    wanted: Sequence[TensorInputs] = theirs.inputs
    errors: dict[str, BlockError] = {}
    for done, prefix in enumerate(ours.blocks, start=1):
        teacher = _Block(block=theirs.blocks[prefix], rest=theirs.rest[prefix], task=task, device=device)
        student = _Block(block=ours.blocks[prefix], rest=ours.rest[prefix], task=task, device=device)
        own = masks.under(prefix)
        with offloaded(teacher.block, device):
            targets = teacher.outputs(wanted)
        with offloaded(student.block, device):
            if own.weights:
                errors[prefix] = _fitted(student, given, targets, own, fit)
            given, wanted = student.outputs(given), targets
        progress(done, len(ours.blocks))
    return errors


@dataclass(frozen=True, kw_only=True)
class _Block:
    """A block on the device, and its further arguments, one entry per calibration batch."""

    block: nn.Module
    rest: Sequence[Arguments]
    task: Task
    device: str

    def output(self, inputs: TensorInputs, which: int) -> torch.Tensor:
        """Return what it gives for a calibration batch; differentiable."""
        with quick_enough(self.task, torch.device(self.device)):
            return call_block(self.block, inputs, self.rest[which], self.device)

    def outputs(self, inputs: Sequence[TensorInputs]) -> list[torch.Tensor]:
        """Return what it gives for all of them."""
        with torch.no_grad():
            return [self.output(each, which) for which, each in enumerate(inputs)]


def _fitted(
    student: _Block, given: Sequence[TensorInputs], wanted: Sequence[torch.Tensor], masks: HeldMasks, fit: AdamFit
) -> BlockError:
    def error(which: int) -> torch.Tensor:
        target = wanted[which].float()
        squares = (student.output(given[which], which).float() - target).square()
        return squares.mean() / target.square().mean().clamp(min=_LEAST)

    def mean_error() -> float:
        with torch.no_grad():
            return statistics.fmean(float(error(which)) for which in range(min(len(given), _REPORTED)))

    before, order = mean_error(), _order(len(given), fit)
    adam = torch.optim.Adam(masks.weights.values(), lr=fit.learning_rate, betas=BETAS, fused=True)
    descend(lambda step: error(order[step]), adam, fit.steps, key="sparsify.recovery", hooks=[masks])
    return BlockError(before=before, after=mean_error())


def _order(batches: int, fit: AdamFit) -> list[int]:
    """Return the batch of each step: every one once, in random order, then all over again."""
    randomness = torch.Generator().manual_seed(fit.seed)
    rounds = [torch.randperm(batches, generator=randomness) for _ in range(-(-fit.steps // batches))]
    return torch.cat(rounds)[: fit.steps].tolist()  # (steps,)
