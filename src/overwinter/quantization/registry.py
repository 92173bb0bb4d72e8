"""Quantizers by name, and the checks that all of them share."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from overwinter.config.groups import CalibratedQuantizeConfig
from overwinter.errors import ConfigError, nearest
from overwinter.models import load_description, load_model
from overwinter.quantization.checking import check_request
from overwinter.quantization.interface import QuantizationReport, Quantizer, Request
from overwinter.serving import Array

GROUP = "overwinter.quantizers"
_BUILT_IN = {
    "int8_dynamic": ("overwinter.quantization.int8_dynamic", "Int8Dynamic"),
    "int8_static": ("overwinter.quantization.int8_static", "Int8Static"),
}


def check_methods(methods: Sequence[str]) -> None:
    """Check that every method is known, before any work is done.

    Raises:
        ConfigError: one is not.
    """
    unknown = [method for method in methods if method not in _BUILT_IN]
    if not unknown:
        return
    from importlib.metadata import entry_points

    known = sorted({*_BUILT_IN, *(point.name for point in entry_points(group=GROUP))})
    for method in unknown:
        if method not in known:
            raise ConfigError(
                f"quantize.methods names {method!r}, which is unknown. Known: "
                f"{', '.join(known)}.{nearest(method, known)}"
            )


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
        method: `int8_static`, `int8_dynamic`, or an entry point's name.
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
    check_methods([method])
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
    return _find(method).quantize(request)


def _find(method: str) -> Quantizer:
    if method in _BUILT_IN:
        module, attribute = _BUILT_IN[method]
        return cast(Quantizer, getattr(importlib.import_module(module), attribute)())
    from importlib.metadata import entry_points

    (point,) = entry_points(group=GROUP, name=method)
    return cast(Quantizer, point.load()())
