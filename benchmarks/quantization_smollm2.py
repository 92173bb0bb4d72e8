"""SmolLM2-135M quantized: perplexity over dense inside and outside the calibration's domain, and KL to dense.

Usage: ``quantization_smollm2.py [--keep FOLDER] [METHOD ...]``. Results of earlier methods in the result file are kept,
so that the table can be made in slices. With ``--keep`` the dear parts of a method (text that the model wrote, GPTQ's
codes) are kept with what they cost, for a later run to go on from; a row's seconds are those of all its parts.
``torchao_*``, ``llm_compressor_*`` and ``auto_round_*`` are the peers' own methods, on the same layers and windows
(``make peers``).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import smollm2
from overwinter.config import Project, compose, validate
from overwinter.models import Grid, integer_layers
from overwinter.models.swapping import swap_in
from overwinter.quantization import Recipe, ScaleDistillation, apply_recipe, distill_scales, generate_text
from overwinter.runtime import import_torchao
from overwinter.tasks import LanguageModeling
from smollm2_table import Work, make_table, peer

NAME = "quantization_smollm2"
INT4 = Grid(bits=4, group_size=64, symmetric=False)
INT8 = Grid(bits=8, group_size=64)
_ROOT = Path(__file__).parents[1]
_CASE = Project(root=_ROOT / "pipelines/smollm2", configs=_ROOT / "configs", config_name="smollm2")
# What `overwinter -C pipelines/smollm2 run quantize=int4_distilled` does: windows of plays, and of the model's own.
DISTILLED: Any = validate(compose(_CASE, ["quantize=int4_distilled"])).quantize
CALIBRATION = DISTILLED.calibration_samples


@dataclass(frozen=True, kw_only=True)
class Ours:
    """A recipe on the calibration windows.

    And the scale distillation after it on them and on what the model wrote itself.
    """

    recipe: Recipe
    scale_distillation: ScaleDistillation | None = None

    def __call__(self, work: Work, model: Any, dense: Any, calibration: torch.Tensor) -> None:
        """Quantize ``model`` in place."""
        layers = smollm2.block_layers(model)
        state = work.kept_part(self._name(), lambda: self._codes(copy.deepcopy(model), layers, calibration))
        swap_in(model, state["described"])
        _load(model, state["layers"])
        if self.scale_distillation is not None:
            scale_distillation = self.scale_distillation
            written = work.kept_part("generated", lambda: _written(dense))
            samples = [calibration, written]
            name = f"recovered_{scale_distillation.steps}_{scale_distillation.learning_rate}"
            _load(model, work.kept_part(name, lambda: _recovered(model, dense, samples, scale_distillation)))

    def _name(self) -> str:
        grid, extra = self.recipe.grid, self.recipe.activation_group_size
        return f"{self.recipe.solver}_{grid.bits}_{grid.group_size}_{self.recipe.activations}_{extra}"

    def _codes(self, model: Any, layers: list[str], calibration: torch.Tensor) -> dict[str, Any]:
        apply_recipe(model, self.recipe, layers, calibration)
        integers = integer_layers(model)
        return {
            "described": {name: layer.describe() for name, layer in integers.items()},
            "layers": _states(model),
        }


def _recovered(
    model: Any, dense: Any, samples: list[torch.Tensor], scale_distillation: ScaleDistillation
) -> dict[str, Any]:
    distill_scales(model, dense, samples, scale_distillation, _reported, task=LanguageModeling(()))
    return _states(model)


def _states(model: Any) -> dict[str, Any]:
    return {name: layer.state_dict() for name, layer in integer_layers(model).items()}


def _load(model: Any, states: dict[str, Any]) -> None:
    for name, layer in integer_layers(model).items():
        layer.load_state_dict(states[name], assign=True)


def torchao(name: str, **settings: Any) -> Callable[..., None]:
    """The peer's method of that name, on the layers of the blocks."""

    def quantize(work: Work, model: Any, _dense: Any, _calibration: torch.Tensor) -> None:
        library, layers = import_torchao(), set(smollm2.block_layers(model))
        config = getattr(library, name)(**settings)
        work.part(name, lambda: library.quantize_(model, config, filter_fn=lambda _, at: at in layers))

    return quantize


def _written(dense: Any) -> torch.Tensor:
    return generate_text(dense, DISTILLED.written_windows, smollm2.WINDOW, seed=0)


def _reported(done: int, total: int) -> None:
    print(f"scale distillation {done} of {total}", flush=True)


METHODS: dict[str, Callable[..., None]] = {
    "int8_weight_only": Ours(recipe=Recipe(solver="nearest", grid=INT8)),
    "int8_weight_only_per_channel": Ours(recipe=Recipe(solver="nearest", grid=Grid(bits=8))),
    "int8_dynamic": Ours(recipe=Recipe(solver="nearest", grid=Grid(bits=8), activations="dynamic")),
    "int8_dynamic_smooth": Ours(
        recipe=Recipe(solver="nearest", grid=Grid(bits=8), activations="dynamic", smoothing=0.7)
    ),
    "int8_dynamic_grouped": Ours(
        recipe=Recipe(solver="nearest", grid=INT8, activations="dynamic", activation_group_size=64, smoothing=0.5)
    ),
    "int4_nearest": Ours(recipe=Recipe(solver="nearest", grid=INT4)),
    "int4_gptq": Ours(recipe=Recipe(solver="gptq", grid=INT4)),
    "int4_distilled": Ours(
        recipe=Recipe(solver="gptq", grid=INT4),
        scale_distillation=ScaleDistillation(**vars(DISTILLED.scale_distillation)),
    ),
    "torchao_int8_weight_only": torchao("Int8WeightOnlyConfig", set_inductor_config=False, version=2),
    "llm_compressor_int4_gptq": peer("llm-compressor", "llm_compressor_gptq.py"),
    "auto_round_int4": peer("auto-round", "auto_round_int4.py"),
    "torchao_int8_dynamic": torchao("Int8DynamicActivationInt8WeightConfig", set_inductor_config=False, version=2),
}


if __name__ == "__main__":
    make_table(NAME, METHODS, calibration_windows=CALIBRATION, about=__doc__)
