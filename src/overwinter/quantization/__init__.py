"""Quantization: forms of a saved float model in 4 or 8 bits. Entry-point group ``overwinter.quantizers``.

- `quantize` makes one form by the name of its method and returns a `QuantizationReport`: which layers were
  quantized, which were left in floating point and why, and whether the zeros of a sparse model are zeros
  still.
- ``int8_static``: weights per output channel, activations by ranges calibrated on the user's data; an ONNX
  graph (QDQ) that ONNX Runtime executes in integers, convolutions included.
- ``int8_dynamic``: weights per output row, activations at run time; torchao's, Linear layers only.
- ``int8_weight_only``, ``int8_smooth``, ``int4_nearest``, ``int4_hqq``, ``int4_gptq``, ``qat``: Linear and Conv2d as
  the integer layers of `overwinter.models`, saved as safetensors and loaded bit for bit.
- `apply_recipe` replaces a module's layers by integer layers as a `Recipe` says: 2 to 8 bits, per channel or in
  groups, rounded to nearest, by range search, HQQ or GPTQ, with SmoothQuant, block by block.

`write_forms` and `read_forms` say which forms there are. A form is a folder that
`overwinter.models.load_description` verifies and `overwinter.runtime` runs.
"""

from overwinter.quantization.forms import read_forms, write_forms
from overwinter.quantization.interface import QuantizationReport, Quantizer, Request
from overwinter.quantization.recipe import Recipe, apply_recipe
from overwinter.quantization.registry import check_methods, quantize

__all__ = [
    "QuantizationReport",
    "Quantizer",
    "Recipe",
    "Request",
    "apply_recipe",
    "check_methods",
    "quantize",
    "read_forms",
    "write_forms",
]
