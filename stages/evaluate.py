"""Evaluate: measure every variant on every runtime, side by side, and choose the one that will be served.

Reads the models of the stages that it needs (train's is dense) and the test split, which no earlier stage reads.
Writes `outputs/evaluate/chosen.json`, and comparison.json with every measurement.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import overwinter as ow
from overwinter.errors import IntegrityError, OverwinterError
from overwinter.inputs import Inputs, to_arrays
from overwinter.records import write_record


def main(stage: ow.pipeline.Stage) -> None:
    """Measure every variant, choose one, and log whether compression pays off."""
    config, settings = stage.config, stage.config.evaluate
    device = ow.runtime.serving_device(config.device)
    ow.runtime.check_devices(settings.runtimes, device)
    data = ow.data.load_data(config.data, trusted=config.trusted_targets)
    task = ow.tasks.load_task(config.task, data.labels, trusted=config.trusted_targets)
    test = data.use(task).split("test")
    measure = generated if task.generates and settings.generates else computed
    candidates = measure(stage, task, test, stage.variants())
    choice = ow.evaluation.choose(candidates, max_quality_loss=settings.max_quality_loss)
    for line in ow.evaluation.verdict(candidates, choice, max_quality_loss=settings.max_quality_loss):
        stage.log(line)
    zeros = ow.evaluation.zeros_of({name: ow.models.load_description(path) for name, path in stage.variants().items()})
    for line in ow.evaluation.on_zeros(candidates, zeros):
        stage.log(line)
    write_record(stage.out("chosen.json"), choice.served(device=device))
    write_record(stage.out("comparison.json"), ow.evaluation.comparison(candidates))
    stage.save_metrics(choice.metrics(device=device))


def computed(
    stage: ow.pipeline.Stage, task: ow.tasks.Task, test: ow.data.Split, variants: Mapping[str, Path]
) -> list[ow.evaluation.Candidate]:
    """Measure outputs and their cost: every variant is built for every runtime that supports it."""
    settings, seed = stage.config.evaluate, stage.config.seed
    examples, _ = test.spread(ow.runtime.EXAMPLES, seed=seed)
    batches = ow.evaluation.draw_batches(test, settings.batch_sizes, seed=seed)
    with tempfile.TemporaryDirectory() as scratch:
        built = build(stage, variants, to_arrays(examples), Path(scratch))
        largest = batches[max(settings.batch_sizes)][0]
        loading = measure_loading(stage, task, built, largest) if settings.measure_loading else {}
        if task.generates:
            sessions = every_position(open_language_sessions(stage, built))
        else:
            sessions = open_sessions(stage, built)
        quality = examine(stage, task, test, variants, sessions)
        with stage.quiet_device():
            figures = ow.evaluation.compare_speed(
                sessions,
                batches,
                settings,
                meter=stage.meter,
                seed=seed,
                progress=stage.unsaved_progress,
                contenders=[name for name, each in quality.items() if not each.broken_limits],
                device=ow.runtime.serving_device(stage.config.device),
            )
        size = settings.choose_at_batch_size
        costs = {name: ow.evaluation.BatchCost(batch_size=size, figures=each) for name, each in figures.items()}
        return compete(variants, built, quality, costs, loading)


def generated(
    stage: ow.pipeline.Stage, task: ow.tasks.Task, test: ow.data.Split, variants: Mapping[str, Path]
) -> list[ow.evaluation.Candidate]:
    """Measure outputs, and the cost of generated text: a prompt read and tokens written, step by step."""
    settings, seed = stage.config.evaluate, stage.config.seed
    prompt = ow.evaluation.draw_prompt(test, settings.prompt_tokens)
    examples, _ = test.spread(ow.runtime.EXAMPLES, seed=seed)
    with tempfile.TemporaryDirectory() as scratch:
        built = build(stage, variants, to_arrays(examples), Path(scratch), as_saved=True)
        loading = measure_loading(stage, task, built, prompt.numpy()) if settings.measure_loading else {}
        sessions = open_language_sessions(stage, built)
        quality = examine(stage, task, test, variants, every_position(sessions))
        with stage.quiet_device():
            costs = ow.evaluation.compare_generation(
                sessions,
                prompt,
                settings,
                meter=stage.meter,
                seed=seed,
                progress=stage.unsaved_progress,
                device=ow.runtime.serving_device(stage.config.device),
            )
        return compete(variants, built, quality, costs, loading)


def supported(stage: ow.pipeline.Stage, variants: Mapping[str, Path]) -> dict[str, Path]:
    """Return variant@runtime -> saved model, for every runtime that supports the variant; log what is left out."""
    device = ow.runtime.serving_device(stage.config.device)
    refusals = {  # for all variants first, to find a damaged one before any work is done
        variant: {runtime: ow.runtime.refusal(model, runtime, device) for runtime in stage.config.evaluate.runtimes}
        for variant, model in variants.items()
    }
    for runtime in stage.config.evaluate.runtimes:
        if all(reasons[runtime] is not None for reasons in refusals.values()):
            stage.log(f"{runtime} is left out: {refusals[next(iter(variants))][runtime]}")
    for variant, reasons in refusals.items():
        if None not in reasons.values():
            whys = "; ".join(f"{runtime}: {reason}" for runtime, reason in reasons.items())
            stage.log(f"{variant} is left out: no runtime in evaluate.runtimes supports it ({whys})")
    return {
        f"{variant}@{runtime}": variants[variant]
        for variant, reasons in refusals.items()
        for runtime, reason in reasons.items()
        if reason is None
    }


def build(
    stage: ow.pipeline.Stage, variants: Mapping[str, Path], examples: Inputs, scratch: Path, *, as_saved: bool = False
) -> dict[str, Path]:
    """Build every variant for every runtime that supports it, and return variant@runtime -> folder.

    ``as_saved``: of language models. A runtime that opens saved models as they are gets those; one that fails to build
    a variant, as another program's reader may, is left out for that variant, since the others can still be compared.
    """
    device, trusted = ow.runtime.serving_device(stage.config.device), stage.config.trusted_targets
    built: dict[str, Path] = {}
    for name, model in supported(stage, variants).items():
        if as_saved and not ow.runtime.converts(runtime_of(name)):
            built[name] = model
            continue
        try:
            ow.runtime.build(model, runtime_of(name), scratch / name, examples=examples, trusted=trusted, device=device)
        except IntegrityError:
            raise
        except OverwinterError as error:
            if not as_saved:
                raise
            stage.log(f"{name} is left out: {error}")
            continue
        built[name] = scratch / name
    return built


def measure_loading(
    stage: ow.pipeline.Stage, task: ow.tasks.Task, built: Mapping[str, Path], batch: Inputs
) -> dict[str, ow.runtime.Readiness]:
    """Load each built variant in a fresh process and return its load time and peak memory."""
    with stage.quiet_device():
        return {
            name: ow.runtime.measure_loading(
                folder,
                runtime_of(name),
                batch,
                language=task.generates,
                threads=stage.config.evaluate.threads,
                trusted=stage.config.trusted_targets,
                device=ow.runtime.serving_device(stage.config.device),
            )
            for name, folder in built.items()
        }


def open_sessions(stage: ow.pipeline.Stage, built: Mapping[str, Path]) -> dict[str, ow.runtime.Session]:
    """Open each built variant as it would be served."""
    threads, trusted = stage.config.evaluate.threads, stage.config.trusted_targets
    device = ow.runtime.serving_device(stage.config.device)
    return {
        name: ow.runtime.open_session(folder, runtime_of(name), threads, trusted=trusted, device=device)
        for name, folder in built.items()
    }


def open_language_sessions(
    stage: ow.pipeline.Stage, built: Mapping[str, Path]
) -> dict[str, ow.runtime.LanguageSession]:
    """Open each built variant as it would be served, to generate text step by step."""
    threads, trusted = stage.config.evaluate.threads, stage.config.trusted_targets
    device = ow.runtime.serving_device(stage.config.device)
    return {
        name: ow.runtime.open_language(folder, runtime_of(name), threads, trusted=trusted, device=device)
        for name, folder in built.items()
    }


def every_position(sessions: Mapping[str, ow.runtime.LanguageSession]) -> dict[str, ow.runtime.Session]:
    """Return language sessions as what the task judges."""
    return {name: ow.evaluation.EveryPosition(session) for name, session in sessions.items()}


def examine(
    stage: ow.pipeline.Stage,
    task: ow.tasks.Task,
    test: ow.data.Split,
    variants: Mapping[str, Path],
    sessions: Mapping[str, ow.runtime.Session],
) -> dict[str, ow.evaluation.Quality]:
    """Measure the quality of every session's outputs on the test split."""
    examiner = ow.evaluation.Examiner(
        task,
        stage.config.evaluate,
        seed=stage.config.seed,
        trusted=stage.config.trusted_targets,
        origin=ow.models.load_description(next(iter(variants.values())))["model"].get("origin"),
    )
    quality = examiner.examine(sessions, test, stage.unsaved_progress)
    for note in examiner.notes:
        stage.log(note)
    return quality


def compete(
    variants: Mapping[str, Path],
    folders: Mapping[str, Path],
    quality: Mapping[str, ow.evaluation.Quality],
    costs: Mapping[str, ow.evaluation.BatchCost] | Mapping[str, ow.evaluation.GenerationCost],
    loading: Mapping[str, ow.runtime.Readiness],
) -> list[ow.evaluation.Candidate]:
    """Return every variant on every runtime with its measurements; the variants are listed from the simplest."""
    order: Sequence[str] = list(variants)
    return [
        ow.evaluation.Candidate(
            variant=name.partition("@")[0],
            runtime=runtime_of(name),
            simplicity=order.index(name.partition("@")[0]),
            size_bytes=sum(file.stat().st_size for file in folder.iterdir()),
            quality=quality[name],
            cost=costs[name],
            loading=loading.get(name),
        )
        for name, folder in folders.items()
    ]


def runtime_of(name: str) -> str:
    """Return the runtime of variant@runtime."""
    return name.partition("@")[2]


if __name__ == "__main__":
    ow.pipeline.run_stage("evaluate", main)
