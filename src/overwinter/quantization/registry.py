"""Quantizers by name, and the checks that all of them share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from overwinter.config.groups import CalibratedQuantizeConfig
from overwinter.errors import ConfigError
from overwinter.models import load_description, load_model
from overwinter.plugins import Registry
from overwinter.quantization.checking import check_request
from overwinter.quantization.interface import QuantizationReport, Quantizer, Request
from overwinter.serving import Array

QUANTIZERS: Registry[Any] = Registry(
    group="overwinter.quantizers",
    key="quantize.methods",
    built_in={
        "int4_gptq": "overwinter.quantization.integer_forms:Int4Gptq",
        "int4_hqq": "overwinter.quantization.integer_forms:Int4Hqq",
        "int4_nearest": "overwinter.quantization.integer_forms:Int4Nearest",
        "int8_dynamic": "overwinter.quantization.int8_dynamic:Int8Dynamic",
        "int8_smooth": "overwinter.quantization.integer_forms:Int8Smooth",
        "int8_static": "overwinter.quantization.int8_static:Int8Static",
        "int8_weight_only": "overwinter.quantization.integer_forms:Int8WeightOnly",
        "qat": "overwinter.quantization.integer_forms:TrainedGrids",
    },
)


def check_methods(methods: Sequence[str]) -> None:
    """Check that every method is known and can be imported, before any work is done.

    Raises:
        ConfigError: nobody offers one.
    """
    for method in methods:
        QUANTIZERS.find(method)


def quantize(
    method: str,
    model_folder: Path,
    out: Path,
    *,
    calibration: Array,
    settings: CalibratedQuantizeConfig,
    lineage: Mapping[str, Any],
    trusted: Sequence[str],
) -> QuantizationReport:
    """Make one quantized form of a saved float model.

    Args:
        method: one of the built-in names, or an entry point's.
        model_folder: a saved float model.
        out: the form's folder; made if need be.
        calibration: model inputs (n, ...), float32, from the training split.
        settings: the group `quantize`.
        lineage: digests of what the form is made from.
        trusted: prefixes that the model's ``_target_`` may have beside ``overwinter.`` and ``torch.``.

    Raises:
        ConfigError: an unknown method, no or unfit calibration samples, a pattern in ``skip`` that fits no
            layer, or a method that serves none of the model's layers.
        OverwinterError: NaN or infinity in a weight or an activation.
    """
    quantizer: Quantizer = QUANTIZERS.find(method)()
    description = load_description(model_folder)
    if description["quantization"] is not None:
        raise ConfigError(f"{model_folder} is quantized already ({description['form']}). Quantize the float model.")
    request = Request(
        model=load_model(model_folder, trusted=trusted),
        description=description,
        calibration=calibration,
        settings=settings,
        lineage=lineage,
        trusted=trusted,
        out=out,
    )
    check_request(request)
    out.mkdir(parents=True, exist_ok=True)
    return quantizer.quantize(request)
