"""Quantization: variants of a saved float model in 4 or 8 bits. Entry-point group ``overwinter.quantizers``.

- `quantize` makes one variant by the name of its method and returns a `QuantizationReport`: which layers were
  quantized, which were left in floating point and why, and whether the zeros of a sparse model are zeros
  still.
- ``int8_static``: weights per output channel, activations by ranges calibrated on the user's data; an ONNX
  graph (QDQ) that ONNX Runtime executes in integers, convolutions included.
- ``int8_dynamic``: weights per output row, activations at run time; ``fp8_weight_only``; ``fp8_dynamic``, with
  activations in fp8 too, for GPUs that compute in it; all are torchao's, and of Linear layers only.
- ``int8_weight_only``, ``int8_smooth``, ``int8_grouped``, ``int4_nearest``, ``int4_gptq``, ``mixed``,
  ``qat``: Linear and Conv2d as the integer layers of `overwinter.models`, saved as safetensors and loaded bit for bit.
- `apply_recipe` replaces a module's layers by integer layers as a `Recipe` says: 2 to 8 bits, per channel or in
  groups, rounded to nearest, by range search or GPTQ, with SmoothQuant, block by block.
- `recover` distils their scales against the dense model; `sensitivity` says which layer bears quantization badly.
- `calibration_inputs` and `generate_text`: the user's samples, text that the dense model writes itself, or both.
- All of these compute on the device that they are reported; its memory holds one block of a model that stays on the
  CPU, and the whole of one that is recovered, judged layer by layer, or writes. They tell how far they are; that may
  stop them.
- `check_methods` and `check_layer_names` find out before a model is trained whether it can be quantized as asked.

A variant is a folder that `overwinter.models.load_description` verifies and `overwinter.runtime` runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from overwinter.lazy_imports import lazily

if TYPE_CHECKING:
    from overwinter.calibration.generated_text import generate_text
    from overwinter.quantization.checking import check_layer_names
    from overwinter.quantization.interface import QuantizationReport, Quantizer, Request
    from overwinter.quantization.layer_sensitivity import LayerDamage, sensitivity, worst_layers
    from overwinter.quantization.recipe import Recipe, apply_recipe
    from overwinter.quantization.registry import calibration_inputs, check_methods, quantize
    from overwinter.quantization.scale_distillation import ScaleDistillation, distill_scales
    from overwinter.quantization.settings import (
        CalibratedQuantizeConfig,
        GridConfig,
        MixedConfig,
        QuantizeConfig,
        ScaleDistillationConfig,
    )

__all__ = [
    "CalibratedQuantizeConfig",
    "GridConfig",
    "LayerDamage",
    "MixedConfig",
    "QuantizationReport",
    "QuantizeConfig",
    "Quantizer",
    "Recipe",
    "Request",
    "ScaleDistillation",
    "ScaleDistillationConfig",
    "apply_recipe",
    "calibration_inputs",
    "check_layer_names",
    "check_methods",
    "distill_scales",
    "generate_text",
    "quantize",
    "sensitivity",
    "worst_layers",
]

# Loaded when first used: settings are read without torch.
_HOMES = {
    "CalibratedQuantizeConfig": "settings",
    "GridConfig": "settings",
    "LayerDamage": "layer_sensitivity",
    "MixedConfig": "settings",
    "QuantizationReport": "interface",
    "QuantizeConfig": "settings",
    "Quantizer": "interface",
    "Recipe": "recipe",
    "ScaleDistillation": "scale_distillation",
    "ScaleDistillationConfig": "settings",
    "Request": "interface",
    "apply_recipe": "recipe",
    "calibration_inputs": "registry",
    "check_layer_names": "checking",
    "check_methods": "registry",
    "generate_text": "registry",
    "quantize": "registry",
    "distill_scales": "scale_distillation",
    "sensitivity": "layer_sensitivity",
    "worst_layers": "layer_sensitivity",
}

__getattr__ = lazily(__name__, _HOMES)
