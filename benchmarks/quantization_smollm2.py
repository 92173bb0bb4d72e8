"""SmolLM2-135M quantized: perplexity over dense inside and outside the calibration's domain, and KL to dense.

Usage: ``quantization_smollm2.py [METHOD ...]``. Results of earlier methods in the result file are kept, so that the
table can be made in slices.
"""

from __future__ import annotations

import copy
import json
import sys
import time
from typing import Any

import torch

import common
import smollm2
from overwinter.models import Grid
from overwinter.quantization import Recipe, apply_recipe

NAME = "quantization_smollm2"
INT4 = Grid(bits=4, group_size=64, symmetric=False)
METHODS = {
    "int8_weight_only": Recipe(solver="nearest", grid=Grid(bits=8, group_size=64)),
    "int8_weight_only_per_channel": Recipe(solver="nearest", grid=Grid(bits=8)),
    "int8_dynamic": Recipe(solver="nearest", grid=Grid(bits=8), activations="dynamic"),
    "int8_dynamic_smooth": Recipe(solver="nearest", grid=Grid(bits=8), activations="dynamic", smoothing=0.7),
    "int4_gptq": Recipe(solver="gptq", grid=INT4),
    "int4_nearest": Recipe(solver="nearest", grid=INT4),
    "int4_hqq": Recipe(solver="hqq", grid=INT4),
}


def main(names: list[str]) -> None:
    """Score the dense model and each method on the same windows, and write the table after each."""
    torch.set_num_threads(2)
    dense, tokenizer = smollm2.load()
    calibration, scored = smollm2.calibration_windows(tokenizer), smollm2.scored_windows(tokenizer)
    reference = {domain: smollm2.reference(dense, windows) for domain, windows in scored.items()}
    path = common.RESULTS / f"{NAME}.json"
    rows: dict[str, Any] = json.loads(path.read_text())["rows"] if path.exists() else {}
    for name in names or METHODS:
        model, begun = copy.deepcopy(dense), time.perf_counter()
        apply_recipe(model, METHODS[name], smollm2.block_layers(model), calibration)
        rows[name] = {"seconds": time.perf_counter() - begun}
        for domain, windows in scored.items():
            losses, logits = reference[domain]
            scores, divergences = smollm2.score(model, windows, logits)
            rows[name][domain] = smollm2.ratio(scores, losses) | {"kl_nats": sum(divergences) / len(divergences)}
        print(name, rows[name], flush=True)
        common.write_result(NAME, {"dense": "dequantized Q4_1 GGUF", "threads": torch.get_num_threads(), "rows": rows})


if __name__ == "__main__":
    main(sys.argv[1:])
