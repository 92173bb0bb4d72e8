"""SmolLM2-135M pruned: perplexity over dense inside and outside the calibration's domain, and KL to dense.

Usage: ``sparsity_smollm2.py [--keep FOLDER] [METHOD ...]``. Results of earlier methods in the result file are kept, so
that the table can be made in slices. With ``--keep`` pruned weights are kept with what they cost, for a later run to go
on from. The model, the windows and the scores are those of `quantization_smollm2`; the settings are those of
``overwinter -C pipelines/smollm2 run sparsify=wanda``, ``sparsify=sparsegpt`` and ``sparsify=sparsegpt_distilled``.
``llm_compressor_*`` are the peer's own methods (``make peers``).
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch

import smollm2
from overwinter.calibration.generated_text import generate_text
from overwinter.config import Project, compose, validate
from overwinter.models import integer_layers
from overwinter.sparsity import Calibration, OneShotConfig, hold_masks
from overwinter.sparsity.layers import choose_layers
from overwinter.sparsity.one_shot import prune
from overwinter.sparsity.recovery import recover
from overwinter.tasks import LanguageModeling
from quantization_smollm2 import METHODS as QUANTIZED
from smollm2_table import Method, Work, make_table, peer

NAME = "sparsity_smollm2"
_BATCH = 8
_ROOT = Path(__file__).parents[1]
_CASE = Project(root=_ROOT / "pipelines/smollm2", configs=_ROOT / "configs", config_name="smollm2")
SWAPS = 100
PATTERNS = {"50": "unstructured", "2_4": "2:4"}


class OneShot:
    """What the pipeline does for these overrides, on the calibration windows, and on as many that the model writes."""

    def __init__(self, *overrides: str) -> None:
        self._overrides = overrides

    def __call__(self, work: Work, model: Any, dense: Any, calibration: torch.Tensor) -> None:
        """Prune ``model`` in place, and let it recover."""
        config, name = self.config(), self._name()
        if config.calibration_text == "both":
            written = work.kept_part(
                "generated", lambda: generate_text(dense, len(calibration), smollm2.WINDOW, seed=0)
            )
            calibration = torch.cat([calibration, written])
        _load(model, work.kept_part(name, lambda: _pruned(copy.deepcopy(model), calibration, config)))
        if config.recovery.method != "none":
            how = config.recovery
            name += f"_{how.method}_{how.steps}_{how.learning_rate}"
            _load(model, work.kept_part(name, lambda: _recovered(copy.deepcopy(model), dense, calibration, config)))

    def config(self) -> OneShotConfig:
        """Return the group `sparsify`."""
        config: OneShotConfig = validate(compose(_CASE, list(self._overrides))).sparsify
        return config

    def _name(self) -> str:
        return "_".join(each.rpartition("=")[2].replace(":", "_") for each in self._overrides)


class AndInt4:
    """4 bits in groups of 64 after another method, as the pipeline quantizes: zeros stay, then scales are distilled."""

    def __init__(self, method: OneShot) -> None:
        self._method = method

    def __call__(self, work: Work, model: Any, dense: Any, calibration: torch.Tensor) -> None:
        """Prune and quantize ``model`` in place."""
        self._method(work, model, dense, calibration)
        sparse = copy.deepcopy(model)
        quantizing = Work(keep=None if work.keep is None else work.keep / "quantized")  # its names are dense's
        QUANTIZED["int4_distilled"](quantizing, model, sparse, calibration)
        work.parts |= {f"quantize_{name}": part for name, part in quantizing.parts.items()}


def _pruned(model: Any, calibration: torch.Tensor, config: OneShotConfig) -> dict[str, torch.Tensor]:
    layers, _ = choose_layers(model, config)
    prune(model, layers, list(torch.split(calibration, _BATCH)), config, Calibration(progress=_reported))
    return _weights(model)


def _recovered(model: Any, dense: Any, calibration: torch.Tensor, config: OneShotConfig) -> dict[str, torch.Tensor]:
    masks = hold_masks(model, smollm2.block_layers(model))
    task, progress = LanguageModeling(()), Calibration(progress=_reported)
    print(recover(model, dense, [calibration], masks, config.recovery, progress, task=task), flush=True)
    return _weights(model)


def _weights(model: Any) -> dict[str, torch.Tensor]:
    return {name: model.get_submodule(name).weight.detach() for name in smollm2.block_layers(model)}


def _load(model: Any, weights: dict[str, torch.Tensor]) -> None:
    with torch.no_grad():
        for layer, weight in weights.items():
            model.get_submodule(layer).weight.copy_(weight)


def _reported(done: float, total: float) -> None:
    print(f"{done / total:.0%}", flush=True)


def _one_shots() -> dict[str, Method]:
    """Return both scores at 50 % and 2:4, each without and with swaps."""
    refined = {"": 0, "_swaps": SWAPS}
    return {
        f"{score}_{name}{suffix}": OneShot(
            f"sparsify={score}", f"sparsify.pattern={pattern}", f"sparsify.swaps={rounds}"
        )
        for name, pattern in PATTERNS.items()
        for score in ("wanda", "sparsegpt")
        for suffix, rounds in refined.items()
    }


def _peers() -> dict[str, Method]:
    """Return llm-compressor's own Wanda and SparseGPT, its defaults (`make peers`)."""
    return {
        f"llm_compressor_{score}_{name}": peer("llm-compressor", "llm_compressor_sparse.py", score, pattern)
        for name, pattern in PATTERNS.items()
        for score in ("wanda", "sparsegpt")
    }


_DISTILLED_50 = OneShot("sparsify=sparsegpt_distilled")
METHODS: dict[str, Method] = (
    _one_shots()
    | _peers()
    | {
        "sparsegpt_50_distilled": _DISTILLED_50,
        "sparsegpt_2_4_distilled": OneShot("sparsify=sparsegpt_distilled", "sparsify.pattern=2:4"),
        "sparsegpt_50_distilled_int4": AndInt4(_DISTILLED_50),
    }
)


def zeros(model: Any) -> float:
    """Return the share of zeros in the linear layers of the blocks, also of integer ones."""
    integers = {name: layer.weight() for name, layer in integer_layers(model).items() if ".layers." in name}
    weights = list((integers or _weights(model)).values())
    return 1.0 - sum(int(each.count_nonzero()) for each in weights) / sum(each.numel() for each in weights)


if __name__ == "__main__":
    windows = OneShot("sparsify=wanda").config().calibration_samples
    make_table(NAME, METHODS, calibration_windows=windows, about=__doc__, also=lambda model: {"zeros": zeros(model)})
