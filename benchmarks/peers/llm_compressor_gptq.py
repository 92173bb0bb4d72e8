"""llm-compressor's GPTQ, 4 bits in groups of 64 with zero points: run by the peer's own Python (`make peers`).

    .venv-peers/llm-compressor/bin/python benchmarks/peers/llm_compressor_gptq.py MODEL CALIBRATION RESULT

MODEL is a folder of transformers; CALIBRATION a safetensors file with `windows` (n, length) of tokens; RESULT gets the
linear layers' weights, quantized and dequantized, by their names. All else is the peer's default.
"""

import sys

import torch
from datasets import Dataset
from llmcompressor import oneshot
from llmcompressor.modifiers.gptq import GPTQModifier
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

WEIGHTS = {"num_bits": 4, "type": "int", "symmetric": False, "strategy": "group", "group_size": 64}


def main(model_folder: str, calibration: str, result: str) -> None:
    """Quantize, and write what the weights became."""
    torch.set_num_threads(2)
    windows = load_file(calibration)["windows"].tolist()
    model = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32)
    samples = Dataset.from_dict({"input_ids": windows, "attention_mask": [[1] * len(each) for each in windows]})
    group = {"targets": ["Linear"], "weights": WEIGHTS}
    recipe = GPTQModifier(config_groups={"group_0": group}, ignore=["lm_head"])
    oneshot(
        model=model,
        dataset=samples,
        recipe=recipe,
        num_calibration_samples=len(windows),
        max_seq_length=len(windows[0]),
        shuffle_calibration_samples=False,
    )
    layers = {name: each for name, each in model.named_modules() if hasattr(each, "weight_scale")}
    save_file({name: each.weight.detach().float().contiguous() for name, each in layers.items()}, result)


if __name__ == "__main__":
    main(*sys.argv[1:])
