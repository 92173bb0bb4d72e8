"""The group `train/`, and the fine-tuning that other stages share with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from overwinter.config.settings import setting
from overwinter.errors import ConfigError

if TYPE_CHECKING:
    from overwinter.config.groups import Config


@dataclass
class FitConfig:
    """How a model is fitted: the training loop's settings, wherever it runs."""

    epochs: int = setting("passes over the training split, at most", at_least=1)
    batch_size: int = setting("samples per optimizer step", at_least=1)
    learning_rate: float = setting("peak learning rate of AdamW", above=0)
    weight_decay: float = setting("decoupled weight decay of AdamW, but for biases and normalisations", at_least=0)
    warmup_fraction: float = setting(
        "share of all steps in which the learning rate climbs; then a cosine to zero", at_least=0, at_most=1
    )
    gradient_clip_norm: float = setting("gradients are scaled down to this norm at most", above=0)
    label_smoothing: float = setting("label smoothing of the cross entropy", at_least=0, below=1)
    patience_epochs: int = setting(
        "stop after so many epochs without a better validation loss; 0 never stops early", at_least=0
    )
    precision: str = setting(
        "auto: bf16 where the accelerator has it, else fp32; or fp32, bf16", choices=("auto", "fp32", "bf16")
    )
    checkpoint_interval_s: float = setting("seconds between checkpoints on disk", at_least=0)


@dataclass
class TrainConfig(FitConfig):
    """The stage `train`."""

    version: int = setting("raised when the stage's behaviour changes")

    def check(self, key: str) -> None:
        """Refuse what neither the type nor the `setting` of a field can say."""

    def quantization_aware(self) -> Any:
        """Return the settings of quantization-aware training (`overwinter.training.qat`); None: it is plain."""
        return None


def check_trained_grids(config: Config) -> None:
    """Check that the method `qat` finds the grids of training, which what sparsify changes is no longer on.

    Raises:
        ConfigError: the model is not trained for grids, or changed after.
    """
    if "qat" not in config.quantize.methods:
        return
    if config.train.quantization_aware() is None:
        raise ConfigError("quantize.methods names qat, but there is no train.qat. Set train=qat_int8.")
    if config.sparsify.method != "none":
        raise ConfigError(
            f"quantize.methods names qat, but sparsify.method={config.sparsify.method} changes the weights after they "
            "were trained for their grids. Set sparsify=none."
        )
