"""llm-compressor's Wanda or SparseGPT, half of the weights: run by the peer's own Python (`make peers`).

    PYTHON benchmarks/peers/llm_compressor_sparse.py MODEL CALIBRATION RESULT SCORE PATTERN

MODEL is a folder of transformers; CALIBRATION a safetensors file with `windows` (n, length) of tokens; RESULT gets the
pruned layers' weights by their names. SCORE is `wanda` or `sparsegpt`, PATTERN `unstructured` or `2:4`. All else is the
peer's default.
"""

import sys

import torch
from llm_compressor import compressed
from llmcompressor.modifiers.pruning import SparseGPTModifier, WandaPruningModifier
from safetensors.torch import save_file

MODIFIERS = {"wanda": WandaPruningModifier, "sparsegpt": SparseGPTModifier}
MASKS = {"unstructured": "0:0", "2:4": "2:4"}


def main(model_folder: str, calibration: str, result: str, score: str, pattern: str) -> None:
    """Prune, and write what the weights became."""
    recipe = MODIFIERS[score](sparsity=0.5, mask_structure=MASKS[pattern], targets=["Linear"], ignore=["lm_head"])
    model = compressed(model_folder, calibration, recipe)
    layers = {name: each for name, each in model.named_modules() if isinstance(each, torch.nn.Linear)}
    pruned = {name: each.weight.detach().float() for name, each in layers.items() if name != "lm_head"}
    save_file({name: weight.contiguous() for name, weight in pruned.items()}, result)


if __name__ == "__main__":
    main(*sys.argv[1:])
