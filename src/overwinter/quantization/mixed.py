"""Planning the variant ``mixed``: try 4 and 8 bits on every layer, and choose within the limit."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import torch
from torch import nn

from overwinter.calibration.batches import first_samples
from overwinter.calibration.device_placement import offloaded
from overwinter.errors import ConfigError
from overwinter.inputs import TensorInputs
from overwinter.models import Grid, twin, unique_integers, unpacked_bytes
from overwinter.progress import Progress, part, silent
from overwinter.quantization.interface import Request
from overwinter.quantization.layer_sensitivity import Judge, integer_bytes, sensitivity
from overwinter.quantization.mixing import Option, fit_divergence, fit_size
from overwinter.quantization.recipe import Recipe, apply_recipe

_GRIDS = (Grid(bits=4, group_size=64, symmetric=False), Grid(bits=8, group_size=64))
_TRIES = 6
_HEADER_BYTES = 160  # what safetensors says of one tensor; an integer layer has three
_REASON = "quantize.mixed gains more by storing other layers in integers"


def plan_mixed(
    model: nn.Module,
    recipe: Recipe,
    layers: Sequence[str],
    calibration: Sequence[TensorInputs],
    request: Request,
    progress: Progress = silent,
) -> tuple[Recipe, dict[str, str]]:
    """Return the recipe with a grid for each layer, and the layers that stay in floating point, with the reason.

    Args:
        model: float; not changed.
        recipe: its solver is used for every grid.
        layers: to choose for.
        calibration: batches of model inputs (n, ...); the first ``quantize.sensitivity_samples`` samples judge the
            layers.
        request: with the limit, the task, the float model's size, and the device that computes.
        progress: called with how far it has come, and with all of it.

    Raises:
        ConfigError: the limit cannot be kept, or there are no samples to judge by.
    """
    settings = request.settings
    if settings.sensitivity_samples == 0:
        raise ConfigError("mixed judges every layer by itself. Set quantize.sensitivity_samples to at least 1.")
    options = _options(model, recipe, layers, calibration, request, part(progress, 0.0, 0.8))
    if settings.mixed.max_size_ratio is not None:
        chosen = fit_size(options, _left_for(model, layers, request, settings.mixed.max_size_ratio))
        return _planned(recipe, chosen)
    return _within(model, recipe, options, calibration, request, part(progress, 0.8, 1.0))


def _options(
    model: nn.Module,
    recipe: Recipe,
    layers: Sequence[str],
    calibration: Sequence[TensorInputs],
    request: Request,
    progress: Progress,
) -> dict[str, list[Option]]:
    samples, device = first_samples(calibration, request.settings.sensitivity_samples), request.compute_device
    options = {name: [Option(bits=None, size_bytes=_float_bytes(model, name), divergence=0.0)] for name in layers}
    for index, grid in enumerate(_GRIDS):
        candidate, mine = twin(model), part(progress, index / len(_GRIDS), (index + 1) / len(_GRIDS))
        tried = dataclasses.replace(recipe, grid=grid)
        apply_recipe(candidate, tried, layers, calibration, device=device, progress=part(mine, 0.0, 0.5))
        damages = sensitivity(
            model, candidate, samples, task=request.task, device=device, progress=part(mine, 0.5, 1.0)
        )
        for name, damage in damages.items():
            size = damage.size_bytes + 2 * _HEADER_BYTES
            options[name].append(Option(bits=grid.bits, size_bytes=size, divergence=damage.divergence))
    return options


def _left_for(model: nn.Module, layers: Sequence[str], request: Request, ratio: float) -> int:
    """Bytes that the limit leaves for the weights of these layers."""
    float_bytes = unpacked_bytes(request.description)
    rest = float_bytes - sum(_float_bytes(model, name) for name in layers)
    for name, layer in unique_integers(model).items():  # a language model's embedding and head
        weight = request.description["tensors"][f"{name}.weight"]
        rest += integer_bytes(layer) - math.prod(weight["shape"]) * getattr(torch, weight["dtype"]).itemsize
    return int(float_bytes * ratio) - rest


def _float_bytes(model: nn.Module, name: str) -> int:
    weight = model.get_parameter(f"{name}.weight")
    return weight.numel() * weight.element_size()


def _within(
    model: nn.Module,
    recipe: Recipe,
    options: Mapping[str, Sequence[Option]],
    calibration: Sequence[TensorInputs],
    request: Request,
    progress: Progress,
) -> tuple[Recipe, dict[str, str]]:
    """Lower the forecast until the whole model, measured, keeps the limit."""
    forecast = limit = request.settings.mixed.max_divergence or 0.0
    samples, device = first_samples(calibration, request.settings.sensitivity_samples), request.compute_device
    judge = Judge(model, samples, request.task, device)
    for tries in range(_TRIES):
        progress(tries, _TRIES)
        planned, kept = _planned(recipe, fit_divergence(options, forecast))
        trial = twin(model)
        apply_recipe(trial, planned, [name for name in options if name not in kept], calibration, device=device)
        with offloaded(trial, device):
            found = judge.divergence(trial)
        if found <= limit:
            return planned, kept
        forecast *= 0.8 * limit / found
    raise ConfigError(
        f"mixed found nothing within quantize.mixed.max_divergence={limit}: the last of {_TRIES} choices "
        f"diverges by {found:.3g} {request.task.divergence_unit}. Raise the limit."
    )


def _planned(recipe: Recipe, chosen: Mapping[str, Option]) -> tuple[Recipe, dict[str, str]]:
    by_bits = {grid.bits: grid for grid in _GRIDS}
    overrides = {name: by_bits[option.bits] for name, option in chosen.items() if option.bits is not None}
    if not overrides:
        raise ConfigError(
            "mixed would leave every layer in floating point: quantize.mixed.max_size_ratio has room for that, or "
            "quantize.mixed.max_divergence for nothing else. Lower the one, or raise the other."
        )
    kept = {name: _REASON for name, option in chosen.items() if option.bits is None}
    return dataclasses.replace(recipe, overrides=overrides), kept
