"""Evaluate: measure every form on every runtime, side by side, and choose the one that will be served.

Reads the models of train (dense), sparsify and quantize, and the test split, which no earlier stage has seen.
Leaves `outputs/evaluate/chosen.json`, and comparison.json with every form at every batch size.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import overwinter as ow
from overwinter.files import write_json


@dataclass(frozen=True)
class Contender:
    """A form, ready to answer on a runtime."""

    form: str
    runtime: str
    simplicity: int
    size_bytes: int
    session: ow.runtime.Session
    load_s: float | None
    peak_memory_bytes: int | None
    peak_gpu_memory_bytes: int | None


def main(stage: ow.pipeline.Stage) -> None:
    """Measure, choose, and say whether it pays."""
    settings, seed, trusted = stage.config.evaluate, stage.config.seed, stage.config.trusted_targets
    device = ow.runtime.serving_device(stage.config.device)
    ow.runtime.check_devices(settings.runtimes, device)
    data = ow.data.load_data(stage.config.data, trusted=trusted)
    inputs, labels = (tensor.numpy() for tensor in ow.data.tensors(data.split("test")))
    examiner = ow.evaluation.Examiner(inputs, labels, data.labels, settings, seed=seed, trusted=trusted)

    with tempfile.TemporaryDirectory() as scratch:
        contenders = prepare(stage, inputs, Path(scratch))
        sessions = {name: each.session for name, each in contenders.items()}
        quality = examiner.examine(sessions)
        figures = ow.evaluation.compare_speed(
            sessions,
            inputs,
            settings,
            meter=stage.meter,
            seed=seed,
            progress=stage.unsaved_progress,
            contenders=[name for name, each in quality.items() if not each.broken_limits],
            device=device,
        )

    candidates = [
        ow.evaluation.Candidate(
            form=each.form,
            runtime=each.runtime,
            simplicity=each.simplicity,
            quality=quality[name],
            size_bytes=each.size_bytes,
            load_s=each.load_s,
            peak_memory_bytes=each.peak_memory_bytes,
            peak_gpu_memory_bytes=each.peak_gpu_memory_bytes,
            figures=figures[name],
        )
        for name, each in contenders.items()
    ]
    choose(stage, candidates)


def prepare(stage: ow.pipeline.Stage, inputs: ow.runtime.Array, scratch: Path) -> dict[str, Contender]:
    """Build and open every form on every runtime that can run it."""
    contenders, device, models = {}, ow.runtime.serving_device(stage.config.device), forms(stage)
    refusals = {  # of all forms first: a damaged one is found before any work is done
        form: {runtime: ow.runtime.refusal(model, runtime, device) for runtime in stage.config.evaluate.runtimes}
        for form, model in models.items()
    }
    for simplicity, (form, model) in enumerate(models.items()):
        for runtime in (runtime for runtime, refusal in refusals[form].items() if refusal is None):
            name = f"{form}@{runtime}"
            contenders[name] = contender(stage, form, model, runtime, simplicity, inputs, scratch / name)
        if None not in refusals[form].values():
            stage.say(
                f"{form} takes no part: evaluate.runtimes names none that runs it "
                f"({'; '.join(map(str, refusals[form].values()))})"
            )
    return contenders


def forms(stage: ow.pipeline.Stage) -> dict[str, Path]:
    """Return form -> saved model, the simplest first; a sparsify stage that removed nothing adds no form."""
    sparse = stage.input("sparsify")
    removed = ow.models.load_description(sparse)["form"] != "dense"
    quantized = ow.quantization.read_forms(stage.input("quantize"))
    return {"dense": stage.input("train")} | ({"sparse": sparse} if removed else {}) | quantized


def contender(
    stage: ow.pipeline.Stage,
    form: str,
    model: Path,
    runtime: str,
    simplicity: int,
    inputs: ow.runtime.Array,
    folder: Path,
) -> Contender:
    """Build one form for one runtime, and open it as it would be served."""
    settings, trusted = stage.config.evaluate, stage.config.trusted_targets
    device = ow.runtime.serving_device(stage.config.device)
    ow.runtime.build(model, runtime, folder, trusted=trusted, device=device)
    batch, readiness = inputs[: max(settings.batch_sizes)], None
    if settings.measure_loading:
        readiness = ow.runtime.measure_loading(
            folder, runtime, batch, threads=settings.threads, trusted=trusted, device=device
        )
    return Contender(
        form=form,
        runtime=runtime,
        simplicity=simplicity,
        size_bytes=sum(file.stat().st_size for file in folder.iterdir()),
        session=ow.runtime.open_session(folder, runtime, settings.threads, trusted=trusted, device=device),
        load_s=readiness and readiness.load_s,
        peak_memory_bytes=readiness and readiness.peak_memory_bytes,
        peak_gpu_memory_bytes=readiness and readiness.peak_gpu_memory_bytes,
    )


def choose(stage: ow.pipeline.Stage, candidates: list[ow.evaluation.Candidate]) -> None:
    """Choose, say so, and write it down."""
    settings = stage.config.evaluate
    batch_size = settings.choose_at_batch_size
    options = [candidate.option(batch_size) for candidate in candidates]
    choice = ow.evaluation.choose(options, max_quality_loss=settings.max_quality_loss)
    for candidate in candidates:
        stage.say(ow.evaluation.describe(candidate, batch_size))
    stage.say(ow.evaluation.verdict(candidates, choice, batch_size))
    device = ow.runtime.device_entry(ow.runtime.serving_device(stage.config.device))
    write_json(stage.out("chosen.json"), {"form": choice.chosen.form, "runtime": choice.chosen.runtime} | device)
    write_json(stage.out("comparison.json"), ow.evaluation.comparison(candidates))
    stage.save_metrics(ow.evaluation.report(candidates, choice, batch_size) | device)


if __name__ == "__main__":
    ow.pipeline.run_stage("evaluate", main)
