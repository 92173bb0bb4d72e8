"""The runtime `torch-bf16`: a language model in eager torch, in bfloat16, its 4-bit layers by torch's packed kernel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from overwinter.errors import OverwinterError
from overwinter.models import CausalLanguageModel, load_description
from overwinter.runtime.device import CPU, needed_device
from overwinter.runtime.served_layers import in_bfloat16
from overwinter.runtime.session import Array, largest_difference
from overwinter.runtime.torch_runtime import LANGUAGE_TARGET, TORCH_PACKAGES, TorchRuntime, load_torch_variant, moved

_TOLERANCE = 0.05  # for outputs compared with float32's, relative to the largest logit: bfloat16 has 8 bits
_TOKENS = 8  # of an example that are compared


class TorchBf16Runtime(TorchRuntime):
    """Eager torch in bfloat16. On CPUs without bfloat16 instructions it is slow, which the measured joules show.

    On a GPU 4-bit layers use their dequantized weight: the packed kernel is for the CPU.
    """

    name = "torch-bf16"
    packages = TORCH_PACKAGES
    compiles = True

    def refusal(self, description: Mapping[str, Any]) -> str | None:
        """Return why it cannot run this variant: it takes language models whose activations are in floating point."""
        if description["model"].get("_target_") != LANGUAGE_TARGET:
            return "it runs language models only"
        quantization = description["quantization"] or {}
        if quantization.get("activations") == "float32":
            return "its layers take inputs in float32"
        layers = quantization.get("layers", {})
        quantized = [name for name, entry in layers.items() if entry["activations"] is not None or entry["smoothed"]]
        if quantized:
            return f"the layer {quantized[0]} quantizes its input, for which torch has no kernel in bfloat16"
        return super().refusal(description)

    def build(
        self, model_folder: Path, out: Path, *, examples: Array, trusted: Sequence[str], device: str = CPU
    ) -> None:
        """Copy the saved model, and check that its outputs are still float32's, as a rule on the CPU."""
        super().build(model_folder, out, examples=examples, trusted=trusted)
        tokens = torch.from_numpy(examples[:1, :_TOKENS])
        reference = device if needed_device(load_description(out)) else CPU  # what no CPU computes is compared there
        expected = _outputs(TorchRuntime().load(out, trusted=trusted, device=reference), tokens, reference)
        given_output = _outputs(self.load(out, trusted=trusted, device=device), tokens, device)
        difference = largest_difference(given_output.numpy(), expected.numpy())
        if difference > _TOLERANCE:
            raise OverwinterError(
                f"In bfloat16 the outputs differ from float32's by {difference:.2g} of the largest logit; allowed are "
                f"{_TOLERANCE:g}. Take torch-bf16 out of evaluate.runtimes."
            )

    def load(self, folder: Path, *, trusted: Sequence[str], device: str = CPU) -> nn.Module:
        """Rebuild the module as it is served, from a saved model or from what `build` wrote."""
        return moved(in_bfloat16(load_torch_variant(folder, trusted=trusted), packed=device == CPU), device)


def _outputs(model: nn.Module, tokens: torch.Tensor, device: str) -> torch.Tensor:
    assert isinstance(model, CausalLanguageModel), type(model)  # noqa: S101 -- refused otherwise
    with torch.inference_mode():
        logits: torch.Tensor = model(tokens.to(device))  # (1, tokens, vocabulary)
    return logits.cpu()
