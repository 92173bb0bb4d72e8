"""Variants of integer layers.

``weights.safetensors`` and ``model.json``, which `overwinter.models.load_model` loads.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from overwinter.calibration.batches import first_samples, to_tensors
from overwinter.errors import ConfigError, OverwinterError
from overwinter.models import (
    Grid,
    integer_layers,
    integer_type,
    load_model,
    other_weights,
    replace_layer,
    save_model,
    stored_bytes,
    twin,
)
from overwinter.models.aware import AwareLayer
from overwinter.progress import Progress, part
from overwinter.quantization.checking import check_patterns
from overwinter.quantization.frame import choose_layers, count_zeros, origin, tied_layers, weighted_layers
from overwinter.quantization.interface import QuantizationReport, Request
from overwinter.quantization.layer_sensitivity import LayerDamage, sensitivity
from overwinter.quantization.mixed import plan_mixed
from overwinter.quantization.recipe import Recipe, apply_recipe
from overwinter.quantization.scale_distillation import ScaleDistillation, distill_scales
from overwinter.quantization.vocabulary import Vocabulary, plan_vocabulary, quantize_vocabulary

_INT4 = Grid(bits=4, group_size=64, symmetric=False)
_SOLVING, _RECOVERING, _COMPARING = 4, 6, 2  # parts of a method's time, roughly, of those that it takes


class IntegerVariant:
    """Makes a variant by a recipe.

    Choose the layers, quantize, recover, check the zeros, save, check the round trip.
    """

    variant: str
    recipe: Recipe

    def quantize(self, request: Request) -> QuantizationReport:
        """Quantize in place and save; see `Quantizer`."""
        model, settings = request.model, request.settings
        self._check(request)
        vocabulary = self._vocabulary(request)
        layers = {name: layer for name, layer in weighted_layers(model).items() if not vocabulary.governs(name)}
        unfit = {name: self._unfit(name, layer, request) for name, layer in layers.items()}
        wanted: list[str] = []
        left: dict[str, str] = {}
        if unfit or not vocabulary.grids:  # GPT-2's blocks have no Linear layer, but an embedding
            wanted, left = choose_layers(self.variant, unfit, settings.skip)
        check_patterns("quantize.overrides", list(settings.overrides), [*vocabulary.grids, *wanted])
        others = {name: why for name, why in other_weights(model).items() if not vocabulary.governs(name)}
        left |= others | dict(vocabulary.left_in_float)
        dense = twin(model) if settings.scale_distillation.steps or settings.sensitivity_samples else model
        # Not copied: as a rule they are pages of the model's file.
        weights = {name: model.get_parameter(f"{name}.weight").detach() for name in [*vocabulary.grids, *wanted]}
        untied = tied_layers(model, wanted)
        quantize_vocabulary(model, vocabulary)
        kept = self._apply(model, wanted, request)
        quantized = [name for name in weights if name not in kept]
        divergences = _recovered(model, dense, request)
        integers = integer_layers(model)
        zeros_before, zeros_after = count_zeros(
            (name, weights[name] == 0, integers[name].zeros()) for name in quantized
        )
        damages = _damages(model, dense, request)
        more = {
            "divergence_unit": request.task.divergence_unit,
            "scale_distillation_divergence": divergences,
            "sensitivity": {name: each.to_json() for name, each in damages.items()},
        }
        untied = [name for name in untied if name in quantized]
        saved = self._save(request, left | kept, untied, more)
        return QuantizationReport(
            quantized=tuple(quantized),
            left_in_float=left | kept,
            untied=tuple(untied),
            zeros_before=zeros_before,
            zeros_after=zeros_after,
            size_bytes=stored_bytes(saved),
            float_size_bytes=stored_bytes(request.description),
            sensitivity=damages,
        )

    def _apply(self, model: nn.Module, layers: Sequence[str], request: Request) -> dict[str, str]:
        """Quantize in place; return the layers that were left in floating point after all, and why."""
        overrides = {name: Grid(**vars(grid)) for name, grid in request.settings.overrides.items()}
        recipe = dataclasses.replace(self.recipe, overrides=overrides)
        calibration, device = to_tensors(request.calibration), request.compute_device
        apply_recipe(model, recipe, layers, calibration, device=device, progress=_solving(request))
        return {}

    def _vocabulary(self, request: Request) -> Vocabulary:
        """Return what becomes of a language model's embedding and head."""
        return plan_vocabulary(request)

    def _check(self, request: Request) -> None:
        """Refuse a request that the method cannot serve."""

    def _unfit(self, name: str, layer: nn.Module, request: Request) -> str | None:
        """Return why a layer stays in floating point, or None."""
        if name in request.fixed:
            return request.fixed[name]
        if integer_type(layer) is None:
            return f"{self.variant} serves Linear and Conv2d, not {type(layer).__name__}"
        return None

    def _save(
        self, request: Request, left: Mapping[str, str], untied: Sequence[str], more: Mapping[str, Any]
    ) -> dict[str, Any]:
        saved = save_model(
            request.out,
            request.model,
            **origin(self.variant, request),
            quantization={"method": self.variant, "left_in_float": dict(left), "untied": list(untied), **more},
        )
        loaded = load_model(request.out, trusted=request.trusted).state_dict()
        if any(not torch.equal(tensor, loaded[name]) for name, tensor in request.model.state_dict().items()):
            raise OverwinterError(
                f"{request.out} does not hold what was saved. Take {self.variant} out of the methods."
            )
        return saved


