"""The settings of quantization: the group `quantize/`. They are read without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from overwinter.config.settings import setting
from overwinter.errors import ConfigError
from overwinter.registries import QUANTIZERS

_BESIDE = 4  # windows of the user's for each that the model writes, which costs a pass for every token
INT8, FLOAT = "int8", "float"
AS_EMBEDDING, AS_LAYERS = "as_embedding", "as_layers"
CALIBRATION_METHODS = ("minmax", "percentile", "entropy")


@dataclass
class QuantizeConfig:
    """The settings of the stage `quantize` that makes no variants."""

    version: int = setting("raised when the stage's behaviour changes")
    methods: list[str] = setting("variants to make; others can stand beside it")

    def check(self, key: str) -> None:
        """Refuse methods that no one offers, or that are named twice.

        Raises:
            ConfigError: the first of them, with its key.
        """
        repeated = sorted({method for method in self.methods if self.methods.count(method) > 1})
        if repeated:
            raise ConfigError(f"{key}.methods names {', '.join(repeated)} twice. Name each method once.")
        for method in self.methods:
            QUANTIZERS.check(method)

    def layer_patterns(self) -> dict[str, list[str]]:
        """Return the name patterns of layers, by their key."""
        return {}


@dataclass
class GridConfig:
    """The grid of one layer's weight."""

    bits: int = setting("of a code; for floating point, name the layer in quantize.skip", at_least=2, at_most=8)
    group_size: int | None = setting("columns that share a scale; null: all of an output channel's", at_least=1)
    symmetric: bool = setting("no zero points")


@dataclass
class ScaleDistillationConfig:
    """Distilling the scales of integer layers against the dense model."""

    steps: int = setting("0: no scale distillation", at_least=0)
    learning_rate: float = setting("share of each scale", above=0, at_most=0.1)
    batch_size: int = setting("calibration samples of a step", at_least=1)
    zeros: bool = setting("whether zero points move too")


@dataclass
class MixedConfig:
    """The limit of the method `mixed`."""

    max_size_ratio: float | None = setting("of the variant's size to the float model's", above=0)
    max_divergence: float | None = setting(
        "of its outputs from the dense model's, in nats; of numbers, a share of their spread", above=0
    )


@dataclass
class CalibratedQuantizeConfig(QuantizeConfig):
    """The settings of the stage `quantize`, with calibration data."""

    calibration_samples: int = setting(
        "samples that the activations' ranges and the inputs' statistics come from", at_least=1
    )
    calibration_text: str = setting(
        "of language models: data (training split), generated (by the dense model), both (distils scales on both)",
        choices=("data", "generated", "both"),
    )
    calibration_method: str = setting("minmax, percentile or entropy; of int8_static only", choices=CALIBRATION_METHODS)
    skip: list[str] = setting('name patterns of layers left in floating point: [head, "features.0.*"]')
    overrides: dict[str, GridConfig] = setting(
        "name pattern: {bits: 8, group_size: 64, symmetric: true}; as an argument, +quantize.overrides={...}"
    )
    embedding: str = setting(
        "of language models: int8 (8 bits in groups of 32; variants of integer layers) or float", choices=(INT8, FLOAT)
    )
    head: str = setting(
        "of language models: as_embedding (a tied one shares its codes), or as_layers (a tied one gets its own weight)",
        choices=(AS_EMBEDDING, AS_LAYERS),
    )
    scale_distillation: ScaleDistillationConfig = setting(
        "afterwards, distil the scales against the dense model; variants of integer layers",
        default_factory=ScaleDistillationConfig,
    )
    sensitivity_samples: int = setting(
        "calibration samples on which each layer is quantized by itself; 0: no report", at_least=0
    )
    mixed: MixedConfig = setting("of the method `mixed` only: one of the two is null", default_factory=MixedConfig)
    min_agreement: float = setting(
        "least agreement with dense on held-out samples: share of equal predictions, of numbers 1 - error / spread",
        at_least=0,
        at_most=1,
    )

    def check(self, key: str) -> None:
        """Refuse the method `mixed` without its limit, and text for a distillation that there is not, too."""
        super().check(key)
        if self.calibration_text == "both" and self.scale_distillation.steps == 0:
            raise ConfigError(
                f"{key}.calibration_text=both adds text of the model's own to distil scales on, and "
                f"{key}.scale_distillation.steps=0 distils none. Set data or generated, or at least one step."
            )
        given = [name for name, value in vars(self.mixed).items() if value is not None]
        if "mixed" in self.methods and len(given) != 1:
            raise ConfigError(
                f"The method mixed needs one limit, {key}.mixed.max_size_ratio or {key}.mixed.max_divergence, "
                f"and {' and '.join(given) or 'neither'} is set. Set the other to null."
            )

    @property
    def written_windows(self) -> int:
        """Windows that a language model writes itself, unless ``calibration_text`` is ``data``."""
        share = _BESIDE if self.calibration_text == "both" else 1
        return -(-self.calibration_samples // share)

    def layer_patterns(self) -> dict[str, list[str]]:
        """Return the layers that are skipped, and those with a grid of their own."""
        return {"quantize.skip": self.skip, "quantize.overrides": list(self.overrides)}


def quantize_schema(group: Mapping[str, Any]) -> type[QuantizeConfig]:
    """Return the schema of the group: calibration is configured where a method is named."""
    return CalibratedQuantizeConfig if group.get("methods") else QuantizeConfig
