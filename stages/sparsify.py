"""Remove weights or channels from the dense model, and let the rest recover with the dense model as its teacher."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from torch import nn

import overwinter as ow
from overwinter.files import write_json
from overwinter.metrics import ModelMetrics
from overwinter.progress import Progress, part
from overwinter.records import read_record


@dataclass(frozen=True, kw_only=True)
class Made:
    """A sparse model, what made it, and the epochs of its fine-tuning."""

    model: nn.Module
    sparsifier: ow.sparsity.Sparsifier
    epochs: int


def main(stage: ow.pipeline.Stage) -> None:
    """Make the model sparse, let it recover, and save it with its sparsity."""
    config, trusted = stage.config, stage.config.trusted_targets
    data = ow.data.load_data(config.data, trusted=trusted)
    task = ow.tasks.load_task(config.task, data.labels, trusted=trusted)
    dense = ow.models.load_description(stage.input("train"))

    made, trials = make_largest(stage, data, task)
    untouched = config.sparsify.method == "none"
    if not untouched:
        ow.models.drop_negative_zeros(made.model)
    saved = ow.models.save_model(
        stage.out("model"),
        made.model,
        variant="dense" if untouched else "sparse",
        model_config=dense["model"],
        signature=ow.models.signature_of(dense),
        lineage=stage.lineage(),
        quantization_aware=dense.get("quantization_aware") if untouched else None,
    )
    # Counted in what was saved, whatever the model in memory holds.
    report = made.sparsifier.report(ow.models.load_model(stage.out("model"), trusted=trusted))
    for layer, reason in report.left_alone.items():
        stage.log(f"left unchanged: {layer}: {reason}")
    if report.recovered is not None:
        stage.log(str(report.recovered))
    write_json(stage.out("layers.json"), report.to_json() | {"trials": trials})
    measures, loss = score(stage, made.model, data, task)
    stage.save_metrics(
        ModelMetrics(
            headline=task.headline.name,
            measures=measures,
            loss=loss,
            epochs=made.epochs,
            parameters=saved["parameters"],
            parameters_dense=dense["parameters"],
            size_bytes=ow.models.stored_bytes(saved),
            sparsity=saved["sparsity"],
        )
    )


def score(
    stage: ow.pipeline.Stage, model: nn.Module, data: ow.data.Data, task: ow.tasks.Task
) -> tuple[Mapping[str, float], float]:
    """Return the measures and the loss on validation; of weights that are as they came, those that `train` found."""
    config, path = stage.config, stage.input("train", "metrics.json")
    if (config.train.method, config.sparsify.method) == ("pretrained", "none") and path.exists():
        found = read_record(ModelMetrics, path, remedy="Run `overwinter run`.")
        if found.measures is not None and found.loss is not None:
            return found.measures, found.loss
    scored = ow.training.evaluate(model, data.split("validation"), task)
    return scored.measures, scored.loss


def make_largest(
    stage: ow.pipeline.Stage, data: ow.data.Data, task: ow.tasks.Task
) -> tuple[Made, list[dict[str, float]]]:
    """Make the model of the amount that is set, or of the largest that quality allows; return the trials, too."""
    settings, headline = stage.config.sparsify, task.headline
    search = settings.amount_search()
    if search is None:
        return make(stage, settings, data, task, stage.unsaved_progress), []

    def quality(model: nn.Module) -> float:
        return ow.training.evaluate(model, data.split("validation"), task).measures[headline.name]

    numbers, dense_quality = itertools.count(), quality(load_dense(stage))

    def attempt(amount: float) -> ow.sparsity.Trial[Made]:
        number, spent_j = next(numbers), stage.meter.read().energy_j
        progress = part(stage.unsaved_progress, number / search.trials, (number + 1) / search.trials)
        made = make(stage, replace(settings, amount=amount), data, task, progress)
        loss = headline.loss(quality(made.model), dense_quality)
        energy_j = stage.meter.read().energy_j - spent_j
        stage.log(f"trial {number + 1}: {amount:.1%} costs {headline.describe_loss(loss)} ({energy_j:.3g} J)")
        return ow.sparsity.Trial(amount=amount, quality_loss=loss, energy_j=energy_j, made=made)

    best, trials = ow.sparsity.find_largest(attempt, search, headline)
    return best.made, trials


def make(
    stage: ow.pipeline.Stage,
    settings: ow.sparsity.SparsifyConfig,
    data: ow.data.Data,
    task: ow.tasks.Task,
    progress: Progress,
) -> Made:
    """Prune the dense model, and let what is kept recover."""
    model, sparsifier = load_dense(stage), settings.open()
    hooks = prepare(stage, sparsifier, model, data, task, progress)
    recover(stage, sparsifier, model, task)
    epochs = fine_tune(stage, model, task, (data.split("train"), data.split("validation")), hooks)
    return Made(model=model, sparsifier=sparsifier, epochs=epochs)


def load_dense(stage: ow.pipeline.Stage) -> nn.Module:
    """Return the dense model."""
    return ow.models.load_model(stage.input("train"), trusted=stage.config.trusted_targets)


def prepare(
    stage: ow.pipeline.Stage,
    sparsifier: ow.sparsity.Sparsifier,
    model: nn.Module,
    data: ow.data.Data,
    task: ow.tasks.Task,
    progress: Progress,
) -> Sequence[ow.training.StepHook]:
    """Change ``model`` in place as far as can be done at once; return the hooks of the fine-tuning."""
    config = stage.config
    if not isinstance(sparsifier, ow.sparsity.Calibrated):
        return sparsifier.prepare(model, data.split("train"))
    device = ow.runtime.computing_device(config.device)
    sparsifier.calibrate_with(
        ow.sparsity.Calibration(
            seed=config.seed, leading=data.leading_tokens, device=device, task=task, progress=progress
        )
    )
    with ow.runtime.on_gpu(f"sparsify.method={config.sparsify.method}", device, remedy="set device=cpu"):
        return sparsifier.prepare(model, data.split("train"))


def recover(
    stage: ow.pipeline.Stage, sparsifier: ow.sparsity.Sparsifier, model: nn.Module, task: ow.tasks.Task
) -> None:
    """Fit what was kept of ``model``, in place, to the dense model's outputs, if the sparsifier does so."""
    if isinstance(sparsifier, ow.sparsity.Recovering):
        device = ow.runtime.computing_device(stage.config.device)
        with ow.runtime.on_gpu("sparsify.recovery", device, remedy="set device=cpu"):
            sparsifier.recover(model, load_dense(stage), task)


