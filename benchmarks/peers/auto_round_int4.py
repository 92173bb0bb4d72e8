"""AutoRound, 4 bits in groups of 64 with zero points: run by the peer's own Python (`make peers`).

    .venv-peers/auto-round/bin/python benchmarks/peers/auto_round_int4.py MODEL CALIBRATION RESULT [ITERATIONS]

MODEL is a folder of transformers; CALIBRATION a safetensors file with `windows` (n, length) of tokens; RESULT gets the
linear layers' weights, quantized and dequantized, by their names. 200 iterations, as is the peer's default; all else
too.
"""

import sys

import torch
from auto_round import AutoRound
from safetensors.torch import load_file, save_file
from torch.utils.data import DataLoader
from transformers import AutoModelForCausalLM, AutoTokenizer

BATCH = 8


def main(model_folder: str, calibration: str, result: str, iterations: str = "200") -> None:
    """Quantize, and write what the weights became."""
    torch.set_num_threads(2)
    windows = load_file(calibration)["windows"]
    model = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32)
    samples = [{"input_ids": each, "attention_mask": torch.ones_like(each)} for each in windows]
    quantizing = AutoRound(
        model,
        AutoTokenizer.from_pretrained(model_folder),
        bits=4,
        group_size=64,
        sym=False,
        dataset=DataLoader(samples, batch_size=BATCH),
        nsamples=len(windows),
        seqlen=windows.shape[1],
        batch_size=BATCH,
        iters=int(iterations),
        device_map="cpu",
    )
    quantized, layers = quantizing.quantize()
    save_file({name: quantized.get_submodule(name).weight.detach().float().contiguous() for name in layers}, result)


if __name__ == "__main__":
    main(*sys.argv[1:])
