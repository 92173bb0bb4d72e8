"""Quantize: make quantized variants of the model, calibrated on training samples.

Reads the model of the stage that it needs, `outputs/sparsify/model` as a rule. Leaves `outputs/quantize/model/`: one
folder per variant, and the list of them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import overwinter as ow
from overwinter.units import format_bytes


def main(stage: ow.pipeline.Stage) -> None:
    """Make every variant that `quantize.methods` names."""
    settings, trusted = stage.config.quantize, stage.config.trusted_targets
    device = ow.runtime.serving_device(stage.config.device)
    compute_device = ow.runtime.computing_device(stage.config.device)
    ow.quantization.check_methods(settings.methods, device=device)
    model, out = stage.input(stage.config.pipeline.stages[stage.name].needs[-1]), stage.out("model")
    units = 1 + len(settings.methods)
    stage.unsaved_progress(0, units)
    calibration = calibration_samples(stage, model, telling(stage, 0, units)) if settings.methods else None

    metrics = {}
    for done, method in enumerate(settings.methods, start=1):
        report = ow.quantization.quantize(
            method,
            model,
            out / method,
            calibration=calibration,
            settings=settings,
            lineage=stage.lineage(),
            trusted=trusted,
            device=device,
            compute_device=compute_device,
            progress=telling(stage, done, units),
        )
        stage.unsaved_progress(done + 1, units)
        log_report(stage, method, report)
        metrics[method] = report.to_metrics()

    ow.models.write_variants(out, settings.methods)
    stage.save_metrics({"variants": len(settings.methods)} | metrics)


def telling(stage: ow.pipeline.Stage, done: int, units: int) -> Callable[[float, float], None]:
    """Return what tells how far the next unit has come, `done` being behind it."""
    return lambda part, whole: stage.unsaved_progress(round(done + part / whole, 3), units)


def calibration_samples(
    stage: ow.pipeline.Stage, model: Path, progress: Callable[[float, float], None]
) -> ow.runtime.Array:
    """Return the first samples of the training split, which the evaluation never sees, or the model's own text."""
    config = stage.config
    data = ow.data.load_data(config.data, trusted=config.trusted_targets)
    inputs, _ = ow.data.tensors(data.split("train"), limit=config.quantize.calibration_samples)
    return ow.quantization.calibration_inputs(
        model,
        inputs.numpy(),
        config.quantize,
        trusted=config.trusted_targets,
        seed=config.seed,
        compute_device=ow.runtime.computing_device(config.device),
        progress=progress,
    )


def log_report(stage: ow.pipeline.Stage, method: str, report: ow.quantization.QuantizationReport) -> None:
    """Say what became of the layers, above all of those left in floating point."""
    size = format_bytes(report.size_bytes)
    stage.log(
        f"{method}: {len(report.quantized)} layers quantized, {size}, {report.agreement:.1%} of answers as before"
    )
    if report.sensitivity:
        stage.log(f"{method}: most sensitive: {ow.quantization.worst_layers(report.sensitivity)}")
    if report.untied:
        stage.log(f"{method}: no longer shared with another layer: the weights of {', '.join(report.untied)}")
    for layer, reason in report.left_in_float.items():
        stage.log(f"{method}: {layer} is left in floating point: {reason}")


if __name__ == "__main__":
    ow.pipeline.run_stage("quantize", main)
