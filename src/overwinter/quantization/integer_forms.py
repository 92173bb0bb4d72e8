"""Forms of integer layers: ``weights.safetensors`` and ``model.json``, which `overwinter.models.load_model` loads."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from overwinter.errors import ConfigError, OverwinterError
from overwinter.models import (
    Grid,
    integer_form,
    integer_layers,
    load_model,
    prunable_weights,
    replace_layer,
    save_model,
    stored_bytes,
    twin,
)
from overwinter.models.aware import AwareLayer
from overwinter.progress import Progress, part
from overwinter.quantization.checking import check_patterns, skipping_pattern
from overwinter.quantization.interface import QuantizationReport, Request
from overwinter.quantization.mixed import plan_mixed
from overwinter.quantization.recipe import Recipe, apply_recipe
from overwinter.quantization.recovery import Recovery, recover
from overwinter.quantization.sensitivity import LayerDamage, sensitivity

_INT4 = Grid(bits=4, group_size=64, symmetric=False)
_SOLVING, _RECOVERING, _JUDGING = 4, 6, 2  # parts of a method's time, roughly, of those that it takes


class IntegerForm:
    """Makes a form by a recipe: choose the layers, quantize, recover, check the zeros, save, check the round trip."""

    form: str
    recipe: Recipe

    def quantize(self, request: Request) -> QuantizationReport:
        """Quantize in place and save; see `Quantizer`."""
        model, settings = request.model, request.settings
        left = self._left_in_float(model, request)
        wanted = [name for name in _layers(model) if name not in left]
        self._refuse_nothing(wanted, left)
        check_patterns("quantize.overrides", list(settings.overrides), wanted)
        dense = twin(model) if settings.recovery.steps or settings.sensitivity_samples else model
        weights = {name: _weight(model, name) for name in wanted}  # not copied: as a rule pages of the model's file
        untied = _tied(model, wanted)
        kept = self._apply(model, wanted, request)
        quantized = [name for name in wanted if name not in kept]
        divergences = _recovered(model, dense, request)
        counts = _check_zeros(model, {name: weights[name] for name in quantized})
        damages = _damages(model, dense, request)
        more = {"recovery_nats": divergences, "sensitivity": {name: each.to_json() for name, each in damages.items()}}
        untied = [name for name in untied if name in quantized]
        saved = self._save(request, left | kept, untied, more)
        return QuantizationReport(
            quantized=tuple(quantized),
            left_in_float=left | kept,
            untied=tuple(untied),
            zeros_before=counts[0],
            zeros_after=counts[1],
            size_bytes=stored_bytes(saved),
            float_size_bytes=stored_bytes(request.description),
            sensitivity=damages,
        )

    def _apply(self, model: nn.Module, layers: Sequence[str], request: Request) -> dict[str, str]:
        """Quantize in place; return the layers that were left in floating point after all, and why."""
        overrides = {name: Grid(**vars(grid)) for name, grid in request.settings.overrides.items()}
        recipe = dataclasses.replace(self.recipe, overrides=overrides)
        calibration, device = torch.from_numpy(request.calibration), request.compute_device
        apply_recipe(model, recipe, layers, calibration, device=device, progress=_solving(request))
        return {}

    def _left_in_float(self, model: nn.Module, request: Request) -> dict[str, str]:
        left = {}
        for name in _layers(model):
            layer = model.get_submodule(name)
            pattern = skipping_pattern(name, request.settings.skip)
            if pattern is not None:
                left[name] = f"quantize.skip names {pattern!r}"
            elif integer_form(layer) is None:
                left[name] = f"{self.form} serves Linear and Conv2d, not {type(layer).__name__}"
        return left

    def _refuse_nothing(self, wanted: Sequence[str], left: Mapping[str, str]) -> None:
        if wanted:
            return
        reasons = "; ".join(f"{layer}: {reason}" for layer, reason in left.items()) or "none of them has a weight"
        raise ConfigError(f"{self.form} serves none of the model's layers: {reasons}. Take it out of quantize.methods.")

    def _save(
        self, request: Request, left: Mapping[str, str], untied: Sequence[str], more: Mapping[str, Any]
    ) -> dict[str, Any]:
        saved = save_model(
            request.out,
            request.model,
            form=self.form,
            model_config=request.description["model"],
            input_shape=request.description["input_shape"],
            lineage=request.lineage,
            quantization={"method": self.form, "left_in_float": dict(left), "untied": list(untied), **more},
        )
        loaded = load_model(request.out, trusted=request.trusted).state_dict()
        if any(not torch.equal(tensor, loaded[name]) for name, tensor in request.model.state_dict().items()):
            raise OverwinterError(f"{request.out} does not hold what was saved. Take {self.form} out of the methods.")
        return saved


class Int8WeightOnly(IntegerForm):
    """8 bits in groups of 64; activations stay in floating point.

    With one scale per output channel, SmolLM2's divergence from dense is twice as large.
    """

    form = "int8_weight_only"
    recipe = Recipe(solver="nearest", grid=Grid(bits=8, group_size=64))


class Int8Grouped(IntegerForm):
    """8 bits in groups of 64, of weights and, at run time, of activations, whose outliers are moved first.

    On SmolLM2 the divergence from dense is a quarter of that with one range per token.
    """

    form = "int8_grouped"
    recipe = Recipe(
        solver="nearest",
        grid=Grid(bits=8, group_size=64),
        activations="dynamic",
        activation_group_size=64,
        smoothing=0.5,
    )


class Int8Smooth(IntegerForm):
    """8 bits per output channel, activations at run time, their outliers moved into the weights first."""

    form = "int8_smooth"
    recipe = Recipe(solver="nearest", grid=Grid(bits=8), activations="dynamic", smoothing=0.7)


class Int4Nearest(IntegerForm):
    """4 bits in groups of 64, rounded to nearest."""

    form = "int4_nearest"
    recipe = Recipe(solver="nearest", grid=_INT4)


class Int4Hqq(IntegerForm):
    """4 bits in groups of 64, without data."""

    form = "int4_hqq"
    recipe = Recipe(solver="hqq", grid=_INT4)


class Int4Gptq(IntegerForm):
    """4 bits in groups of 64, by calibration."""

    form = "int4_gptq"
    recipe = Recipe(solver="gptq", grid=_INT4)


class Mixed(IntegerForm):
    """4 bits, 8 bits or floating point, layer by layer, within ``quantize.mixed``."""

    form = "mixed"
    recipe = Recipe(solver="gptq", grid=_INT4)

    def _apply(self, model: nn.Module, layers: Sequence[str], request: Request) -> dict[str, str]:
        _refuse_overrides(self.form, request)
        calibration = torch.from_numpy(request.calibration)
        progress, device = _solving(request), request.compute_device
        recipe, kept = plan_mixed(model, self.recipe, layers, calibration, request, part(progress, 0.0, 0.8))
        chosen = [name for name in layers if name not in kept]
        apply_recipe(model, recipe, chosen, calibration, device=device, progress=part(progress, 0.8, 1.0))
        return kept


class TrainedGrids(IntegerForm):
    """The very grids that the model was trained for (quantization-aware training)."""

    form = "qat"

    def _left_in_float(self, model: nn.Module, request: Request) -> dict[str, str]:
        aware = request.description.get("quantization_aware")
        if not aware:
            raise ConfigError(
                "qat needs a model trained for its grids, and this one was not. Train it so, or take it out."
            )
        untrained = {name: "it was not trained for a grid" for name in _layers(model) if name not in aware}
        return untrained | super()._left_in_float(model, request)

    def _apply(self, model: nn.Module, layers: Sequence[str], request: Request) -> dict[str, str]:
        _refuse_overrides(self.form, request)
        aware = request.description["quantization_aware"]
        for name in layers:
            layer = AwareLayer.from_json(aware[name]).integer_layer(model.get_submodule(name))
            replace_layer(model, name, layer)
        return {}


def _refuse_overrides(form: str, request: Request) -> None:
    if request.settings.overrides:
        raise ConfigError(f"{form} chooses every layer's grid itself. Set quantize.overrides={{}}, or take it out.")


def _layers(model: nn.Module) -> list[str]:
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    return list(dict.fromkeys([*prunable_weights(model), *linear]))


def _weight(model: nn.Module, name: str) -> torch.Tensor:
    return model.get_parameter(f"{name}.weight").detach()


def _tied(model: nn.Module, layers: Sequence[str]) -> list[str]:
    """Return the layers whose weight has another name too: quantized, each gets its own."""
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    shared = {name for group in names.values() if len(group) > 1 for name in group}
    return [layer for layer in layers if f"{layer}.weight" in shared]


def _shares(request: Request) -> tuple[float, float]:
    """Return how far the method is when its layers are solved, and when they are recovered."""
    recovering = _RECOVERING if request.settings.recovery.steps else 0
    judging = _JUDGING if request.settings.sensitivity_samples else 0
    total = _SOLVING + recovering + judging
    return _SOLVING / total, (_SOLVING + recovering) / total


def _solving(request: Request) -> Progress:
    return part(request.progress, 0.0, _shares(request)[0])


def _recovered(model: nn.Module, dense: nn.Module, request: Request) -> list[float]:
    """Distil as `quantize.recovery` says; return the divergence at the first and the last step."""
    settings = request.settings.recovery
    if settings.steps == 0 or not integer_layers(model):
        return []
    recovery = Recovery(
        steps=settings.steps,
        learning_rate=settings.learning_rate,
        batch_size=settings.batch_size,
        zeros=settings.zeros,
    )
    samples, progress = [torch.from_numpy(request.calibration)], part(request.progress, *_shares(request))
    losses = recover(model, dense, samples, recovery, progress, device=request.compute_device)
    return [losses[0], losses[-1]]


def _damages(model: nn.Module, dense: nn.Module, request: Request) -> dict[str, LayerDamage]:
    count = request.settings.sensitivity_samples
    samples = torch.from_numpy(request.calibration[:count])
    progress = part(request.progress, _shares(request)[1], 1.0)
    return sensitivity(dense, model, samples, device=request.compute_device, progress=progress) if count else {}


def _check_zeros(model: nn.Module, weights: Mapping[str, torch.Tensor]) -> tuple[int, int]:
    """Count zero weights before, in the float weights, and after, and refuse if one was lost."""
    before = after = 0
    integers = integer_layers(model)
    for name, weight in weights.items():
        was_zero, is_zero = weight == 0, integers[name].zeros()
        if bool((was_zero & ~is_zero).any()):
            raise OverwinterError(
                f"Quantizing turned zero weights of the layer {name} into others. Add it to quantize.skip."
            )
        before, after = before + int(was_zero.count_nonzero()), after + int(is_zero.count_nonzero())
    return before, after