def fine_tune(
    stage: ow.pipeline.Stage,
    model: nn.Module,
    task: ow.tasks.Task,
    splits: tuple[ow.data.Split, ow.data.Split],
    hooks: Sequence[ow.training.StepHook],
) -> int:
    """Fine-tune ``model`` in place with the dense model as its teacher; return the epochs it took."""
    config = stage.config
    chosen = config.sparsify.fine_tuning()
    if chosen is None:
        return 0
    teacher = load_dense(stage)
    features = chosen.distillation_features
    fitted = ow.training.fit(
        model,
        *splits,
        chosen.fit,
        task=task,
        seed=config.seed,
        device=ow.training.pick_device(config.device),
        threads=config.threads,
        trusted=config.trusted_targets,
        hooks=hooks,
        loss=ow.training.DistillationLoss(
            task,
            teacher,
            weight=chosen.distillation_weight,
            temperature=chosen.distillation_temperature,
            features=ow.training.FeatureDistance(model, teacher, features) if features else None,
            feature_weight=chosen.distillation_feature_weight,
        ),
        checkpoints=stage.checkpoints,
        progress=stage.progress,
    )
    for hook in hooks:
        if isinstance(hook, ow.sparsity.HeldMasks):
            hook.refuse_broken()
    if fitted.compiling is not None:
        stage.log(fitted.compiling)
    return fitted.epochs_run


if __name__ == "__main__":
    ow.pipeline.run_stage("sparsify", main)
