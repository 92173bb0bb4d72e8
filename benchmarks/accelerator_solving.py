"""Time of GPTQ on a GPU and on its host's CPU, for blocks as large as those of a model with a billion parameters.

The model is one of transformers' with random weights, as many blocks of `accelerator_model.Shape`'s sizes as are asked
for, quantized as the stage quantize does it: the model in the CPU's memory, one block at a time on the device.
"""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import nn

from accelerator_model import HEAD, QUERIES, Shape
from overwinter.models import CausalLanguageModel, integer_layers, twin
from overwinter.quantization import Recipe, apply_recipe
from overwinter.quantization.integer_variants import Int4Gptq

RECIPE: Recipe = Int4Gptq.recipe
SAMPLES = 16  # prompts to calibrate with
WARM_UP = Shape(layers=1, width=256, hidden=512, vocabulary=64, prompt=8, cache=16)


def solving(shape: Shape, blocks: int, device: torch.device) -> dict[str, Any]:
    """Return the seconds of GPTQ per device, its memory there, and the share of equal codes.

    Args:
        shape: shape of the model; the prompts have its length.
        blocks: how many.
        device: to be compared with the CPU.
    """
    torch.manual_seed(0)
    model = language_model(shape, blocks)
    prompts = torch.randint(shape.vocabulary, (SAMPLES, shape.prompt))
    layers = [name for name, each in model.named_modules() if isinstance(each, nn.Linear) and ".layers." in name]
    found: dict[str, Any] = {"blocks": blocks, "samples": SAMPLES, "tokens": prompts.numel(), "seconds": {}}
    made = {}
    for kind in dict.fromkeys([device.type, "cpu"]):
        warm_up(kind)
        quantized, begin_s = twin(model), time.perf_counter()
        apply_recipe(quantized, RECIPE, layers, prompts, device=kind)
        found["seconds"][kind] = time.perf_counter() - begin_s
        made[kind] = quantized
    if device.type != "cpu":
        found["gpu_memory_bytes"] = torch.cuda.max_memory_allocated(device) - torch.cuda.memory_allocated(device)
        found["codes_in_common"] = common(made["cpu"], made[device.type])
    return found


def language_model(shape: Shape, blocks: int) -> CausalLanguageModel:
    """Return a Llama of such blocks with random weights, on the CPU."""
    heads = shape.width // HEAD
    return CausalLanguageModel(
        config={
            "model_type": "llama",
            "hidden_size": shape.width,
            "intermediate_size": shape.hidden,
            "num_hidden_layers": blocks,
            "num_attention_heads": heads,
            "num_key_value_heads": heads // QUERIES,
            "vocab_size": shape.vocabulary,
            "max_position_embeddings": shape.cache,
            "tie_word_embeddings": True,
        }
    ).eval()


def warm_up(device: str) -> None:
    """Load the libraries that solve, on a small model, and begin to count memory."""
    model = language_model(WARM_UP, 1)
    apply_recipe(model, RECIPE, ["network.model.layers.0.mlp.up_proj"], torch.zeros(1, 8).long(), device=device)
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()


def common(one: nn.Module, other: nn.Module) -> float:
    """Return the share of equal codes."""
    pairs = list(zip(integer_layers(one).values(), integer_layers(other).values(), strict=True))
    same = sum(int((a.get_codes().codes == b.get_codes().codes).sum()) for a, b in pairs)
    return same / sum(a.get_codes().codes.numel() for a, _ in pairs)


def reported(found: dict[str, Any]) -> str:
    """Return the result in one line."""
    times = ", ".join(f"{seconds:.1f} s on {kind}" for kind, seconds in found["seconds"].items())
    more = f"; {found['codes_in_common']:.1%} of the codes equal" if "codes_in_common" in found else ""
    return f"GPTQ of {found['blocks']} blocks on {found['tokens']} tokens: {times}{more}"
