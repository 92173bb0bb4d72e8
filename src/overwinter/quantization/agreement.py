"""Agreement: how far a variant decides as the float model does, on samples that it was not calibrated on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from overwinter.calibration.batches import first_samples, split_batches, to_tensors
from overwinter.errors import RefusedError
from overwinter.inputs import Inputs, TensorInputs, named, to_arrays
from overwinter.models import already_verified, copy_module, load_description, load_model
from overwinter.quantization.interface import QuantizationReport, Request
from overwinter.quantization.layer_sensitivity import LayerDamage, sensitivity, worst_layers
from overwinter.quantization.recipe import Recipe, apply_recipe
from overwinter.runtime import Array, Session, needed_device, open_session
from overwinter.runtime.torch_runtime import TorchSession

_TOKENS = 1 << 12  # of a language model, compared at most
_BATCH = 4
_EXAMPLES = 8  # samples on which a ruined variant's layers are judged one by one
_JUDGED_TOKENS = 1 << 9  # of them, of a language model: with 8 samples, blame cost more than the stage
_MODEL = "model.onnx"


def agreement(model_folder: Path, held_out: Sequence[Inputs], request: Request) -> float:
    """Return the agreement, 0 to 1, of a saved variant's outputs with the float model's: the mean over the samples.

    Args:
        model_folder: the float model.
        held_out: batches of model inputs (n, ...) that were not calibrated on.
        request: what the variant was made from, and the task, which says when outputs agree.
    """
    pairs, task = _pairs(model_folder, held_out, request), request.task
    if task.class_axis is None:  # numbers: their spread is that of all samples together
        found, dense = (np.concatenate(each) for each in zip(*pairs, strict=True))
        return float(task.agreement(found, dense).mean())
    return float(np.concatenate([task.agreement(found, dense) for found, dense in pairs]).mean())


def _pairs(model_folder: Path, held_out: Sequence[Inputs], request: Request) -> Iterator[tuple[Array, Array]]:
    """Yield the outputs of the variant and of the float model, which is read anew: quantizing changed the other.

    One after the other for each batch: a language model's outputs are larger than the model.
    """
    session = _session(request)
    with already_verified(model_folder):
        dense = load_model(model_folder, trusted=request.trusted)
    for batch in split_batches(_compared(held_out, request), _BATCH):
        with torch.inference_mode():
            expected = dense(batch).float().numpy()
        yield session.run(to_arrays(batch)), expected


def _compared(held_out: Sequence[Inputs], request: Request) -> tuple[Inputs, ...]:
    batches = to_tensors(held_out)
    return first_samples(batches, _samples_of(_TOKENS, batches)) if request.task.generates else batches


def _samples_of(tokens: int, batches: Sequence[TensorInputs]) -> int:
    """Return how many texts hold so many tokens, at least one."""
    length: int = next(iter(named(batches[0]).values()))[0].numel()
    return max(1, tokens // length)


def _session(request: Request) -> Session:
    """Return the variant's session, on the CPU where that computes it."""
    folder = request.out
    description = load_description(folder)
    if request.task.generates and "layers" in (description["quantization"] or {}):
        # Served, the layers would be dequantized once for all, to the same answers: more than memory may hold.
        with already_verified(folder):
            return TorchSession(load_model(folder, trusted=request.trusted))
    runtime = "onnxruntime" if _MODEL in description["files"] else "torch"
    device = "cpu" if needed_device(description) is None else request.device
    return open_session(folder, runtime, torch.get_num_threads(), trusted=request.trusted, device=device)


def refuse_ruined(
    method: str, report: QuantizationReport, model_folder: Path, request: Request, recipe: Recipe | None
) -> None:
    """Refuse a variant that decides too differently from the float model, and name the layers that cause it.

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
    unit = request.task.divergence_unit
    blamed = f" Worst layers, each quantized alone: {worst_layers(damages, unit)}." if damages else ""
    raise RefusedError(
        f"{method} ruins the model: {in_words(report.agreement, unit)}, and quantize.min_agreement={least} asks for "
        f"more.{blamed}\n"
        f"Put those layers into quantize.skip or quantize.overrides, or take {method} out of quantize.methods."
    )


def in_words(agreement: float, unit: str) -> str:
    """Say in a clause how far a variant agrees with dense; ``unit`` is that of the task's divergence."""
    if unit == "nats":
        return f"{agreement:.1%} of its predictions on held-out samples are the dense model's"
    return f"its outputs for held-out samples are off from the dense model's by {1 - agreement:.1%} {unit}"


def _damages(
    report: QuantizationReport, model_folder: Path, request: Request, recipe: Recipe | None
) -> Mapping[str, LayerDamage]:
    dense, calibration = load_model(model_folder, trusted=request.trusted), to_tensors(request.calibration)
    if "layers" in (load_description(request.out)["quantization"] or {}):
        quantized = load_model(request.out, trusted=request.trusted)  # as it was refused, overrides and all
    elif recipe is not None:
        quantized = copy_module(dense)
        apply_recipe(quantized, recipe, report.quantized, calibration, device=request.compute_device)
    else:
        return {}
    few = _samples_of(_JUDGED_TOKENS, calibration) if request.task.generates else _EXAMPLES
    samples = first_samples(calibration, min(few, _EXAMPLES))
    return sensitivity(dense, quantized, samples, task=request.task, device=request.compute_device)
