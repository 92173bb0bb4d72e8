"""The group `train/`, and the settings of fine-tuning that other stages share with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from overwinter.config.settings import setting
from overwinter.errors import ConfigError

if TYPE_CHECKING:
    from overwinter.config.groups import Config


@dataclass
class FitConfig:
    """The settings of the training loop, for training and fine-tuning."""

    epochs: int = setting("maximum number of passes over the training split", at_least=1)
    batch_size: int = setting("samples per optimizer step", at_least=1)
    learning_rate: float = setting("peak learning rate of AdamW", above=0)
    weight_decay: float = setting(
        "decoupled weight decay of AdamW, not applied to biases and normalization layers", at_least=0
    )
    warmup_fraction: float = setting(
        "share of all steps used for linear warmup; then cosine decay to zero", at_least=0, at_most=1
    )
    gradient_clip_norm: float = setting("maximum norm of the gradients; larger ones are scaled down", above=0)
    patience_epochs: int = setting("early stopping: epochs without a better validation loss; 0 disables it", at_least=0)
    precision: str = setting(
        "auto (bf16 if the accelerator supports it, else fp32), fp32 or bf16", choices=("auto", "fp32", "bf16")
    )
    checkpoint_interval_s: float = setting("seconds between checkpoints on disk", at_least=0)


@dataclass
class TrainConfig(FitConfig):
    """The stage `train`."""

    version: int = setting("raised when the stage's behaviour changes")

    def check(self, key: str) -> None:
        """Check constraints that the fields' types and `setting`s cannot express."""

    def quantization_aware(self) -> Any:
        """Return the settings of quantization-aware training (`overwinter.training.qat`); None for plain training."""
        return None


def check_trained_grids(config: Config) -> None:
    """Check that a model for the method `qat` was trained quantization-aware and is not changed afterwards.

    Raises:
        ConfigError: training is not quantization-aware, or sparsify changes the weights after it.
    """
    if "qat" not in config.quantize.methods:
        return
    if config.train.quantization_aware() is None:
        raise ConfigError("quantize.methods has qat, but train.qat is not set. Set train=qat_int8.")
    if config.sparsify.method != "none":
        raise ConfigError(
            f"quantize.methods has qat, but sparsify.method={config.sparsify.method} changes the weights after "
            "quantization-aware training. Set sparsify=none."
        )
