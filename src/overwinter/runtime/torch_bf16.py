"""The runtime `torch-bf16`: eager torch in bfloat16, half the bytes of float32; 4-bit layers by torch's packed kernel.

A language model computes in bfloat16 throughout. Other models run under autocast, because their code may make float32
tensors of its own: products compute in bfloat16, normalisations in float32 (https://docs.pytorch.org/docs/stable/amp.html).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from overwinter.inputs import Inputs, take
from overwinter.models import CausalLanguageModel, load_description, signature_of
from overwinter.models.description import is_language_model
from overwinter.runtime.device import CPU, needed_device, on_gpu
from overwinter.runtime.output_check import check_outputs
from overwinter.runtime.served_layers import Autocast, in_bfloat16
from overwinter.runtime.torch_runtime import (
    TORCH_PACKAGES,
    TorchRuntime,
    load_torch_variant,
    moved,
    torch_session,
)

_TOLERANCE = 0.05  # for outputs compared with float32's, relative to the largest: bfloat16 has 8 bits
_TOKENS = 8  # of a language model's example that are compared


class TorchBf16Runtime(TorchRuntime):
    """Eager torch in bfloat16. On CPUs without bfloat16 instructions it is slow, which the measured joules show.

    On a GPU 4-bit layers use their dequantized weight: the packed kernel is for the CPU.
    """

    name = "torch-bf16"
    packages = TORCH_PACKAGES
    compiles = True

    def refusal(self, description: Mapping[str, Any]) -> str | None:
        """Return why it cannot run this variant: it takes those whose activations are in floating point."""
        quantization = description["quantization"] or {}
        if quantization and "layers" not in quantization and not is_language_model(description):
            return "torchao quantized it, and its layers take no part in autocast"
        if quantization.get("activations") == "float32":
            return "its layers take inputs in float32"
        for name, entry in quantization.get("layers", {}).items():
            if entry["activations"] is not None or entry["smoothed"]:
                return f"the layer {name} quantizes its input, for which torch has no kernel in bfloat16"
            if len(entry["shape"]) != 2:
                return f"the layer {name} is a convolution with an integer weight, for which torch has no kernel"
        return super().refusal(description)

    def build(
        self, model_folder: Path, out: Path, *, examples: Inputs, trusted: Sequence[str], device: str = CPU
    ) -> None:
        """Copy the saved model, and check that its outputs are still float32's, as a rule on the CPU."""
        super().build(model_folder, out, examples=examples, trusted=trusted)
        description = load_description(out)
        reference = device if needed_device(description) else CPU  # what no CPU computes is compared there
        with on_gpu(f"the runtime {self.name!r}", device):
            check_outputs(
                torch_session(self.load(out, trusted=trusted, device=device), device),
                torch_session(TorchRuntime().load(out, trusted=trusted, device=reference), reference),
                take(examples, (slice(1), slice(_TOKENS))) if is_language_model(description) else examples,
                signature=signature_of(description),
                tolerance=_TOLERANCE,
                who="In bfloat16 the outputs differ from float32's",
                remedy="Remove torch-bf16 from evaluate.runtimes.",
            )

    def load(self, folder: Path, *, trusted: Sequence[str], device: str = CPU) -> nn.Module:
        """Rebuild the module as it is served, from a saved model or from what `build` wrote."""
        model, packed = load_torch_variant(folder, trusted=trusted), device == CPU
        if isinstance(model, CausalLanguageModel):
            return moved(in_bfloat16(model, packed=packed), device)
        return Autocast(moved(in_bfloat16(model, packed=packed, norms=False), device), device)