class Int8WeightOnly(IntegerVariant):
    """8 bits in groups of 64; activations stay in floating point.

    With one scale per output channel, SmolLM2's divergence from dense is twice as large.
    """

    variant = "int8_weight_only"
    recipe = Recipe(solver="nearest", grid=Grid(bits=8, group_size=64))


class Int8Grouped(IntegerVariant):
    """8 bits in groups of 64, of weights and, at run time, of activations, whose outliers are moved first.

    On SmolLM2 the divergence from dense is a quarter of that with one range per token.
    """

    variant = "int8_grouped"
    recipe = Recipe(
        solver="nearest",
        grid=Grid(bits=8, group_size=64),
        activations="dynamic",
        activation_group_size=64,
        smoothing=0.5,
    )


class Int8Smooth(IntegerVariant):
    """8 bits per output channel, activations at run time, their outliers moved into the weights first."""

    variant = "int8_smooth"
    recipe = Recipe(solver="nearest", grid=Grid(bits=8), activations="dynamic", smoothing=0.7)


class Int4Nearest(IntegerVariant):
    """4 bits in groups of 64, rounded to nearest."""

    variant = "int4_nearest"
    recipe = Recipe(solver="nearest", grid=_INT4)


class Int4Gptq(IntegerVariant):
    """4 bits in groups of 64, by calibration."""

    variant = "int4_gptq"
    recipe = Recipe(solver="gptq", grid=_INT4)


class Mixed(IntegerVariant):
    """4 bits, 8 bits or floating point, layer by layer, within ``quantize.mixed``."""

    variant = "mixed"
    recipe = Recipe(solver="gptq", grid=_INT4)

    def _apply(self, model: nn.Module, layers: Sequence[str], request: Request) -> dict[str, str]:
        _refuse_overrides(self.variant, request)
        calibration = to_tensors(request.calibration)
        progress, device = _solving(request), request.compute_device
        recipe, kept = plan_mixed(model, self.recipe, layers, calibration, request, part(progress, 0.0, 0.8))
        chosen = [name for name in layers if name not in kept]
        apply_recipe(model, recipe, chosen, calibration, device=device, progress=part(progress, 0.8, 1.0))
        return kept


class TrainedGrids(IntegerVariant):
    """The very grids that the model was trained for (quantization-aware training)."""

    variant = "qat"

    def _check(self, request: Request) -> None:
        if not request.description.get("quantization_aware"):
            raise ConfigError(
                "qat needs a model trained for its grids, and this one was not. Train it so, or take it out."
            )

    def _vocabulary(self, request: Request) -> Vocabulary:  # noqa: ARG002 -- what was trained has its grid
        return Vocabulary()

    def _unfit(self, name: str, layer: nn.Module, request: Request) -> str | None:
        reason = super()._unfit(name, layer, request)
        if reason is None and name not in request.description["quantization_aware"]:
            return "it was not trained for a grid"
        return reason

    def _apply(self, model: nn.Module, layers: Sequence[str], request: Request) -> dict[str, str]:
        _refuse_overrides(self.variant, request)
        aware = request.description["quantization_aware"]
        for name in layers:
            layer = AwareLayer.from_json(aware[name]).integer_layer(model.get_submodule(name))
            replace_layer(model, name, layer)
        return {}


def _refuse_overrides(variant: str, request: Request) -> None:
    if request.settings.overrides:
        raise ConfigError(f"{variant} chooses every layer's grid itself. Set quantize.overrides={{}}, or take it out.")


def _shares(request: Request) -> tuple[float, float]:
    """Return how far the method is when its layers are solved, and when they are recovered."""
    recovering = _RECOVERING if request.settings.scale_distillation.steps else 0
    comparing = _COMPARING if request.settings.sensitivity_samples else 0
    total = _SOLVING + recovering + comparing
    return _SOLVING / total, (_SOLVING + recovering) / total


def _solving(request: Request) -> Progress:
    return part(request.progress, 0.0, _shares(request)[0])


def _recovered(model: nn.Module, dense: nn.Module, request: Request) -> list[float]:
    """Distil as `quantize.scale_distillation` says; return the divergence at the first and the last step."""
    settings = request.settings.scale_distillation
    if settings.steps == 0 or not integer_layers(model):
        return []
    scale_distillation = ScaleDistillation(
        steps=settings.steps,
        learning_rate=settings.learning_rate,
        batch_size=settings.batch_size,
        zeros=settings.zeros,
    )
    losses = distill_scales(
        model,
        dense,
        to_tensors((*request.calibration, *request.distillation)),
        scale_distillation,
        part(request.progress, *_shares(request)),
        task=request.task,
        device=request.compute_device,
    )
    return [losses[0], losses[-1]]


def _damages(model: nn.Module, dense: nn.Module, request: Request) -> dict[str, LayerDamage]:
    count = request.settings.sensitivity_samples
    if not count:
        return {}
    samples = to_tensors(first_samples(request.calibration, count))
    progress = part(request.progress, _shares(request)[1], 1.0)
    return sensitivity(dense, model, samples, task=request.task, device=request.compute_device, progress=progress)
