"""The settings of low-rank adaptation: `train.lora`. They are read without torch."""

from __future__ import annotations

from dataclasses import dataclass, field

from overwinter.config.groups.training import TrainConfig
from overwinter.config.settings import setting
from overwinter.errors import ConfigError


@dataclass
class LoraConfig:
    """Adapters of low rank beside frozen layers (Hu et al., 2021, arXiv 2106.09685)."""

    rank: int = setting("inner width of an adapter: it has rank x (inputs + outputs) parameters", at_least=1)
    alpha: float = setting("the adapter's output counts alpha / rank times", above=0)
    dropout: float = setting("share of an adapter's inputs that is dropped in a step", at_least=0, below=1)
    targets: list[str] = setting('name patterns of layers with an adapter: ["*.q_proj", "*.v_proj"]; []: all that can')
    whole: list[str] = setting(
        "name patterns of layers trained whole, such as a new head; one that was drawn anew always is"
    )


@dataclass
class LoraTrainConfig(TrainConfig):
    """The settings of the stage `train` with adapters."""

    lora: LoraConfig = field(default_factory=LoraConfig)

    def check(self, key: str) -> None:
        """Refuse what trains nothing, and what changes the layers that stay frozen."""
        super().check(key)
        if self.method == "pretrained":
            raise ConfigError(f"{key}.lora trains adapters, and {key}.method=pretrained trains nothing. Set it to fit.")
        others = {"shrink": self.shrink, "whitening_samples": self.whitening_samples or None}
        for name in (name for name, other in others.items() if other is not None):
            raise ConfigError(f"{key}.{name} changes layers that {key}.lora keeps frozen. Set only one.")

    def low_rank(self) -> LoraConfig:
        """Return which adapters are trained."""
        return self.lora
