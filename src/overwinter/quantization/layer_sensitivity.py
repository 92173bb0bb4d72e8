"""Which layers bear quantization badly: each is quantized by itself, in an otherwise dense model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from overwinter.calibration.device_placement import CPU, offloaded
from overwinter.models import IntegerLayer, integer_layers, replace_layer
from overwinter.progress import Progress, silent

_BATCH = 4


@dataclass(frozen=True, kw_only=True)
class LayerDamage:
    """What quantizing one layer alone does.

    Attributes:
        divergence_nats: mean Kullback-Leibler divergence of the model's outputs from the dense one's.
        weight_error: norm of the weight's change over the weight's norm; of a smoothed layer, both are smoothed.
        bits: of its weight's codes.
        size_bytes: of the integer layer's tensors, without the bias.
    """

    divergence_nats: float
    weight_error: float
    bits: int
    size_bytes: int

    def to_json(self) -> dict[str, Any]:
        """Return it for ``model.json``."""
        return asdict(self)


def sensitivity(
    dense: nn.Module,
    quantized: nn.Module,
    samples: torch.Tensor,
    *,
    device: str = CPU,
    progress: Progress = silent,
) -> dict[str, LayerDamage]:
    """Return layer -> its damage, the worst first.

    Args:
        dense: on the CPU, in evaluation mode, outputs logits (..., classes); as it was when this returns.
        quantized: the same with integer layers.
        samples: model inputs (n, ...).
        device: that computes: `cpu`, `cuda` or `cuda:N`; its memory holds the dense model and one layer more.
        progress: called with the layers that are judged, and with how many there are.
    """
    with offloaded(dense, device):
        wanted = log_odds(dense, samples, device)
        layers, found = integer_layers(quantized), {}
        for name, layer in layers.items():
            found[name] = _damage(dense, name, layer, samples, wanted, device)
            progress(len(found), len(layers))
    return dict(sorted(found.items(), key=lambda item: -item[1].divergence_nats))


def log_odds(model: nn.Module, samples: torch.Tensor, device: str) -> list[torch.Tensor]:
    """Return the logarithms of the odds (..., classes) of a model on a device, batch by batch, on the CPU."""
    with torch.inference_mode():
        return [each.to(CPU) for each in _log_odds(model, samples, device)]


def divergence(model: nn.Module, samples: torch.Tensor, wanted: list[torch.Tensor], device: str) -> float:
    """Return the mean Kullback-Leibler divergence, in nats, of outputs on a device from `log_odds` of another model."""
    with torch.inference_mode():
        each = [
            functional.kl_div(odds, logs.to(device), reduction="none", log_target=True).sum(-1).flatten()
            for odds, logs in zip(_log_odds(model, samples, device), wanted, strict=True)
        ]
    return float(torch.cat(each).mean())


def _log_odds(model: nn.Module, samples: torch.Tensor, device: str) -> Iterator[torch.Tensor]:
    for batch in torch.split(samples, _BATCH):
        yield functional.log_softmax(model(batch.to(device)).float(), -1)


def worst_layers(damages: Mapping[str, LayerDamage], count: int = 5) -> str:
    """Say in one line which layers are damaged most."""
    named = list(damages.items())[:count]
    return "; ".join(
        f"{name} ({each.bits} bits): {each.divergence_nats:.3g} nats, weight off by {each.weight_error:.1%}"
        for name, each in named
    )


def integer_bytes(layer: IntegerLayer) -> int:
    """Return the bytes of the tensors that stand for a weight: codes, scales, zero points and factors."""
    return sum(tensor.numel() * tensor.element_size() for tensor in layer.buffers())


def _damage(
    dense: nn.Module, name: str, layer: IntegerLayer, samples: torch.Tensor, wanted: list[torch.Tensor], device: str
) -> LayerDamage:
    floating: Any = dense.get_submodule(name)
    with offloaded(layer, device):
        replace_layer(dense, name, layer)
        try:
            found = divergence(dense, samples, wanted, device)
        finally:
            replace_layer(dense, name, floating)
        weight_error = _weight_error(layer, floating.weight.detach().float())
    return LayerDamage(
        divergence_nats=found,
        weight_error=weight_error,
        bits=layer.grid.bits,
        size_bytes=integer_bytes(layer),
    )


def _weight_error(layer: IntegerLayer, weight: torch.Tensor) -> float:
    if layer.smoothing is not None:
        weight = weight / (layer.smoothing if weight.dim() == 2 else layer.smoothing[:, None, None])
    norm = weight.norm()
    return float((layer.weight() - weight).norm() / norm) if norm > 0 else 0.0
