"""The group `quantize/`."""

from __future__ import annotations

from dataclasses import dataclass

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
class CalibratedQuantizeConfig(QuantizeConfig):
    """Quantization with calibration data.

    Attributes:
        calibration_samples: samples of the training split that set the activations' ranges.
        calibration_method: `minmax`, `percentile` or `entropy`.
        skip: name patterns (fnmatch) of layers left in floating point.
    """

    calibration_samples: int = MISSING
    calibration_method: str = MISSING
    skip: list[str] = MISSING
