"""llm-compressor's GPTQ, 4 bits in groups of 64 with zero points: run by the peer's own Python (`make peers`).

    .venv-peers/llm-compressor/bin/python benchmarks/peers/llm_compressor_gptq.py MODEL CALIBRATION RESULT

MODEL is a folder of transformers; CALIBRATION a safetensors file with `windows` (n, length) of tokens; RESULT gets the
linear layers' weights, quantized and dequantized, by their names. All else is the peer's default.
"""

import sys

from llm_compressor import compressed
from llmcompressor.modifiers.gptq import GPTQModifier
from safetensors.torch import save_file

WEIGHTS = {"num_bits": 4, "type": "int", "symmetric": False, "strategy": "group", "group_size": 64}


def main(model_folder: str, calibration: str, result: str) -> None:
    """Quantize, and write what the weights became."""
    group = {"targets": ["Linear"], "weights": WEIGHTS}
    recipe = GPTQModifier(config_groups={"group_0": group}, ignore=["lm_head"])
    model = compressed(model_folder, calibration, recipe)
    layers = {name: each for name, each in model.named_modules() if hasattr(each, "weight_scale")}
    save_file({name: each.weight.detach().float().contiguous() for name, each in layers.items()}, result)


if __name__ == "__main__":
    main(*sys.argv[1:])
