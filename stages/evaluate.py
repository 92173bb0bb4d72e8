"""Evaluate: measure every variant on every runtime, side by side, and choose the one that will be served.

Reads the models of the stages that it needs (train's is dense) and the test split, which no earlier stage reads.
Writes `outputs/evaluate/chosen.json`, and comparison.json with every measurement.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import overwinter as ow
from overwinter.records import write_record


def main(stage: ow.pipeline.Stage) -> None:
    """Measure every variant, choose one, and log whether compression pays off."""
    settings, seed, trusted = stage.config.evaluate, stage.config.seed, stage.config.trusted_targets
    device = ow.runtime.serving_device(stage.config.device)
    ow.runtime.check_devices(settings.runtimes, device)
    data = ow.data.load_data(stage.config.data, trusted=trusted)
    test = data.use(ow.tasks.load_task(stage.config.task, data.labels, trusted=trusted)).split("test")
    inputs, labels = (tensor.numpy() for tensor in test.whole())
    examples = test.spread(ow.runtime.EXAMPLES, seed=seed)[0].numpy()
    examiner = ow.evaluation.Examiner(inputs, labels, data.labels, settings, seed=seed, trusted=trusted)

    variants = stage.variants()
    with tempfile.TemporaryDirectory() as scratch:
        built = build(stage, variants, examples, Path(scratch))
        size_bytes = {name: sum(file.stat().st_size for file in folder.iterdir()) for name, folder in built.items()}
        loading = measure_loading(stage, built, inputs) if settings.measure_loading else {}
        sessions = open_sessions(stage, built)
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

    candidates = []
    for name in built:
        variant, _, runtime = name.partition("@")
        candidates.append(
            ow.evaluation.Candidate(
                variant=variant,
                runtime=runtime,
                simplicity=list(variants).index(variant),
                size_bytes=size_bytes[name],
                quality=quality[name],
                cost=ow.evaluation.BatchCost(batch_size=settings.choose_at_batch_size, figures=figures[name]),
                loading=loading.get(name),
            )
        )
    choice = ow.evaluation.choose(candidates, max_quality_loss=settings.max_quality_loss)
    for line in ow.evaluation.verdict(candidates, choice):
        stage.log(line)
    write_record(stage.out("chosen.json"), choice.served(device=device))
    write_record(stage.out("comparison.json"), ow.evaluation.comparison(candidates))
    stage.save_metrics(choice.metrics(device=device, batch_size=settings.choose_at_batch_size))


def build(
    stage: ow.pipeline.Stage, variants: dict[str, Path], examples: ow.runtime.Array, scratch: Path
) -> dict[str, Path]:
    """Build every variant for every runtime that supports it, and return variant@runtime -> folder."""
    device, trusted = ow.runtime.serving_device(stage.config.device), stage.config.trusted_targets
    refusals = {  # for all variants first, to find a damaged one before any work is done
        variant: {runtime: ow.runtime.refusal(model, runtime, device) for runtime in stage.config.evaluate.runtimes}
        for variant, model in variants.items()
    }
    built = {}
    for variant, model in variants.items():
        for runtime in (runtime for runtime, refusal in refusals[variant].items() if refusal is None):
            folder = built[f"{variant}@{runtime}"] = scratch / f"{variant}@{runtime}"
            ow.runtime.build(model, runtime, folder, examples=examples, trusted=trusted, device=device)
        if None not in refusals[variant].values():
            stage.log(
                f"{variant} is left out: no runtime in evaluate.runtimes supports it "
                f"({'; '.join(map(str, refusals[variant].values()))})"
            )
    return built


def measure_loading(
    stage: ow.pipeline.Stage, built: dict[str, Path], inputs: ow.runtime.Array
) -> dict[str, ow.runtime.Readiness]:
    """Load each built variant in a fresh process and return its load time and peak memory."""
    settings = stage.config.evaluate
    return {
        name: ow.runtime.measure_loading(
            folder,
            name.partition("@")[2],
            inputs[: max(settings.batch_sizes)],
            threads=settings.threads,
            trusted=stage.config.trusted_targets,
            device=ow.runtime.serving_device(stage.config.device),
        )
        for name, folder in built.items()
    }


def open_sessions(stage: ow.pipeline.Stage, built: dict[str, Path]) -> dict[str, ow.runtime.Session]:
    """Open each built variant as it would be served."""
    threads, trusted = stage.config.evaluate.threads, stage.config.trusted_targets
    device = ow.runtime.serving_device(stage.config.device)
    return {
        name: ow.runtime.open_session(folder, name.partition("@")[2], threads, trusted=trusted, device=device)
        for name, folder in built.items()
    }


if __name__ == "__main__":
    ow.pipeline.run_stage("evaluate", main)
