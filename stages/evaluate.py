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
    session: ow.serving.Session


def main(stage: ow.pipeline.Stage) -> None:
    """Measure, choose, and say whether it pays."""
    settings = stage.config.evaluate
    data = ow.data.load_data(stage.config.data, trusted=stage.config.trusted_targets)
    inputs, labels = (tensor.numpy() for tensor in ow.data.tensors(data.split("test")))

    with tempfile.TemporaryDirectory() as scratch:
        contenders = {f"{each.form}@{each.runtime}": each for each in prepare(stage, Path(scratch))}
        sessions = {name: each.session for name, each in contenders.items()}
        accuracy = {name: ow.evaluation.measure_quality(session, inputs, labels) for name, session in sessions.items()}
        figures = ow.evaluation.compare_speed(
            sessions, inputs, settings, meter=stage.meter, seed=stage.config.seed, progress=stage.progress
        )

    candidates = [
        ow.evaluation.Candidate(
            form=each.form,
            runtime=each.runtime,
            simplicity=each.simplicity,
            accuracy=accuracy[name],
            size_bytes=each.size_bytes,
            figures=figures[name],
        )
        for name, each in contenders.items()
    ]
    batch_size = settings.choose_at_batch_size
    options = [candidate.option(batch_size) for candidate in candidates]
    choice = ow.evaluation.choose(options, max_quality_loss=settings.max_quality_loss)
    stage.say(ow.evaluation.verdict(candidates, choice, batch_size))
    write_json(stage.out("chosen.json"), {"form": choice.chosen.form, "runtime": choice.chosen.runtime})
    write_json(stage.out("comparison.json"), ow.evaluation.comparison(candidates))
    stage.save_metrics(ow.evaluation.report(candidates, choice, batch_size))


def prepare(stage: ow.pipeline.Stage, scratch: Path) -> list[Contender]:
    """Build and open every form on every runtime that can run it."""
    contenders = []
    for simplicity, (form, model) in enumerate(forms(stage).items()):
        refusals = {runtime: ow.runtime.refusal(model, runtime) for runtime in stage.config.evaluate.runtimes}
        for runtime, refusal in refusals.items():
            if refusal is None:
                contenders.append(contender(stage, form, model, runtime, simplicity, scratch / f"{form}-{runtime}"))
        if None not in refusals.values():
            stage.say(
                f"{form} takes no part: evaluate.runtimes names none that runs it "
                f"({'; '.join(map(str, refusals.values()))})"
            )
    return contenders


def forms(stage: ow.pipeline.Stage) -> dict[str, Path]:
    """Return form -> saved model, the simplest first; a sparsify stage that removed nothing adds no form."""
    sparse = stage.input("sparsify")
    removed = ow.models.load_description(sparse)["form"] != "dense"
    quantized = ow.quantization.read_forms(stage.input("quantize"))
    return {"dense": stage.input("train")} | ({"sparse": sparse} if removed else {}) | quantized


def contender(
    stage: ow.pipeline.Stage, form: str, model: Path, runtime: str, simplicity: int, folder: Path
) -> Contender:
    """Build one form for one runtime, and open it as it would be served."""
    trusted = stage.config.trusted_targets
    ow.runtime.build(model, runtime, folder, trusted=trusted)
    return Contender(
        form=form,
        runtime=runtime,
        simplicity=simplicity,
        size_bytes=sum(file.stat().st_size for file in folder.iterdir()),
        session=ow.runtime.open_session(folder, runtime, stage.config.evaluate.threads, trusted=trusted),
    )


if __name__ == "__main__":
    ow.pipeline.run_stage("evaluate", main)
