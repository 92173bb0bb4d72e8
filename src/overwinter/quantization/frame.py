"""What every method does around its own idea: choose the layers, keep zeros zero, say what was made of what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from overwinter.errors import ConfigError, OverwinterError
from overwinter.models import prunable_weights, signature_of
from overwinter.quantization.checking import skipping_pattern
from overwinter.quantization.interface import Request
from overwinter.runtime import Array

Mask = torch.Tensor | Array  # of a weight: true where it is zero


def weighted_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Return the layers that a method must quantize or give a reason for; Linear ones also where a weight is shared."""
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    return {name: model.get_submodule(name) for name in [*prunable_weights(model), *linear]}


def choose_layers(
    variant: str, unfit: Mapping[str, str | None], skip: Sequence[str]
) -> tuple[list[str], dict[str, str]]:
    """Return the layers to quantize, and those that stay in floating point with the reason.

    Args:
        variant: the method's name.
        unfit: layer -> why the method cannot quantize it, or None.
        skip: `quantize.skip`.

    Raises:
        ConfigError: no layer is left to quantize.
    """
    left = {layer: why for layer, reason in unfit.items() if (why := _skipped(layer, skip) or reason)}
    wanted = [layer for layer in unfit if layer not in left]
    if not wanted:
        reasons = "; ".join(f"{layer}: {reason}" for layer, reason in left.items()) or "none of them has a weight"
        raise ConfigError(f"{variant} serves none of the model's layers: {reasons}. Take it out of quantize.methods.")
    return wanted, left


def _skipped(layer: str, skip: Sequence[str]) -> str | None:
    pattern = skipping_pattern(layer, skip)
    return None if pattern is None else f"quantize.skip names {pattern!r}"


def tied_layers(model: nn.Module, layers: Sequence[str]) -> list[str]:
    """Return the layers whose weight has another name too: quantized, each gets its own."""
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    shared = {name for group in names.values() if len(group) > 1 for name in group}
    return [layer for layer in layers if f"{layer}.weight" in shared]


def count_zeros(masks: Iterable[tuple[str, Mask, Mask]]) -> tuple[int, int]:
    """Count the zero weights before and after.

    Args:
        masks: layer, where its weight was zero, where it is now.

    Raises:
        OverwinterError: a zero was lost.
    """
    before = after = 0
    for layer, was_zero, is_zero in masks:
        if bool((was_zero & ~is_zero).any()):
            raise OverwinterError(
                f"Quantizing turned zero weights of the layer {layer} into others. Add it to quantize.skip."
            )
        before, after = before + int(was_zero.sum()), after + int(is_zero.sum())
    return before, after


def origin(variant: str, request: Request) -> dict[str, Any]:
    """Return what a variant's ``model.json`` has of the float model's, and where it comes from."""
    return {
        "variant": variant,
        "model_config": request.description["model"],
        "signature": signature_of(request.description),
        "lineage": request.lineage,
    }
