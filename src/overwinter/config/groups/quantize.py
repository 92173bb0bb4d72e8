"""The group `quantize/`."""

from __future__ import annotations

from dataclasses import dataclass, field

from omegaconf import MISSING


@dataclass
class QuantizeConfig:
    """The stage `quantize`.

    Attributes:
        version: as in every stage.
        methods: forms to make: `int8_static` (ONNX Runtime), `int8_dynamic` (torchao, Linear only), or names
            of entry points in `overwinter.quantizers`. An empty list makes none.
    """

    version: int = MISSING
    methods: list[str] = MISSING


@dataclass
class GridConfig:
    """The grid of one layer's weight.

    Attributes:
        bits: of a code, 2 to 8.
        group_size: columns that share a scale; null: all of an output channel's.
        symmetric: no zero points.
    """

    bits: int = MISSING
    group_size: int | None = MISSING
    symmetric: bool = MISSING


@dataclass
class RecoveryConfig:
    """Distilling the scales of integer layers against the dense model.

    Attributes:
        steps: of Adam; 0: none.
        learning_rate: relative to each scale.
        batch_size: calibration samples of a step.
        zeros: whether zero points move too.
    """

    steps: int = MISSING
    learning_rate: float = MISSING
    batch_size: int = MISSING
    zeros: bool = MISSING


@dataclass
class MixedConfig:
    """The limit of the method `mixed`: one of the two is null.

    Attributes:
        max_size_ratio: of the form's size to the float model's, 0 to 1.
        max_divergence_nats: of the form's answers from the dense model's, on the calibration samples.
    """

    max_size_ratio: float | None = MISSING
    max_divergence_nats: float | None = MISSING


@dataclass
class CalibratedQuantizeConfig(QuantizeConfig):
    """Quantization with calibration data.

    Attributes:
        calibration_samples: samples that set the activations' ranges and the inputs' statistics.
        calibration_text: of language models: `data` (the training split), `generated` (by the dense model itself) or
            `both` (as many samples of each).
        calibration_method: `minmax`, `percentile` or `entropy`.
        skip: name patterns (fnmatch) of layers left in floating point.
        overrides: name pattern (fnmatch) of layers -> the grid of their weights, instead of the method's.
        recovery: distilling after quantizing.
        sensitivity_samples: calibration samples on which each layer is quantized by itself; 0: no such report.
        mixed: the limit of the method `mixed`.
        min_agreement: share of calibration answers that must be the dense model's, 0 to 1; a form below is refused.
    """

    calibration_samples: int = MISSING
    calibration_text: str = MISSING
    calibration_method: str = MISSING
    skip: list[str] = MISSING
    overrides: dict[str, GridConfig] = MISSING
    recovery: RecoveryConfig = field(default_factory=RecoveryConfig)
    sensitivity_samples: int = MISSING
    mixed: MixedConfig = field(default_factory=MixedConfig)
    min_agreement: float = MISSING
