"""Quantization: forms of a saved float model in int8. Entry-point group ``overwinter.quantizers``.

- `quantize` makes one form by the name of its method and returns a `QuantizationReport`: which layers were
  quantized, which were left in floating point and why, and whether the zeros of a sparse model are zeros
  still.
- ``int8_static``: weights per output channel, activations by ranges calibrated on the user's data; an ONNX
  graph (QDQ) that ONNX Runtime executes in integers, convolutions included.
- ``int8_dynamic``: weights per output row, activations at run time; torchao's, Linear layers only.

`write_forms` and `read_forms` say which forms there are. A form is a folder that
`overwinter.models.load_description` verifies and `overwinter.runtime` runs.
"""

from overwinter.quantization.forms import read_forms, write_forms
from overwinter.quantization.interface import QuantizationReport, Quantizer, Request
from overwinter.quantization.registry import check_methods, quantize

__all__ = [
    "QuantizationReport",
    "Quantizer",
    "Request",
    "check_methods",
    "quantize",
    "read_forms",
    "write_forms",
]
