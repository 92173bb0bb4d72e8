"""Remove weights or channels from the dense model, and fine-tune the rest with the dense model as its teacher."""

from collections.abc import Sequence

from torch import nn
from torch.utils.data import Dataset

import overwinter as ow
from overwinter.files import write_json
from overwinter.metrics import ModelMetrics


def main(stage: ow.pipeline.Stage) -> None:
    """Sparsify, fine-tune, and save the model with its sparsity."""
    config, trusted = stage.config, stage.config.trusted_targets
    data = ow.data.load_data(config.data, trusted=trusted)
    train, validation = data.split("train"), data.split("validation")
    dense = ow.models.load_description(stage.input("train"))
    model = ow.models.load_model(stage.input("train"), trusted=trusted)

    sparsifier = config.sparsify.open()
    hooks = sparsifier.prepare(model, train)
    epochs = fine_tune(stage, model, train, validation, hooks)
    report = sparsifier.report(model)
    for layer, reason in report.left_alone.items():
        stage.log(f"left unchanged: {layer}: {reason}")

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
    write_json(stage.out("layers.json"), report.to_json())
    score = ow.training.evaluate(model, *ow.data.tensors(validation))
    stage.save_metrics(
        ModelMetrics(
            headline="accuracy",
            measures={"accuracy": score.accuracy},
            loss=score.loss,
            epochs=epochs,
            parameters=saved["parameters"],
            parameters_dense=dense["parameters"],
            size_bytes=ow.models.stored_bytes(saved),
            sparsity=saved["sparsity"],
        )
    )


def fine_tune(
    stage: ow.pipeline.Stage,
    model: nn.Module,
    train: Dataset,
    validation: Dataset,
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
        train,
        validation,
        chosen.fit,
        seed=config.seed,
        device=ow.training.pick_device(config.device),
        threads=config.threads,
        hooks=hooks,
        loss=ow.training.DistillationLoss(
            teacher,
            weight=chosen.distillation_weight,
            temperature=chosen.distillation_temperature,
            label_smoothing=chosen.fit.label_smoothing,
        ),
        checkpoints=stage.checkpoints,
        progress=stage.progress,
    )
    return fitted.epochs_run


if __name__ == "__main__":
    ow.pipeline.run_stage("sparsify", main)
