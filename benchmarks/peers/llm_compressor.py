"""llm-compressor on windows of tokens, with its defaults: for the programs here that give it a recipe."""

from typing import Any

import torch
from datasets import Dataset
from llmcompressor import oneshot
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM


def compressed(model_folder: str, calibration: str, recipe: Any) -> torch.nn.Module:
    """Return the model of a folder of transformers, compressed.

    Args:
        model_folder: Of the dense model.
        calibration: A safetensors file with `windows` (n, length) of tokens.
        recipe: The peer's modifier.
    """
    torch.set_num_threads(2)
    windows = load_file(calibration)["windows"].tolist()
    model = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32)
    samples = Dataset.from_dict({"input_ids": windows, "attention_mask": [[1] * len(each) for each in windows]})
    oneshot(
        model=model,
        dataset=samples,
        recipe=recipe,
        num_calibration_samples=len(windows),
        max_seq_length=len(windows[0]),
        shuffle_calibration_samples=False,
    )
    return model
