"""A base that was never quantized: all-MiniLM-L6-v2 in 4 and 8 bits, by agreement with its own float32 outputs.

SmolLM2's base (`quantization_smollm2`) was dequantized from a 4-bit file; this one was not.
"""

from __future__ import annotations

import copy
import time
from typing import Any

import torch

import common
import minilm
from overwinter.models import Grid
from overwinter.quantization import Recipe, apply_recipe
from overwinter.runtime import import_torchao

NAME = "quantization_minilm"
INT4 = Grid(bits=4, group_size=64, symmetric=False)
INT8 = Grid(bits=8, group_size=64)
RECIPES = {
    "int8_weight_only": Recipe(solver="nearest", grid=INT8),
    "int8_dynamic_smooth": Recipe(solver="nearest", grid=Grid(bits=8), activations="dynamic", smoothing=0.7),
    "int8_dynamic_grouped": Recipe(
        solver="nearest", grid=INT8, activations="dynamic", activation_group_size=64, smoothing=0.5
    ),
    "int4_nearest": Recipe(solver="nearest", grid=INT4),
    "int4_gptq": Recipe(solver="gptq", grid=INT4),
}
PEERS = ("Int8WeightOnlyConfig", "Int8DynamicActivationInt8WeightConfig")


def main() -> None:
    """Embed the same windows with every variant, and write the table."""
    torch.set_num_threads(2)
    dense, tokenizer = minilm.load()
    calibration, scored = minilm.calibration_windows(tokenizer), minilm.scored_windows(tokenizer)
    wanted = {domain: minilm.embed(dense, windows) for domain, windows in scored.items()}
    rows: dict[str, Any] = {}
    for name in [*RECIPES, *PEERS]:
        model, begun = copy.deepcopy(dense), time.perf_counter()
        quantize(model, name, calibration)
        rows[name] = {"seconds": time.perf_counter() - begun}
        for domain, windows in scored.items():
            rows[name][domain] = minilm.agreement(minilm.embed(model, windows), wanted[domain])
        print(name, rows[name], flush=True)
    common.write_result(NAME, {"windows": minilm.SCORED, "tokens": minilm.WINDOW, "rows": rows})


def quantize(model: minilm.Encoder, name: str, calibration: torch.Tensor) -> None:
    """Quantize in place by one of our recipes, or by torchao's configuration of that name."""
    layers = minilm.block_layers(model)
    if name in RECIPES:
        apply_recipe(model, RECIPES[name], layers, calibration)
        return
    torchao = import_torchao()
    config = getattr(torchao, name)(set_inductor_config=False, version=2)
    torchao.quantize_(model, config, filter_fn=lambda _module, at: at in layers)


if __name__ == "__main__":
    main()
