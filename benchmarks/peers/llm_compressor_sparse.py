"""llm-compressor's Wanda or SparseGPT, half of the weights: run by the peer's own Python (`make peers`).

    PYTHON benchmarks/peers/llm_compressor_sparse.py MODEL CALIBRATION RESULT SCORE PATTERN

MODEL is a folder of transformers; CALIBRATION a safetensors file with `windows` (n, length) of tokens; RESULT gets the
pruned layers' weights by their names. SCORE is `wanda` or `sparsegpt`, PATTERN `unstructured` or `2:4`. All else is the
peer's default.
"""

import sys

import torch
from datasets import Dataset
from llmcompressor import oneshot
from llmcompressor.modifiers.pruning import SparseGPTModifier, WandaPruningModifier
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

MODIFIERS = {"wanda": WandaPruningModifier, "sparsegpt": SparseGPTModifier}
MASKS = {"unstructured": "0:0", "2:4": "2:4"}


def main(model_folder: str, calibration: str, result: str, score: str, pattern: str) -> None:
    """Prune, and write what the weights became."""
    torch.set_num_threads(2)
    windows = load_file(calibration)["windows"].tolist()
    model = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32)
    samples = Dataset.from_dict({"input_ids": windows, "attention_mask": [[1] * len(each) for each in windows]})
    recipe = MODIFIERS[score](sparsity=0.5, mask_structure=MASKS[pattern], targets=["Linear"], ignore=["lm_head"])
    oneshot(
        model=model,
        dataset=samples,
        recipe=recipe,
        num_calibration_samples=len(windows),
        max_seq_length=len(windows[0]),
        shuffle_calibration_samples=False,
    )
    layers = {name: each for name, each in model.named_modules() if isinstance(each, torch.nn.Linear)}
    pruned = {name: each.weight.detach().float() for name, each in layers.items() if name != "lm_head"}
    save_file({name: weight.contiguous() for name, weight in pruned.items()}, result)


if __name__ == "__main__":
    main(*sys.argv[1:])
