"""Putting fake-quantizers into a model, leading them through its training, and taking them out again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from overwinter.config.groups import TrainConfig
from overwinter.errors import ConfigError, nearest
from overwinter.models import (
    AwareLayer,
    StepHook,
    computed_weights,
    integer_type,
    other_weights,
    prunable_weights,
)
from overwinter.training.qat.quantizers import InputQuantizer, Phase, WeightQuantizer, weight_quantizer
from overwinter.training.qat.settings import QatConfig

_INPUT = "input_quantizer"
_NORMALISATIONS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def make_aware(model: nn.Module, train: TrainConfig) -> Awareness:
    """Put fake-quantizers into ``model``, in place, if ``train`` has settings ``qat``.

    Hooks that change weights (a mask) must hold them already: afterwards ``layer.weight`` is a computed tensor.

    Raises:
        ConfigError: a pattern in ``qat.skip`` fits no layer, or no layer is left to quantize.
    """
    settings = train.quantization_aware()
    if settings is None:
        return Awareness(model, {}, {}, QatConfig(start_fraction=0.0, freeze_fraction=1.0))
    left = _left_in_float(model, settings.skip)
    layers = {name: model.get_submodule(name) for name in prunable_weights(model) if name not in left}
    if not layers:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in left.items()) or "none of them has a weight"
        raise ConfigError(f"train.qat serves none of the model's layers: {reasons}. Train without train.qat.")
    for layer in layers.values():
        _insert(layer, settings)
    return Awareness(model, layers, left, settings)


class Awareness:
    """The fake-quantizers of a model and the hook that leads them: watching, quantizing, frozen.

    Batch normalisation stays a module of its own, behind weights whose scales are per output channel: anyone who
    folds it multiplies scales, and the codes stay. Once frozen it uses its running statistics in training too,
    so that what is trained is what will be served.

    Attributes:
        left_in_float: layer with weights -> why it is not quantized.
    """

    def __init__(
        self, model: nn.Module, layers: Mapping[str, nn.Module], left_in_float: Mapping[str, str], settings: QatConfig
    ) -> None:
        self.left_in_float = left_in_float
        self._model, self._layers = model, layers
        self._start_fraction, self._freeze_fraction = settings.start_fraction, settings.freeze_fraction
        self._step = self._total = 0
        self._normalisations = [each for each in model.modules() if isinstance(each, _NORMALISATIONS)]
        self._handle = model.register_forward_pre_hook(self._still_normalisations)
        self._phase = Phase.WATCHING
        relaxation = settings.relaxation()
        self._final_noise_share = 1.0 if relaxation is None else relaxation.final_noise_share

    @property
    def hooks(self) -> Sequence[StepHook]:
        """What `fit` has to call: nothing for a model that is trained as it is."""
        return [self] if self._layers else []

    def before_step(self, step: int, total: int) -> None:
        """Leave the gradients alone."""

    def after_step(self, step: int, total: int) -> None:
        """Go on to the next phase when its time has come."""
        self._step, self._total = step, total
        due = self._due()
        if due is not self._phase:
            self._enter(due)
        elif due is Phase.QUANTIZING:
            self._set_phase(due)

    def settled(self, step: int, total: int) -> bool:
        """Whether the scales stand still."""
        return step >= self._freeze_step(total)

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return how far the training is; all else is in the model's own state."""
        return {"step": torch.tensor(self._step), "total": torch.tensor(self._total)}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Go on in the phase in which the training was; scales come with the model's state."""
        self._step, self._total = int(state["step"]), int(state["total"])
        self._set_phase(self._due())

    def finish(self) -> dict[str, Any] | None:
        """Take the fake-quantizers out, leave the weights on their grids, and return those for `save_model`.

        If the ranges were only watched so far, this is plain rounding to nearest.

        Returns:
            layer name -> `AwareLayer.to_json`; None for a model that was trained as it is.
        """
        self._handle.remove()
        if self._phase is not Phase.FROZEN:
            self._enter(Phase.FROZEN)
        return {name: _take_out(layer).to_json() for name, layer in self._layers.items()} or None

    def _due(self) -> Phase:
        if self._step < self._start_step(self._total):
            return Phase.WATCHING
        return Phase.FROZEN if self._step >= self._freeze_step(self._total) else Phase.QUANTIZING

    def _start_step(self, total: int) -> int:
        return max(1, round(self._start_fraction * total))

    def _freeze_step(self, total: int) -> int:
        return max(1, round(self._freeze_fraction * total))

    def _enter(self, phase: Phase) -> None:
        if self._phase is Phase.WATCHING:
            self._adopt_ranges()
        elif phase is Phase.FROZEN:
            self._adopt_weights_where_observed()
        self._set_phase(phase)

    def _set_phase(self, phase: Phase) -> None:
        self._phase = phase
        for layer in self._layers.values():
            for quantizer in (weight_quantizer(layer), _input_quantizer(layer)):
                if quantizer is not None:
                    quantizer.phase, quantizer.noise_share = phase, self._noise_share()

    def _noise_share(self) -> float:
        """Falls in a line while the scales are learned, so that statistics in the end are of the grid without noise."""
        begin, end = self._start_step(self._total), self._freeze_step(self._total)
        passed = min(1.0, max(0.0, (self._step - begin) / max(1, end - begin)))
        return 1.0 + (self._final_noise_share - 1.0) * passed

    def _adopt_ranges(self) -> None:
        for layer in self._layers.values():
            weight_quantizer(layer).observe(_trained_weight(layer))
            if (quantizer := _input_quantizer(layer)) is not None:
                quantizer.adopt_range()

    def _adopt_weights_where_observed(self) -> None:
        """The optimizer has stepped since the last forward pass observed the weights."""
        for layer in self._layers.values():
            quantizer = weight_quantizer(layer)
            if quantizer.log_scale is None:
                quantizer.observe(_trained_weight(layer))

    def _still_normalisations(self, _model: nn.Module, _inputs: Any) -> None:
        if self._phase is Phase.FROZEN:
            for module in self._normalisations:
                module.eval()


