"""Sparsity: removing weights, or whole channels, from a trained model.

- `Sparsifier` is the protocol; the `SparsifyConfig` that ``sparsify.method`` names opens it.
- `Magnitude` zeroes single weights while the model is fine-tuned: the `MaskHook` raises the sparsity along
  the cubic schedule and holds the masks to the end.
- `Channels` physically removes channels, attention heads and hidden units before the fine-tuning, so that any device
  gains; `find_channel_groups` says which can be removed, and why others can't. `Shrinking` removes them while a model
  is trained.
- `hold_masks` holds the zeros that a model has, whatever made them, while it is trained.
- `distill_weights` and `reconstruct_blocks` fit the kept weights to the dense model, end to end or block by block.
- `start_sparse` trains with few weights from the first step on (RigL), before any sparsifier: ``train.sparse``.
- `OneShot` removes single weights at once, by magnitude, Wanda or SparseGPT; a `Calibrated` sparsifier is given a
  `Calibration`, and a `Recovering` one the dense model.
- `find_largest` finds the largest amount that the limit of quality allows.
- `SparsityReport` says what was asked, what was reached, layer by layer, and what was left unchanged.

Third parties add theirs under the entry-point group ``overwinter.sparsifiers``: name -> settings, which make it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from overwinter.lazy_imports import lazily

if TYPE_CHECKING:
    from overwinter.sparsity.channel_amounts import flops_per_sample
    from overwinter.sparsity.channels import Channels
    from overwinter.sparsity.dependencies import ChannelGroup, find_channel_groups
    from overwinter.sparsity.distillation import distill_weights
    from overwinter.sparsity.magnitude import Magnitude, MaskHook
    from overwinter.sparsity.masks import HeldMasks, hold_masks
    from overwinter.sparsity.one_shot import OneShot
    from overwinter.sparsity.protocol import Calibrated, Calibration, Recovering, Sparsifier
    from overwinter.sparsity.reconstruction import BlockError, reconstruct_blocks
    from overwinter.sparsity.report import LayerReport, Recovered, SparsityReport
    from overwinter.sparsity.rigl import SparseTraining, TrainingFlops, start_sparse
    from overwinter.sparsity.searching import Trial, find_largest
    from overwinter.sparsity.settings import (
        AmountSearch,
        FineTunedSparsifyConfig,
        FineTuningConfig,
        OneShotConfig,
        RecoveryConfig,
        SparsifyConfig,
    )
    from overwinter.sparsity.shrinking import Shrinking

__all__ = [
    "AmountSearch",
    "BlockError",
    "Calibrated",
    "Calibration",
    "ChannelGroup",
    "Channels",
    "FineTunedSparsifyConfig",
    "FineTuningConfig",
    "HeldMasks",
    "LayerReport",
    "Magnitude",
    "MaskHook",
    "OneShot",
    "OneShotConfig",
    "Recovered",
    "Recovering",
    "RecoveryConfig",
    "Shrinking",
    "SparseTraining",
    "Sparsifier",
    "SparsifyConfig",
    "SparsityReport",
    "TrainingFlops",
    "Trial",
    "distill_weights",
    "find_channel_groups",
    "find_largest",
    "flops_per_sample",
    "hold_masks",
    "reconstruct_blocks",
    "start_sparse",
]

# Loaded when first used: settings are read without torch.
_HOMES = {
    "AmountSearch": "settings",
    "BlockError": "reconstruction",
    "Calibrated": "protocol",
    "Calibration": "protocol",
    "ChannelGroup": "dependencies",
    "Channels": "channels",
    "FineTunedSparsifyConfig": "settings",
    "FineTuningConfig": "settings",
    "HeldMasks": "masks",
    "LayerReport": "report",
    "Magnitude": "magnitude",
    "MaskHook": "magnitude",
    "Shrinking": "shrinking",
    "SparseTraining": "rigl",
    "OneShot": "one_shot",
    "OneShotConfig": "settings",
    "Recovered": "report",
    "Recovering": "protocol",
    "RecoveryConfig": "settings",
    "Sparsifier": "protocol",
    "SparsifyConfig": "settings",
    "SparsityReport": "report",
    "TrainingFlops": "rigl",
    "Trial": "searching",
    "distill_weights": "distillation",
    "find_channel_groups": "dependencies",
    "find_largest": "searching",
    "flops_per_sample": "channel_amounts",
    "hold_masks": "masks",
    "reconstruct_blocks": "reconstruction",
    "start_sparse": "rigl",
}

__getattr__ = lazily(__name__, _HOMES)
