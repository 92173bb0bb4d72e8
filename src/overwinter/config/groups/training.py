"""The group `train/`, and the fine-tuning that other stages share with it."""

from __future__ import annotations

from dataclasses import dataclass

from omegaconf import MISSING


@dataclass
class FitConfig:
    """How a model is fitted: the training loop's settings, wherever it runs.

    Attributes:
        epochs: passes over the training split, at most.
        batch_size: samples per optimizer step.
        learning_rate: peak of the schedule (AdamW).
        weight_decay: AdamW's decoupled weight decay.
        warmup_fraction: share of all steps in which the learning rate climbs; a cosine brings it to zero after.
        gradient_clip_norm: gradients are scaled down to this norm at most.
        label_smoothing: of the cross entropy, 0 to below 1.
        patience_epochs: stop after so many epochs without a better validation loss; 0 never stops early.
        precision: `auto` (bf16 where the accelerator has it, else fp32), `fp32` or `bf16`.
        checkpoint_interval_s: seconds between checkpoints on disk.
    """

    epochs: int = MISSING
    batch_size: int = MISSING
    learning_rate: float = MISSING
    weight_decay: float = MISSING
    warmup_fraction: float = MISSING
    gradient_clip_norm: float = MISSING
    label_smoothing: float = MISSING
    patience_epochs: int = MISSING
    precision: str = MISSING
    checkpoint_interval_s: float = MISSING


@dataclass
class TrainConfig(FitConfig):
    """The stage `train`."""

    version: int = MISSING
