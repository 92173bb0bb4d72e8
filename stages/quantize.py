"""Quantize: make quantized forms of the model, calibrated on training samples.

Reads the model of the stage that it needs, `outputs/sparsify/model` as a rule. Leaves `outputs/quantize/model/`: one
folder per form, and the list of them.
"""

from __future__ import annotations

import overwinter as ow
from overwinter.units import format_bytes


def main(stage: ow.pipeline.Stage) -> None:
    """Make every form that `quantize.methods` names."""
    settings, trusted = stage.config.quantize, stage.config.trusted_targets
    ow.quantization.check_methods(settings.methods)
    model, out = stage.input(stage.config.pipeline.stages[stage.name].needs[-1]), stage.out("model")

    metrics = {}
    for done, method in enumerate(settings.methods):
        report = ow.quantization.quantize(
            method,
            model,
            out / method,
            calibration=calibration_samples(stage),
            settings=settings,
            lineage=stage.lineage(),
            trusted=trusted,
        )
        tell(stage, method, report)
        metrics[method] = report.to_metrics()
        stage.progress(done + 1, len(settings.methods))

    ow.quantization.write_forms(out, settings.methods)
    stage.save_metrics({"forms": len(settings.methods)} | metrics)


def calibration_samples(stage: ow.pipeline.Stage) -> ow.serving.Array:
    """Return the first samples of the training split, which the evaluation never sees."""
    data = ow.data.load_data(stage.config.data, trusted=stage.config.trusted_targets)
    inputs, _ = ow.data.tensors(data.split("train"), limit=stage.config.quantize.calibration_samples)
    return inputs.numpy()


def tell(stage: ow.pipeline.Stage, method: str, report: ow.quantization.QuantizationReport) -> None:
    """Say what became of the layers, above all of those left in floating point."""
    size = format_bytes(report.size_bytes)
    stage.say(f"{method}: {len(report.quantized)} layers quantized, {size}")
    for layer, reason in report.left_in_float.items():
        stage.say(f"{method}: {layer} is left in floating point: {reason}")


if __name__ == "__main__":
    ow.pipeline.run_stage("quantize", main)
