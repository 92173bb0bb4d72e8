"""Quantizers by name, and the checks that all of them share."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from overwinter.calibration.batches import as_batches, first_samples, to_tensors
from overwinter.calibration.generated_text import (
    generate_text,  # noqa: F401 -- public in this package
    generated_inputs,
)
from overwinter.errors import ConfigError
from overwinter.inputs import Inputs
from overwinter.models import already_verified, fixed_weights, load_description, load_model
from overwinter.progress import Progress, silent
from overwinter.quantization.agreement import agreement, refuse_ruined
from overwinter.quantization.checking import check_held_out, check_request
from overwinter.quantization.interface import QuantizationReport, Quantizer, Request
from overwinter.quantization.settings import CalibratedQuantizeConfig
from overwinter.registries import QUANTIZERS
from overwinter.runtime import on_gpu
from overwinter.tasks import Task


def check_methods(methods: Sequence[str], *, device: str = "cpu") -> None:
    """Check that every method is known, can be imported and suits the device, before any work is done.

    Args:
        methods: of ``quantize.methods``.
        device: on which the variants will be served: `cpu`, `cuda` or `cuda:N`.

    Raises:
        ConfigError: no one offers one, or the device cannot compute its variant.
    """
    for method in methods:
        refusal = getattr(QUANTIZERS.find(method)(), "device_refusal", None)
        reason = None if refusal is None else refusal(device)
        if reason is not None:
            raise ConfigError(
                f"quantize.methods names {method!r}, which cannot be served on device={device}: {reason}.\n"
                "Or take it out of quantize.methods."
            )


def quantize(
    method: str,
    model_folder: Path,
    out: Path,
    *,
    calibration: Inputs | Sequence[Inputs],
    held_out: Inputs | Sequence[Inputs],
    task: Task,
    settings: CalibratedQuantizeConfig,
    lineage: Mapping[str, Any],
    trusted: Sequence[str],
    distillation: Inputs | Sequence[Inputs] = (),
    device: str = "cpu",
    compute_device: str = "cpu",
    progress: Progress = silent,
) -> QuantizationReport:
    """Make one quantized variant of a saved float model.

    Args:
        method: one of the built-in names, or an entry point's.
        model_folder: a saved float model.
        out: the variant's folder; made if need be.
        calibration: model inputs (n, ...), or batches of them, whose lengths may differ; see `calibration_inputs`.
        held_out: other model inputs, on which the variant's outputs are compared with the float model's.
        task: what the model is for: it says when outputs agree, and how far they are apart.
        settings: the group `quantize`.
        lineage: digests of what the variant is made from.
        trusted: packages whose classes the model's ``_target_`` may name, beside overwinter's and torch.nn's.
        distillation: model inputs, or batches of them, on which scales are distilled beside the calibration's.
        device: on which the variant will be served.
        compute_device: where calibration and solving run, see `overwinter.runtime.computing_device`.
        progress: called with how far the method has come, and with all of it; what it raises ends the method, which
            has saved nothing by then.

    Raises:
        ConfigError: an unknown method, one whose variant the device cannot compute, no or unfit samples,
            a pattern in ``skip`` that fits no layer, or a method that serves none of the model's layers.
        RefusedError: the variant agrees too little with the dense model (``quantize.min_agreement``).
        OverwinterError: NaN or infinity in a weight or an activation.
    """
    check_methods([method], device=device)
    quantizer: Quantizer = QUANTIZERS.find(method)()
    description = load_description(model_folder)
    if description["quantization"] is not None:
        raise ConfigError(f"{model_folder} is quantized already ({description['variant']}). Quantize the float model.")
    with already_verified(model_folder):
        request = Request(
            model=load_model(model_folder, trusted=trusted),
            description=description,
            calibration=as_batches(calibration),
            distillation=as_batches(distillation),
            task=task,
            settings=settings,
            lineage=lineage,
            trusted=trusted,
            out=out,
            device=device,
            compute_device=compute_device,
            progress=progress,
        )
    check_request(request)
    others = as_batches(held_out)
    check_held_out(others, request)
    (example,) = to_tensors(first_samples(request.calibration, 1))
    request = dataclasses.replace(request, fixed=fixed_weights(request.model, example))
    out.mkdir(parents=True, exist_ok=True)
    with on_gpu(f"quantize.methods={method}", compute_device, remedy="set device=cpu"):
        report = quantizer.quantize(request)
    request = dataclasses.replace(request, model=nn.Module())  # it is saved: memory is for the variant as it loads
    report = dataclasses.replace(report, agreement=agreement(model_folder, others, request))
    refuse_ruined(method, report, model_folder, request, getattr(quantizer, "recipe", None))
    return report


def calibration_inputs(
    model_folder: Path,
    samples: Inputs | Sequence[Inputs],
    settings: CalibratedQuantizeConfig,
    *,
    trusted: Sequence[str],
    seed: int,
    leading: Sequence[int] = (),
    compute_device: str = "cpu",
    progress: Progress = silent,
) -> tuple[tuple[Inputs, ...], tuple[Inputs, ...]]:
    """Return what to calibrate with, and what to distil scales on beside it.

    The user's samples, text that the saved model writes itself (a fourth as many windows beside the user's, since each
    token costs a pass), or both.

    Args:
        model_folder: a saved float model.
        samples: model inputs (n, ...) of the user, or batches of them.
        settings: the group `quantize`.
        trusted: as in `quantize`.
        seed: of the writing.
        leading: tokens that every window begins with, as the user's do.
        compute_device: that writes.
        progress: called while text is written, with how far it has come, and with all of it.

    Raises:
        ConfigError: the model is no language model, and ``quantize.calibration_text`` is not ``data``.
    """
    batches = as_batches(samples)
    if settings.calibration_text == "data":
        return batches, ()
    with on_gpu("writing calibration text", compute_device, remedy="set device=cpu"):
        written = generated_inputs(
            load_model(model_folder, trusted=trusted),
            settings.written_windows,
            batches,
            seed=seed,
            leading=leading,
            progress=progress,
            device=compute_device,
            key="quantize.calibration_text",
        )
    return (batches, (written,)) if settings.calibration_text == "both" else ((written,), ())
