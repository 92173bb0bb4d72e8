"""Checks made before a model is quantized, whatever the method."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from overwinter.calibration.batches import first_samples, split_batches, to_tensors
from overwinter.errors import ConfigError, OverwinterError, nearest
from overwinter.inputs import Inputs, named
from overwinter.models import CausalLanguageModel, is_finite, prunable_weights, signature_of
from overwinter.quantization.interface import Request
from overwinter.quantization.settings import QuantizeConfig

_WINDOWS = 4  # of text that are checked; `apply_recipe` looks at every input that it calibrates on
_MAX_OUTPUT_VALUES = 1 << 26  # numbers in the output to a batch: 256 MiB


def check_request(request: Request) -> None:
    """Refuse what cannot give a good variant: see `quantize` for what is raised."""
    if not request.calibration:
        raise ConfigError("There are no calibration samples. Set quantize.calibration_samples to at least 1.")
    _check_samples("Calibration samples", (*request.calibration, *request.distillation), request)
    check_patterns("quantize.skip", request.settings.skip, _nameable(request.model))
    _check_weights(request.model)
    _check_activations(request.model, to_tensors(request.calibration))


def check_held_out(held_out: Sequence[Inputs], request: Request) -> None:
    """Refuse held-out samples that the model cannot take."""
    if not held_out:
        raise ConfigError("There are no held-out samples to compare predictions on. Give the validation split some.")
    _check_samples("Held-out samples", held_out, request)


def check_layer_names(model: nn.Module, settings: QuantizeConfig) -> None:
    """Check before a model is trained that every name pattern of the group `quantize` fits a layer of it.

    And that a language model's blocks have layers that can be quantized at all.

    Raises:
        ConfigError: a pattern in ``skip`` or ``overrides`` fits none, or the blocks have none.
    """
    for key, patterns in settings.layer_patterns().items():
        check_patterns(key, patterns, _nameable(model))
    if settings.methods and isinstance(model, CausalLanguageModel):
        _check_blocks(model, settings.methods)


def _check_blocks(model: CausalLanguageModel, methods: Sequence[str]) -> None:
    """Refuse a language model whose blocks hold their weights in layers of its own kind, which no method serves."""
    blocks = [each for each in model.modules() if isinstance(each, nn.ModuleList)]
    inside = [layer for each in blocks for layer in each.modules()]
    if not blocks or any(type(layer) is nn.Linear for layer in inside):
        return
    kinds = sorted({type(layer).__name__ for layer in inside if _is_matrix(layer)})
    raise ConfigError(
        f"quantize.methods={list(methods)} serve Linear layers, and the blocks of {type(model.network).__name__} have "
        f"none: their weights are in {', '.join(kinds)}. Set quantize=none, or name a model whose blocks have some, "
        "such as a Llama, Qwen, Mistral, Gemma or Phi."
    )


def _nameable(model: nn.Module) -> list[str]:
    """Return the layers that a pattern can name: a language model's embedding too."""
    embeddings = [name for name, layer in model.named_modules() if isinstance(layer, nn.Embedding)]
    return [*prunable_weights(model), *(embeddings if isinstance(model, CausalLanguageModel) else [])]


def _is_matrix(layer: nn.Module) -> bool:
    return any(tensor.dim() > 1 for tensor in layer.parameters(recurse=False))


def check_patterns(key: str, patterns: Sequence[str], layers: Sequence[str]) -> None:
    """Refuse a name pattern (fnmatch) that fits no layer."""
    for pattern in patterns:
        if not fnmatch.filter(layers, pattern):
            raise ConfigError(
                f"{key} names {pattern!r}, which fits no layer. Layers: {', '.join(layers)}.{nearest(pattern, layers)}"
            )


def refuse_language(method: str, request: Request) -> None:
    """Refuse a language model, for methods whose graph holds no cache of keys and values."""
    if request.task.generates:
        raise ConfigError(
            f"{method} is not for models that write text. Use int8_weight_only, int8_grouped, int8_smooth or int4_gptq."
        )


def refuse_integer_settings(method: str, request: Request) -> None:
    """Refuse settings that only variants of integer layers have."""
    settings = request.settings
    given = {
        "overrides": bool(settings.overrides),
        "scale_distillation.steps": settings.scale_distillation.steps > 0,
        "sensitivity_samples": settings.sensitivity_samples > 0,
    }
    for key, is_given in given.items():
        if is_given:
            raise ConfigError(
                f"quantize.{key} is for variants of integer layers (int8_weight_only, int8_smooth, int4_gptq, ...), "
                f"not "
                f"for {method}. Clear it, or take {method} out of quantize.methods."
            )


def skipping_pattern(layer: str, skip: Sequence[str]) -> str | None:
    """Return the first pattern (fnmatch) in ``skip`` that fits the layer's name, or None."""
    return next((pattern for pattern in skip if fnmatch.fnmatchcase(layer, pattern)), None)


def _check_samples(what: str, batches: Sequence[Inputs], request: Request) -> None:
    signature = signature_of(request.description)
    for batch in batches:
        signature.check(batch, what=what)
        for name, values in named(batch).items():
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                raise OverwinterError(
                    f"{what} hold NaN or infinite values in {name!r}. Clean the data and run it again."
                )


def _check_weights(model: nn.Module) -> None:
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and not is_finite(tensor):
            raise OverwinterError(
                f"The tensor {name} holds NaN or infinite values, so the model is not quantized. Train it again."
            )


def _check_activations(model: nn.Module, calibration: Sequence[Any]) -> None:
    numbers = any(tensor.is_floating_point() for tensor in named(calibration[0]).values())
    if not numbers:  # tokens are never broken: if the weights are, a few show it
        calibration = first_samples(calibration, _WINDOWS)
    with _refusing_broken_outputs(model), torch.inference_mode():
        output = model(*first_samples(calibration, 1))
        for batch in split_batches(calibration, _batch_size(output)):
            model(batch)


def _batch_size(output: torch.Tensor) -> int:
    """How many samples to run at once: a language model's output to one is as large as a whole batch of others."""
    return max(1, min(256, _MAX_OUTPUT_VALUES // output.numel()))


@contextmanager
def _refusing_broken_outputs(model: nn.Module) -> Iterator[None]:
    with ExitStack() as stack:
        for name, module in model.named_modules():
            if not list(module.children()):
                stack.enter_context(_hooked(name or type(model).__name__, module))
        yield


@contextmanager
def _hooked(name: str, module: nn.Module) -> Iterator[None]:
    def refuse(_module: nn.Module, _inputs: Any, output: Any) -> None:
        if isinstance(output, torch.Tensor) and output.is_floating_point() and not is_finite(output):
            raise OverwinterError(
                f"The layer {name} outputs NaN or infinity on the calibration samples, so its range cannot "
                "be known. "
                "Check the data's preprocessing, or train the model again."
            )

    handle = module.register_forward_hook(refuse)
    try:
        yield
    finally:
        handle.remove()