def _left_in_float(model: nn.Module, skip: Sequence[str]) -> dict[str, str]:
    layers = prunable_weights(model)
    for pattern in skip:
        if not any(fnmatchcase(name, pattern) for name in layers):
            raise ConfigError(
                f"train.qat.skip names {pattern!r}, which fits no layer. Layers: {', '.join(layers)}."
                f"{nearest(pattern, list(layers))}"
            )
    shared, computed = _shared(model), computed_weights(model)
    reasons = {
        name: computed.get(name) or _reason_against(name, model.get_submodule(name), skip, shared) for name in layers
    }
    return {name: reason for name, reason in reasons.items() if reason is not None} | other_weights(model)


def _reason_against(name: str, layer: nn.Module, skip: Sequence[str], shared: set[int]) -> str | None:
    pattern = next((pattern for pattern in skip if fnmatchcase(name, pattern)), None)
    if pattern is not None:
        return f"train.qat.skip names {pattern!r}"
    if integer_type(layer) is None:
        return f"there is no integer version of {type(layer).__name__}"
    if id(layer.weight) in shared:
        return "its weight is another layer's too"
    return None


def _shared(model: nn.Module) -> set[int]:
    """Return the ids of parameters that stand at two places of the model."""
    seen: set[int] = set()
    twice: set[int] = set()
    for _, parameter in model.named_parameters(remove_duplicate=False):
        (twice if id(parameter) in seen else seen).add(id(parameter))
    return twice


def _insert(layer: nn.Module, settings: QatConfig) -> None:
    weight = _trained_weight(layer)
    parametrize.register_parametrization(layer, "weight", WeightQuantizer(weight, settings).to(weight.device))
    if settings.activation_bits is not None:
        quantizer = InputQuantizer(settings.activation_bits, settings).to(weight.device)
        layer.add_module(_INPUT, quantizer)
        quantizer.stand_before(layer)


def _take_out(layer: nn.Module) -> AwareLayer:
    weights, inputs = weight_quantizer(layer), _input_quantizer(layer)
    learned = AwareLayer(
        grid=weights.grid,
        scale=weights.current_scale().detach().cpu().clone(),
        zero=None if weights.zero is None else weights.zero.cpu().to(torch.uint8),
        activation_bits=None if inputs is None else inputs.grid.bits,
        activation_scale=None if inputs is None else float(inputs.current_scale().detach()),
        activation_zero=None if inputs is None or inputs.zero is None else int(inputs.zero),
    )
    parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
    if inputs is not None:
        inputs.bypass()
        delattr(layer, _INPUT)
    return learned


def _input_quantizer(layer: nn.Module) -> InputQuantizer | None:
    found = getattr(layer, _INPUT, None)
    return found if isinstance(found, InputQuantizer) else None


def _trained_weight(layer: nn.Module) -> torch.Tensor:
    if parametrize.is_parametrized(layer, "weight"):
        # Torch types it as a tensor or a module
        original: torch.Tensor = layer.parametrizations["weight"].original  # type: ignore[index,union-attr]
        return original
    weight: torch.Tensor = layer.weight  # type: ignore[assignment]  # likewise
    return weight
