"""One-shot sparsity: single weights are removed from a trained model at once, by what calibration shows of its inputs.

The model is walked through block by block (`overwinter.calibration.walk`): statistics are held of one block at a time,
and each block is pruned by its inputs from the pruned ones before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import nn

from overwinter.calibration.batches import count_samples, split_batches, to_tensors
from overwinter.calibration.generated_text import generated_inputs
from overwinter.calibration.walk import Gait, walk_blocks
from overwinter.data import Split
from overwinter.errors import OverwinterError
from overwinter.inputs import TensorInputs, to_arrays
from overwinter.models import StepHook, is_finite, keep_changes_on_disk
from overwinter.progress import Progress, part
from overwinter.sparsity.amounts import find_amounts
from overwinter.sparsity.layers import choose_layers
from overwinter.sparsity.masks import hold_masks
from overwinter.sparsity.protocol import Calibration
from overwinter.sparsity.pruning import Pruned, Pruning
from overwinter.sparsity.recovery import recover
from overwinter.sparsity.report import LayerReport, Recovered, SparsityReport
from overwinter.sparsity.settings import DISTILL, FIT, RECONSTRUCT, OneShotConfig
from overwinter.tasks import Task

_BATCH = 8
_WRITING, _MEASURING = 0.3, 0.6  # shares of the work by which text is written, and the dense model is measured
_PRUNED = 0.4  # share of the work by which the model is pruned, if it recovers on the same samples
_UNREACHED = "the calibration samples do not reach it"


class OneShot:
    """The sparsifier ``one_shot``."""

    def __init__(self, config: OneShotConfig) -> None:
        self._config = config
        self._calibration = Calibration()
        self._batches: list[TensorInputs] = []
        self._recovered: Recovered | None = None
        self._done: dict[str, Pruned] = {}
        self._left_alone: dict[str, str] = {}

    def calibrate_with(self, calibration: Calibration) -> None:
        """Take in what the calibration needs beside the training split."""
        self._calibration = calibration

    def prepare(self, model: nn.Module, train: Split) -> Sequence[StepHook]:
        """Prune ``model`` in place; return what holds its zeros, if a fine-tuning follows.

        Raises:
            ConfigError: no layer can be pruned, or the model cannot write the calibration text that is asked for.
            OverwinterError: NaN or infinity in a weight or an input, a model that cannot be walked through, a layer
                that would lose all of its weights, or calibration that reaches no layer.
        """
        layers, self._left_alone = choose_layers(model, self._config)
        _refuse_broken(layers)
        before = replace(self._calibration, progress=part(self._calibration.progress, 0.0, self._pruned_at()))
        self._batches = calibration_batches(model, train, self._config, before)
        self._done = prune(model, layers, self._batches, self._config, before)
        self._left_alone |= dict.fromkeys(layers.keys() - self._done.keys(), _UNREACHED)
        if not self._done:
            raise OverwinterError(
                f"The calibration samples reach none of the layers {', '.join(layers)}, so nothing was pruned. "
                "Are they called by the model's forward()?"
            )
        return [hold_masks(model, self._done)] if self._config.recovery.method == FIT else []

    def recover(self, model: nn.Module, dense: nn.Module, task: Task) -> None:
        """Fit the kept weights of ``model`` in place on the calibration samples, if `sparsify.recovery` says so."""
        if self._config.recovery.method not in (RECONSTRUCT, DISTILL):
            return
        after = replace(self._calibration, progress=part(self._calibration.progress, self._pruned_at(), 1.0))
        masks = hold_masks(model, self._done)
        self._recovered = recover(model, dense, self._batches, masks, self._config.recovery, after, task=task)

    def report(self, model: nn.Module) -> SparsityReport:
        """Count the zeros of each layer of ``model``."""
        weights = {name: model.get_submodule(name).get_parameter("weight") for name in self._done}
        layers = tuple(
            LayerReport(name=name, before=weight.numel(), after=int(torch.count_nonzero(weight)), **vars(done))
            for (name, weight), done in zip(weights.items(), self._done.values(), strict=True)
        )
        return SparsityReport(
            method="one_shot",
            unit="weights",
            asked=self._config.amount,
            layers=layers,
            left_alone=dict(sorted(self._left_alone.items())),
            recovered=self._recovered,
        )

    def _pruned_at(self) -> float:
        return _PRUNED if self._config.recovery.method in (RECONSTRUCT, DISTILL) else 1.0


def calibration_batches(
    model: nn.Module, train: Split, config: OneShotConfig, calibration: Calibration
) -> list[TensorInputs]:
    """Return samples of the training split, text that the dense model writes, or both, in batches."""
    count = config.calibration_samples
    if count == 0:
        return []
    samples = [to_arrays(inputs) for inputs, _ in train.spread_batches(count, _BATCH, seed=calibration.seed)]
    if config.calibration_text != "data":
        written = generated_inputs(
            model,
            count_samples(samples),
            samples,
            seed=calibration.seed,
            leading=calibration.leading,
            progress=part(calibration.progress, 0.0, _WRITING),
            device=calibration.device,
            key="sparsify.calibration_text",
        )
        samples = [*samples, written] if config.calibration_text == "both" else [written]
    return list(split_batches(to_tensors(samples), _BATCH))


def prune(
    model: nn.Module,
    layers: dict[str, nn.Module],
    batches: Sequence[TensorInputs],
    config: OneShotConfig,
    calibration: Calibration,
) -> dict[str, Pruned]:
    """Prune layers in place; return what was done to those that calibration reached.

    Args:
        model: on the CPU, in evaluation mode.
        layers: name -> layer.
        batches: of model inputs; none: by magnitude alone.
        config: how.
        calibration: what it needs.

    Raises:
        OverwinterError: as in `OneShot.prepare`.
    """
    device, progress = calibration.device, calibration.progress
    with torch.no_grad():
        measuring: Progress = part(progress, _WRITING, _MEASURING)
        amounts = find_amounts(model, layers, batches, config, device=device, progress=measuring)
        work = Pruning(model, amounts, config)
        keep_changes_on_disk(layers[name].get_parameter("weight") for name in amounts)
        if batches:
            gait = Gait(follows=True, compares=False, quickly=True)
            pruning = part(progress, _MEASURING, 1.0)
            walk_blocks(model, list(amounts), batches, work, gait, device=device, progress=pruning)
        else:
            for name in amounts:
                work.prune(name, None)
    return work.done


def _refuse_broken(layers: dict[str, nn.Module]) -> None:
    for name, layer in layers.items():
        if not is_finite(layer.get_parameter("weight")):
            raise OverwinterError(f"The weight of the layer {name} holds NaN or infinity. Train the model again.")
