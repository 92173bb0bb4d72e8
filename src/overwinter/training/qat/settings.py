"""The settings of quantization-aware training: `train.qat`. They are read without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from overwinter.config.groups.training import TrainConfig
from overwinter.config.settings import setting
from overwinter.errors import ConfigError
from overwinter.training.lora.settings import LoraTrainConfig


@dataclass
class QatConfig:
    """Quantization-aware training of Linear and Conv2d layers."""

    rounding: str = setting(
        "straight_through, relaxed, or relaxed_straight_through (RQ-ST), which samples grid points themselves",
        choices=("straight_through", "relaxed", "relaxed_straight_through"),
    )
    scale: str = setting(
        "observed: the range of the values; learned: starts there and is trained like a weight",
        choices=("observed", "learned"),
    )
    weight_bits: int = setting("of the weights' codes, 2 to 8", at_least=2, at_most=8)
    group_size: int | None = setting(
        "inputs of one output channel that share a scale; null: one scale per output channel", at_least=1
    )
    symmetric: bool = setting("the weights' grid has its zero in the middle; false: a zero point per group")
    activation_bits: int | None = setting(
        "of the codes of the layers' inputs, 2 to 8; null leaves activations in floating point", at_least=2, at_most=8
    )
    start_fraction: float = setting(
        "share of all steps trained in floating point first, while ranges are watched", at_least=0, below=1
    )
    freeze_fraction: float = setting(
        "share of all steps after which scales and batch statistics stand still", above=0, at_most=1
    )
    skip: list[str] = setting('name patterns of layers left in floating point: [head, "features.0.*"]')

    def check(self, key: str) -> None:
        """Refuse phases that leave no time to learn.

        Raises:
            ConfigError: with the key, and what is allowed.
        """
        if self.freeze_fraction <= self.start_fraction:
            raise ConfigError(
                f"{key}.freeze_fraction={self.freeze_fraction} must be above {key}.start_fraction="
                f"{self.start_fraction}: between them the model learns its grids."
            )

    def relaxation(self) -> RelaxedQatConfig | None:
        """Return how rounding is relaxed; None: it is not."""
        return None


@dataclass
class RelaxedQatConfig(QatConfig):
    """Relaxed quantization: a sample from a concrete distribution over grid points takes the place of rounding."""

    temperature: float = setting(
        "of the concrete distribution over grid points; towards 0 it is the discrete one", above=0
    )
    noise: float = setting("scale of the logistic noise at the start, in grid steps; trained like a weight", above=0)
    final_noise_share: float = setting(
        "how much of that noise is left when scales freeze; it falls in a line until then", above=0, at_most=1
    )
    neighbours: int = setting("grid points looked at on either side of the nearest one", at_least=1)
    relax_activations: bool = setting(
        "activations too: at 8 bits no gain was seen, at 4 bits a loss, and it takes 3 times as long"
    )

    def relaxation(self) -> RelaxedQatConfig:
        """Return how rounding is relaxed: so."""
        return self


@dataclass
class QatTrainConfig(TrainConfig):
    """The settings of the stage `train`, quantization-aware."""

    qat: QatConfig = field(default_factory=QatConfig)

    def check(self, key: str) -> None:
        """Refuse what `qat` refuses, and weights that are not trained."""
        super().check(key)
        if self.method == "pretrained":
            raise ConfigError(f"{key}.qat trains the model for its grids, and {key}.method=pretrained does not.")
        self.qat.check(f"{key}.qat")

    def quantization_aware(self) -> QatConfig:
        """Return how the model is trained for its grids."""
        return self.qat


@dataclass
class RelaxedQatTrainConfig(QatTrainConfig):
    """The settings of the stage `train` with relaxed quantization."""

    qat: RelaxedQatConfig = field(default_factory=RelaxedQatConfig)


def train_schema(group: Mapping[str, Any]) -> type[TrainConfig]:
    """Return the schema of the group: plain training, with adapters, or that of the rounding in `qat`.

    Raises:
        ConfigError: both at once.
    """
    if "qat" not in group:
        return LoraTrainConfig if "lora" in group else TrainConfig
    if "lora" in group:
        raise ConfigError("train.lora keeps the layers frozen that train.qat trains for their grids. Choose one.")
    settings = group["qat"] if isinstance(group["qat"], Mapping) else {}
    return RelaxedQatTrainConfig if str(settings.get("rounding")).startswith("relaxed") else QatTrainConfig
