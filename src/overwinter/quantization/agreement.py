"""Agreement: how often a variant predicts the class, or the token, that the float model predicts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from overwinter.errors import RefusedError
from overwinter.models import already_verified, copy_module, load_description, load_model
from overwinter.quantization.interface import QuantizationReport, Request
from overwinter.quantization.layer_sensitivity import LayerDamage, sensitivity, worst_layers
from overwinter.quantization.recipe import Recipe, apply_recipe
from overwinter.runtime import Array, Session, needed_device, open_session
from overwinter.runtime.torch_runtime import TorchSession

_PREDICTIONS = 1 << 12  # compared at most: of samples, or of their tokens
_BATCH = 4
_EXAMPLES = 8  # samples on which a ruined variant's layers are judged one by one
_MODEL = "model.onnx"


def outputs(model: nn.Module, held_out: Array) -> NDArray[np.int64]:
    """Return the class, or next token, that a float model predicts for the held-out samples."""
    with torch.inference_mode():
        found = [model(batch).argmax(-1).flatten() for batch in _compared(torch.from_numpy(held_out))]
    named: NDArray[np.int64] = torch.cat(found).numpy()
    return named


def agreement(folder: Path, held_out: Array, dense: NDArray[np.int64], request: Request) -> float:
    """Return the share of the same samples for which a saved variant predicts the same.

    On the CPU where that computes it.
    """
    session = _session(folder, request)
    found = [session.run(batch.numpy()).argmax(-1).ravel() for batch in _compared(torch.from_numpy(held_out))]
    return float((np.concatenate(found) == dense).mean())


def _session(folder: Path, request: Request) -> Session:
    description = load_description(folder)
    if request.calibration.dtype.kind in "iu" and "layers" in (description["quantization"] or {}):
        # Served, the layers would be dequantized once for all, to the same answers: more than memory may hold.
        with already_verified(folder):
            return TorchSession(load_model(folder, trusted=request.trusted))
    runtime = "onnxruntime" if _MODEL in description["files"] else "torch"
    device = "cpu" if needed_device(description) is None else request.device
    return open_session(folder, runtime, torch.get_num_threads(), trusted=request.trusted, device=device)


def refuse_ruined(
    method: str, report: QuantizationReport, model_folder: Path, request: Request, recipe: Recipe | None
) -> None:
    """Refuse a variant whose predictions are too seldom the float model's, and name the layers that cause it.

    Args:
        method: the method that made the variant.
        report: the report, with the agreement.
        model_folder: the float model.
        request: what the variant was made from; its model may be changed by now.
        recipe: much the same as the method, for variants without integer layers; None: their layers are not looked at.

    Raises:
        RefusedError: the agreement is below ``quantize.min_agreement``.
    """
    least = request.settings.min_agreement
    if report.agreement is None or report.agreement >= least:
        return
    damages = report.sensitivity or _damages(report, model_folder, request, recipe)
    blamed = f" Worst layers, each quantized alone: {worst_layers(damages)}." if damages else ""
    raise RefusedError(
        f"{method} ruins the model: {report.agreement:.1%} of its predictions on held-out samples are the dense "
        f"model's, and quantize.min_agreement={least} asks for more.{blamed}\n"
        f"Put those layers into quantize.skip or quantize.overrides, or take {method} out of quantize.methods."
    )


def _damages(
    report: QuantizationReport, model_folder: Path, request: Request, recipe: Recipe | None
) -> Mapping[str, LayerDamage]:
    dense, calibration = load_model(model_folder, trusted=request.trusted), torch.from_numpy(request.calibration)
    if "layers" in (load_description(request.out)["quantization"] or {}):
        quantized = load_model(request.out, trusted=request.trusted)  # as it was refused, overrides and all
    elif recipe is not None:
        quantized = copy_module(dense)
        apply_recipe(quantized, recipe, report.quantized, calibration, device=request.compute_device)
    else:
        return {}
    return sensitivity(dense, quantized, calibration[:_EXAMPLES], device=request.compute_device)


def _compared(held_out: torch.Tensor) -> tuple[torch.Tensor, ...]:
    per_sample = 1 if held_out.is_floating_point() else held_out[0].numel()
    return torch.split(held_out[: max(1, _PREDICTIONS // per_sample)], _BATCH)
