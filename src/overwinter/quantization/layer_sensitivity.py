"""Which layers bear quantization badly: each is quantized by itself, in an otherwise dense model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from overwinter.calibration import teacher
from overwinter.calibration.batches import as_batches, split_batches
from overwinter.calibration.device_placement import CPU, offloaded
from overwinter.inputs import TensorInputs, move
from overwinter.models import IntegerLayer, integer_layers, replace_layer
from overwinter.progress import Progress, silent
from overwinter.tasks import Task

_BATCH = 4


@dataclass(frozen=True, kw_only=True)
class LayerDamage:
    """What quantizing one layer alone does.

    Attributes:
        divergence: of the model's outputs from the dense one's, in the task's unit.
        weight_error: norm of the weight's change over the weight's norm; of a smoothed layer, both are smoothed.
        bits: of its weight's codes.
        size_bytes: of the integer layer's tensors, without the bias.
    """

    divergence: float
    weight_error: float
    bits: int
    size_bytes: int

    def to_json(self) -> dict[str, Any]:
        """Return it for ``model.json``."""
        return asdict(self)


def sensitivity(
    dense: nn.Module,
    quantized: nn.Module,
    samples: TensorInputs | Sequence[TensorInputs],
    *,
    task: Task,
    device: str = CPU,
    progress: Progress = silent,
) -> dict[str, LayerDamage]:
    """Return layer -> its damage, the worst first.

    Args:
        dense: on the CPU, in evaluation mode; as it was when this returns.
        quantized: the same with integer layers; those that dense has, too, are not judged.
        samples: model inputs (n, ...), or batches of them.
        task: what the outputs are, and how far they are from the dense model's.
        device: that computes: `cpu`, `cuda` or `cuda:N`; its memory holds the dense model and one layer more.
        progress: called with the layers that are judged, and with how many there are.
    """
    judge = Judge(dense, as_batches(samples), task, device)
    already, found = integer_layers(dense), {}
    layers = {name: layer for name, layer in integer_layers(quantized).items() if name not in already}
    with offloaded(dense, device):
        for name, layer in layers.items():
            found[name] = _damage(dense, name, layer, judge, device)
            progress(len(found), len(layers))
    return dict(sorted(found.items(), key=lambda item: -item[1].divergence))


class Judge:
    """How far models are from a dense one, by its outputs for some samples, which are kept in the CPU's memory.

    Args:
        dense: on the CPU, in evaluation mode.
        batches: of model inputs (n, ...).
        task: what the outputs are, and how far they are apart.
        device: that computes: `cpu`, `cuda` or `cuda:N`.
    """

    def __init__(self, dense: nn.Module, batches: Sequence[TensorInputs], task: Task, device: str) -> None:
        self._batches, self._task, self._device = list(split_batches(batches, _BATCH)), task, device
        with offloaded(dense, device), torch.inference_mode():
            self._wanted = [each.to(CPU) for each in self._outputs(dense)]

    def divergence(self, model: nn.Module) -> float:
        """Return the mean divergence of a model on the device, in the task's unit."""
        with torch.inference_mode():
            if self._task.class_axis is None:  # numbers: their spread is that of all samples together
                return float(teacher.divergence(self._task, *map(_joined, (self._outputs(model), self._wanted))))
            sizes = [wanted.numel() for wanted in self._wanted]
            parts = [
                float(teacher.divergence(self._task, found, wanted.to(found.device)))
                for found, wanted in zip(self._outputs(model), self._wanted, strict=True)
            ]
        return sum(part * size for part, size in zip(parts, sizes, strict=True)) / sum(sizes)

    def _outputs(self, model: nn.Module) -> Iterator[torch.Tensor]:
        for batch in self._batches:
            yield model(move(batch, self._device)).float()


def _joined(outputs: Iterable[torch.Tensor]) -> torch.Tensor:
    return torch.cat([each.to(CPU) for each in outputs])


def worst_layers(damages: Mapping[str, LayerDamage], unit: str, count: int = 5) -> str:
    """Say in one line which layers are damaged most; ``unit`` is the task's, of a divergence."""
    named = list(damages.items())[:count]
    return "; ".join(
        f"{name} ({each.bits} bits): {each.divergence:.3g} {unit}, weight off by {each.weight_error:.1%}"
        for name, each in named
    )


def integer_bytes(layer: IntegerLayer) -> int:
    """Return the bytes of the tensors that stand for a weight: codes, scales, zero points and factors."""
    return sum(tensor.numel() * tensor.element_size() for tensor in layer.buffers())


def _damage(dense: nn.Module, name: str, layer: IntegerLayer, judge: Judge, device: str) -> LayerDamage:
    floating: Any = dense.get_submodule(name)
    with offloaded(layer, device):
        replace_layer(dense, name, layer)
        try:
            found = judge.divergence(dense)
        finally:
            replace_layer(dense, name, floating)
        weight_error = _weight_error(layer, floating.weight.detach().float())
    return LayerDamage(
        divergence=found,
        weight_error=weight_error,
        bits=layer.grid.bits,
        size_bytes=integer_bytes(layer),
    )


def _weight_error(layer: IntegerLayer, weight: torch.Tensor) -> float:
    if layer.smoothing is not None:
        weight = weight / (layer.smoothing if weight.dim() == 2 else layer.smoothing[:, None, None])
    norm = weight.norm()
    return float((layer.weight() - weight).norm() / norm) if norm > 0 else 0.0
