"""Train the dense model, from which all later stages start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import overwinter as ow
from overwinter.inputs import to_arrays
from overwinter.metrics import ModelMetrics

if TYPE_CHECKING:
    from torch.nn import Module

    from overwinter.signature import Signature


def main(stage: ow.pipeline.Stage) -> None:
    """Fit the model to the training split and keep its best weights by the loss on the validation split."""
    config, trusted = stage.config, stage.config.trusted_targets
    data = ow.data.load_data(config.data, trusted=trusted)
    data = data.use(ow.tasks.load_task(config.task, data.labels, trusted=trusted))
    model = ow.models.build_model(config.model, output=config.task.output, trusted=trusted, seed=config.seed)
    signature = look_ahead(stage, data, model)

    train, validation = data.split("train"), data.split("validation")
    awareness = ow.training.make_aware(model, config.train)
    fitted = ow.training.fit(
        model,
        train,
        validation,
        config.train,
        task=data.task,
        seed=config.seed,
        device=ow.training.pick_device(config.device),
        threads=config.threads,
        trusted=trusted,
        hooks=awareness.hooks,
        checkpoints=stage.checkpoints,
        progress=stage.progress,
    )
    headline = data.task.headline
    stage.log(
        f"{headline.name} {headline.describe(fitted.measures[headline.name])} on validation after "
        f"{fitted.epochs_run} epochs" + (", resumed from a checkpoint" if fitted.resumed else "")
    )
    for layer, reason in awareness.left_in_float.items():
        stage.log(f"left in floating point: {layer}: {reason}")

    keep(stage, data, fitted, signature, awareness.finish())


def look_ahead(stage: ow.pipeline.Stage, data: ow.data.Data, model: Module) -> Signature:
    """Find what this or a later stage would stumble over, before any work is done; return what the model takes."""
    config, trusted = stage.config, stage.config.trusted_targets
    device = ow.runtime.serving_device(config.device)
    for line in ow.data.check_splits(data):
        stage.log(line)
    ow.quantization.check_methods(config.quantize.methods, device=device)
    ow.quantization.check_layer_names(model, config.quantize)
    fine_tuning = config.sparsify.fine_tuning()
    ow.training.look_ahead(
        config.model,
        data.split("train"),
        {"train": config.train} | ({} if fine_tuning is None else {"sparsify.fit": fine_tuning.fit}),
        task=data.task,
        output=config.task.output,
        trusted=trusted,
        seed=config.seed,
        device=ow.training.pick_device(config.device),
    )
    examples, _ = data.split("train").spread(ow.runtime.EXAMPLES, seed=config.seed)
    ow.runtime.check_runtimes(
        model,
        config.evaluate.runtimes,
        model_config=config.model,
        examples=to_arrays(examples),
        trusted=trusted,
        device=device,
    )
    ow.evaluation.check_figures(config, data.task)
    return ow.models.find_signature(model, data.split("train").singles(ow.runtime.EXAMPLES))


def keep(
    stage: ow.pipeline.Stage,
    data: ow.data.Data,
    fitted: ow.training.FitResult,
    signature: Signature,
    aware: dict[str, Any] | None,
) -> None:
    """Save the model and its metrics."""
    saved = ow.models.save_model(
        stage.out("model"),
        fitted.model,
        variant="dense",
        model_config=stage.config.model,
        signature=signature,
        lineage=stage.lineage(),
        quantization_aware=aware,
    )
    stage.save_metrics(
        ModelMetrics(
            headline=data.task.headline.name,
            measures=fitted.measures,
            loss=fitted.best_validation_loss,
            epochs=fitted.epochs_run,
            parameters=saved["parameters"],
            size_bytes=ow.models.stored_bytes(saved),
        )
    )


if __name__ == "__main__":
    ow.pipeline.run_stage("train", main)
