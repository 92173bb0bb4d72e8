"""What is checked before a model is quantized, whatever the method."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from overwinter.errors import ConfigError, OverwinterError, nearest
from overwinter.models import prunable_weights
from overwinter.quantization.interface import Request
from overwinter.serving import Array


def check_request(request: Request) -> None:
    """Refuse what cannot give a good form: see `quantize` for what is raised."""
    _check_calibration(request.calibration, request.description["input_shape"])
    _check_skip(request.settings.skip, list(prunable_weights(request.model)))
    _check_weights(request.model)
    _check_activations(request.model, request.calibration)


def skipping_pattern(layer: str, skip: Sequence[str]) -> str | None:
    """Return the first pattern (fnmatch) in ``skip`` that fits the layer's name, or None."""
    return next((pattern for pattern in skip if fnmatch.fnmatchcase(layer, pattern)), None)


def _check_calibration(calibration: Array, input_shape: Sequence[int]) -> None:
    if len(calibration) == 0:
        raise ConfigError("There are no calibration samples. Set quantize.calibration_samples to at least 1.")
    if list(calibration.shape[1:]) != list(input_shape):
        raise ConfigError(
            f"Calibration samples have the shape {list(calibration.shape[1:])}, the model takes "
            f"{list(input_shape)}. "
            "Was the model trained on other data?"
        )
    if not np.isfinite(calibration).all():
        raise OverwinterError("A calibration sample holds NaN or infinite values. Clean the data and run it again.")


def _check_skip(skip: Sequence[str], layers: Sequence[str]) -> None:
    for pattern in skip:
        if not fnmatch.filter(layers, pattern):
            raise ConfigError(
                f"quantize.skip names {pattern!r}, which fits no layer. Layers: "
                f"{', '.join(layers)}.{nearest(pattern, layers)}"
            )


def _check_weights(model: nn.Module) -> None:
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise OverwinterError(
                f"The tensor {name} holds NaN or infinite values, so the model is not quantized. Train it again."
            )


def _check_activations(model: nn.Module, calibration: Array) -> None:
    with _refusing_broken_outputs(model), torch.inference_mode():
        for begin in range(0, len(calibration), 256):
            model(torch.from_numpy(calibration[begin : begin + 256]))


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
        if isinstance(output, torch.Tensor) and not bool(torch.isfinite(output).all()):
            raise OverwinterError(
                f"The layer {name} answers NaN or infinity on the calibration samples, so its range cannot "
                "be known. "
                "Check the data's preprocessing, or train the model again."
            )

    handle = module.register_forward_hook(refuse)
    try:
        yield
    finally:
        handle.remove()
