"""Hibernate: save the chosen variant as a bundle that wakes only if it does to raw samples what it did here.

Reads `outputs/evaluate/chosen.json` and the model that it names. Writes `outputs/hibernate/bundle`: a folder, or one
encrypted file if there are encryption keys.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import overwinter as ow
from overwinter.bundle.sealed import load_signing_key
from overwinter.bundle.store import StoreAddress, open_store
from overwinter.inputs import to_arrays
from overwinter.metrics import Chosen, ModelMetrics
from overwinter.records import read_record
from overwinter.units import format_bytes, format_duration

TOKENIZER_FILES = (".json", ".jinja", ".txt", ".model")  # the folder may be a model's, whose weights are not needed


def main(stage: ow.pipeline.Stage) -> None:
    """Build the chosen variant for its runtime, bundle it, and time its wake in a fresh process."""
    settings, trusted = stage.config.hibernate, stage.config.trusted_targets
    chosen = read_record(Chosen, stage.input("evaluate", "chosen.json"), remedy="Run `dvc repro evaluate`.")
    runtime, device, model = chosen.runtime, chosen.device, stage.variant(chosen.variant)
    data = ow.data.load_data(stage.config.data, trusted=trusted)
    validation = data.split("validation")
    inputs, _ = validation.first(settings.canary_samples)
    examples = to_arrays(validation.spread(ow.runtime.EXAMPLES, seed=stage.config.seed)[0])
    facts = facts_of(stage, chosen, data, model)

    with tempfile.TemporaryDirectory() as scratch:
        payload = Path(scratch) / runtime
        ow.runtime.build(model, runtime, payload, examples=examples, trusted=trusted, device=device)
        ow.bundle.hibernate(
            stage.out("bundle"),
            payload=payload,
            facts=facts,
            canary_inputs=to_arrays(ow.runtime.canary_tokens(inputs) if facts.generates else inputs),
            canary_raw=None if data.prepares is None else validation.raw(settings.canary_samples),
            canary_tolerance=settings.canary_tolerance,
            extras=extras_of(stage, data, Path(scratch) / "extras"),
            trusted=trusted,
        )

    keys = list(settings.encryption_keys)
    bundle = ow.bundle.protect(stage.out("bundle"), sign_key=settings.sign_key, encryption_keys=keys)
    with stage.quiet_device():
        wakes = ow.bundle.measure_wake(bundle.source, repeats=settings.wake_repeats, keys=keys, trusted=trusted)
    size = format_bytes(bundle.size_bytes)
    stage.log(
        f"{chosen.variant}@{runtime}: bundle of {size}, wakes in a fresh process in {format_duration(wakes.median_s)}"
    )
    stage.save_metrics(ModelMetrics(size_bytes=bundle.size_bytes, wake_duration_s=wakes.median_s))
    if settings.publish is not None:
        stage.log(published(stage, bundle.source))


def facts_of(stage: ow.pipeline.Stage, chosen: Chosen, data: ow.data.Data, model: Path) -> ow.bundle.BundleFacts:
    """Return what bundle.json says of the chosen variant."""
    settings = stage.config.hibernate
    return ow.bundle.BundleFacts(
        variant=chosen.variant,
        runtime=chosen.runtime,
        task=ow.tasks.task_node(stage.config.task),
        signature=ow.models.signature_of(ow.models.load_description(model)),
        labels=data.labels,
        preprocessing=ow.data.as_json(data.preprocessing),
        production_energy_j=production_energy_j(stage),
        lineage=lineage(stage, data),
        licence=settings.licence,
        notes=settings.notes,
        # Another machine's GPUs have other numbers.
        device=None if chosen.device == "cpu" else chosen.device.partition(":")[0],
    )


def published(stage: ow.pipeline.Stage, bundle: Path) -> str:
    """Publish a bundle to the configured store, and return a line that names its version."""
    settings = stage.config.hibernate
    address = StoreAddress.parse(settings.publish)
    sign_key = None if settings.sign_key is None else load_signing_key(settings.sign_key)
    keys = ow.bundle.Keys(opening=tuple(settings.encryption_keys))
    store = open_store(address.store, sign_key=sign_key)
    number, _ = store.publish(bundle, address.name, alias=address.which, keys=keys)
    return f"published as version {number} of {address.name} ({address.which}) in {address.store}"


def extras_of(stage: ow.pipeline.Stage, data: ow.data.Data, extras: Path) -> Path | None:
    """Return a folder with the tokenizer of the preprocessing or of a language model; None for other models."""
    tokenizer = None if data.prepares is None else data.prepares.extras
    if tokenizer is None and "tokenizer" in stage.config.pipeline.stages["train"].outs:
        tokenizer = stage.input("train", "tokenizer")
    if tokenizer is None:
        return None
    (extras / "tokenizer").mkdir(parents=True)
    for path in sorted(tokenizer.iterdir()):
        if path.suffix in TOKENIZER_FILES:
            shutil.copyfile(path, extras / "tokenizer" / path.name)
    return extras


def lineage(stage: ow.pipeline.Stage, data: ow.data.Data) -> dict[str, object]:
    """Return digests of the inputs, the parameters and the data, and the versions of the code."""
    pipeline = stage.config.pipeline
    code = [Path(pipeline.programs), *map(Path, pipeline.code)]
    return stage.lineage() | {"data_sha256": ow.bundle.data_digest(data)} | ow.bundle.code_version(code)


def production_energy_j(stage: ow.pipeline.Stage) -> float | None:
    """Return the joules recorded for producing the model; None if a stage has no record."""
    paths = [stage.input(need, "energy.json") for need in stage.config.pipeline.stages["hibernate"].needs]
    if not all(path.exists() for path in paths):
        return None
    return sum(ow.energy.read_energy(path).energy_j for path in paths)


if __name__ == "__main__":
    ow.pipeline.run_stage("hibernate", main)
