"""Remove weights or channels from the dense model, and fine-tune the rest with the dense model as its teacher."""

from collections.abc import Sequence

from torch import nn

import overwinter as ow
from overwinter.files import write_json
from overwinter.metrics import ModelMetrics


def main(stage: ow.pipeline.Stage) -> None:
    """Sparsify, fine-tune, and save the model with its sparsity."""
    config, trusted = stage.config, stage.config.trusted_targets
    data = ow.data.load_data(config.data, trusted=trusted)
    task = ow.tasks.load_task(config.task, data.labels, trusted=trusted)
    train, validation = data.split("train"), data.split("validation")
    dense = ow.models.load_description(stage.input("train"))
    model = ow.models.load_model(stage.input("train"), trusted=trusted)

    sparsifier = config.sparsify.open()
    hooks = prepare(stage, sparsifier, model, data)
    epochs = fine_tune(stage, model, task, (train, validation), hooks)
    ow.models.drop_negative_zeros(model)

    untouched = config.sparsify.method == "none"
    saved = ow.models.save_model(
        stage.out("model"),
        model,
        variant="dense" if untouched else "sparse",
        model_config=dense["model"],
        signature=ow.models.signature_of(dense),
        lineage=stage.lineage(),
        quantization_aware=dense.get("quantization_aware") if untouched else None,
    )
    # Counted in what was saved, whatever the model in memory holds.
    report = sparsifier.report(ow.models.load_model(stage.out("model"), trusted=trusted))
    for layer, reason in report.left_alone.items():
        stage.log(f"left unchanged: {layer}: {reason}")
    write_json(stage.out("layers.json"), report.to_json())
    score = ow.training.evaluate(model, validation, task)
    stage.save_metrics(
        ModelMetrics(
            headline=task.headline.name,
            measures=score.measures,
            loss=score.loss,
            epochs=epochs,
            parameters=saved["parameters"],
            parameters_dense=dense["parameters"],
            size_bytes=ow.models.stored_bytes(saved),
            sparsity=saved["sparsity"],
        )
    )


def prepare(
    stage: ow.pipeline.Stage, sparsifier: ow.sparsity.Sparsifier, model: nn.Module, data: ow.data.Data
) -> Sequence[ow.training.StepHook]:
    """Change ``model`` in place as far as can be done at once; return the hooks of the fine-tuning."""
    config = stage.config
    if not isinstance(sparsifier, ow.sparsity.Calibrated):
        return sparsifier.prepare(model, data.split("train"))
    device = ow.runtime.computing_device(config.device)
    sparsifier.calibrate_with(
        ow.sparsity.Calibration(
            seed=config.seed, leading=data.leading_tokens, device=device, progress=stage.unsaved_progress
        )
    )
    with ow.runtime.on_gpu(f"sparsify.method={config.sparsify.method}", device, remedy="set device=cpu"):
        return sparsifier.prepare(model, data.split("train"))


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
    teacher = ow.models.load_model(stage.input("train"), trusted=config.trusted_targets)
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
            task, teacher, weight=chosen.distillation_weight, temperature=chosen.distillation_temperature
        ),
        checkpoints=stage.checkpoints,
        progress=stage.progress,
    )
    return fitted.epochs_run


if __name__ == "__main__":
    ow.pipeline.run_stage("sparsify", main)
