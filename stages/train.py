"""Train the dense model, from which all later stages start; or take a pretrained one as it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import overwinter as ow
from overwinter.inputs import to_arrays
from overwinter.metrics import ModelMetrics

if TYPE_CHECKING:
    from torch.nn import Module

    from overwinter.config.groups import TrainConfig
    from overwinter.signature import Signature


_SINGLES = 4  # samples from which the signature is found


class Trained(NamedTuple):
    """The dense model and its figures on the validation split; of a fit, the best epoch's."""

    model: Module
    loss: float
    measures: Mapping[str, float]
    epochs: int | None = None
    reached: bool | None = None
    aware: dict[str, Any] | None = None
    flops: ow.sparsity.TrainingFlops | None = None
    trained_parameters: int | None = None


def main(stage: ow.pipeline.Stage) -> None:
    """Make the dense model as `train.method` says, and save it with its figures on the validation split."""
    config, trusted = stage.config, stage.config.trusted_targets
    check_names(stage)
    data = ow.data.load_data(config.data, trusted=trusted)
    data = data.use(ow.tasks.load_task(config.task, data.labels, trusted=trusted))
    model = ow.models.build_model(config.model, output=config.task.output, trusted=trusted, seed=config.seed)
    if stage.ranks is not None:
        stage.ranks.check(model)
    signature = look_ahead(stage, data, model) if stage.is_main else None
    make = {"fit": fitted, "pretrained": taken}[config.train.method]
    trained = make(stage, data, model)
    if signature is not None:
        keep(stage, data, trained, signature)


def fitted(stage: ow.pipeline.Stage, data: ow.data.Data, model: Module) -> Trained:
    """Fit the model to the training split; its best weights are those with the least loss on the validation split."""
    config = stage.config
    frozen = whitened(stage, data, model)
    adapters = ow.training.add_adapters(model, config.train, data.split("train").first(1)[0], seed=config.seed)
    loss = distillation(stage, data)
    settings = batch_sized(stage, data, model, loss)
    awareness = ow.training.make_aware(model, config.train)
    sparse = ow.sparsity.start_sparse(model, config.train, seed=config.seed)
    shrinking = shrinking_hooks(stage, model, data.split("train"))
    result = ow.training.fit(
        model,
        data.split("train"),
        data.split("validation"),
        settings,
        task=data.task,
        seed=config.seed,
        device=ow.training.pick_device(config.device),
        threads=config.threads,
        trusted=config.trusted_targets,
        hooks=[*awareness.hooks, *sparse.hooks, *shrinking],
        frozen=frozen,
        loss=loss,
        checkpoints=stage.checkpoints,
        spent_j=stage.spent_j,
        progress=stage.progress,
        ranks=stage.ranks or ow.training.ALONE,
    )
    log_fit(stage, data, result)
    if "adapters" in config.pipeline.stages[stage.name].outs:
        adapters.save(stage.out("adapters"))
    adapters.merge()
    for layer, reason in adapters.left_alone.items():
        stage.log(f"has no adapter: {layer}: {reason}")
    for layer, reason in awareness.left_in_float.items():
        stage.log(f"left in floating point: {layer}: {reason}")
    for layer, reason in sparse.left_alone.items():
        stage.log(f"keeps all weights: {layer}: {reason}")
    return Trained(
        model=result.model,
        loss=result.best_validation_loss,
        measures=result.measures,
        epochs=result.epochs_run,
        reached=result.reached,
        aware=awareness.finish(),
        trained_parameters=adapters.trained,
        flops=sparse.count_flops(
            result.model, data.split("train").singles(1)[0], steps=result.steps, batch_size=settings.batch_size
        ),
    )


def batch_sized(
    stage: ow.pipeline.Stage, data: ow.data.Data, model: Module, loss: ow.training.Loss | None
) -> TrainConfig:
    """Return the settings of the training, with the cheapest of its batch sizes if it names several."""
    config = stage.config
    return ow.training.choose_batch_size(
        model,
        data.split("train"),
        data.split("validation"),
        config.train,
        energy_j=lambda: stage.meter.read().energy_j,
        log=stage.log,
        limits=stage.control,
        checkpoints=stage.checkpoints,
        task=data.task,
        seed=config.seed,
        device=ow.training.pick_device(config.device),
        threads=config.threads,
        trusted=config.trusted_targets,
        loss=loss,
    )


def log_fit(stage: ow.pipeline.Stage, data: ow.data.Data, result: ow.training.FitResult) -> None:
    """Say what the fit reached, and why it stopped."""
    headline = data.task.headline
    stage.log(
        f"{headline.describe_named(result.measures[headline.name])} on validation after {result.epochs_run} epochs"
        + (", resumed from a checkpoint" if result.resumed else "")
        + ("" if result.reached is None else f", the target {'' if result.reached else 'not '}reached")
    )
    if result.compiling is not None:
        stage.log(result.compiling)
    if result.last_return is not None:
        stage.log(
            f"stopped: {headline.title} gained {result.last_return:.3g} per kJ in the last two epochs, and "
            f"train.min_gain_per_kj={stage.config.train.min_gain_per_kj:g}"
        )


def shrinking_hooks(stage: ow.pipeline.Stage, model: Module, train: ow.data.Split) -> list[ow.sparsity.Shrinking]:
    """Return the hook that removes channels while the model is trained, if `train.shrink` asks for it."""
    if stage.config.train.shrink is None:
        return []
    hook = ow.sparsity.Shrinking(model, train, stage.config.train.shrink)
    for layer, reason in hook.left_alone.items():
        stage.log(f"keeps its channels: {layer}: {reason}")
    return [hook]


def distillation(stage: ow.pipeline.Stage, data: ow.data.Data) -> ow.training.Loss | None:
    """Return the loss that follows a teacher too, if there is one."""
    train = stage.config.train
    if train.teacher is None or data.task is None:
        return None
    samples, trusted = data.split("train").first(2), stage.config.trusted_targets
    teacher = ow.bundle.load_teacher(train.teacher, samples, data.task, trusted=trusted)
    return ow.training.DistillationLoss(
        data.task, teacher, weight=train.distillation_weight, temperature=train.distillation_temperature
    )


def whitened(stage: ow.pipeline.Stage, data: ow.data.Data, model: Module) -> tuple[Module, ...]:
    """Set the first convolution to whiten patches of the images, if it shall; return what stays as it is."""
    samples = stage.config.train.whitening_samples
    if not samples:
        return ()
    train = data.split("train")
    found = ow.training.whiten_first_convolution(model, train, samples=samples, seed=stage.config.seed)
    stage.log(f"{found.name} whitens patches of the images and is not trained")
    return found.frozen


def taken(stage: ow.pipeline.Stage, data: ow.data.Data, model: Module) -> Trained:
    """Take the model with the weights that it came with."""
    score = ow.training.evaluate(model, data.split("validation"), data.task, progress=stage.unsaved_progress)
    headline, origin = data.task.headline, getattr(model, "origin", None)
    stage.log(
        f"{headline.describe_named(score.measures[headline.name])} on validation with the weights as they came"
        + ("" if origin is None else f" (dense is {origin})")
    )
    return Trained(model=model, loss=score.loss, measures=score.measures)


def check_names(stage: ow.pipeline.Stage) -> None:
    """Find unknown methods, runtimes and devices before the model is read."""
    config = stage.config
    device = ow.runtime.serving_device(config.device)
    ow.quantization.check_methods(config.quantize.methods, device=device)
    ow.runtime.check_devices(config.evaluate.runtimes, device)


def look_ahead(stage: ow.pipeline.Stage, data: ow.data.Data, model: Module) -> Signature:
    """Find what this or a later stage would stumble over, before any work is done; return what the model takes."""
    config, trusted = stage.config, stage.config.trusted_targets
    ow.data.check_vocabulary(data, model)
    shape = {"prompt_tokens": config.evaluate.prompt_tokens, "written_tokens": config.evaluate.written_tokens}
    ow.data.check_context(data, model, **shape)
    for line in ow.data.check_splits(data):
        stage.log(line)
    config.sparsify.check_model(model)
    ow.quantization.check_layer_names(model, config.quantize)
    if config.train.method == "pretrained":
        ow.training.check_pretrained(model, data.split("validation"), data.task)
    fine_tuning = config.sparsify.fine_tuning()
    fits = {"train": config.train} if config.train.method == "fit" else {}
    fits |= {} if fine_tuning is None else {config.sparsify.fit_key(): fine_tuning.fit}
    if fits:
        ow.training.look_ahead(
            config.model,
            data.split("train"),
            fits,
            task=data.task,
            output=config.task.output,
            trusted=trusted,
            seed=config.seed,
            # What is sharded may not fit into one GPU.
            device=ow.training.pick_device("cpu" if config.train.distributed == "fsdp" else config.device),
        )
    examples, _ = data.split("train").spread(ow.runtime.EXAMPLES, seed=config.seed)
    ow.runtime.check_runtimes(
        model,
        config.evaluate.runtimes,
        model_config=config.model,
        examples=to_arrays(examples),
        trusted=trusted,
        device=ow.runtime.serving_device(config.device),
    )
    ow.evaluation.check_figures(config, data.task)
    return ow.models.find_signature(model, data.split("train").singles(_SINGLES))


def keep(stage: ow.pipeline.Stage, data: ow.data.Data, trained: Trained, signature: Signature) -> None:
    """Save the model, its tokenizer and the file it came in where later stages want them, and its metrics."""
    outs = stage.config.pipeline.stages[stage.name].outs
    saved = ow.models.save_model(
        stage.out("model"),
        trained.model,
        variant="dense",
        model_config=stage.config.model,
        signature=signature,
        lineage=stage.lineage(),
        quantization_aware=trained.aware,
    )
    if "tokenizer" in outs:
        ow.models.save_tokenizer(tokenizer_of(stage.config), stage.out("tokenizer"))
    if "given" in outs:
        keep_given(stage, trained.model, signature)
    stage.save_metrics(
        ModelMetrics(
            headline=data.task.headline.name,
            measures=trained.measures,
            loss=trained.loss,
            epochs=trained.epochs,
            to=None if trained.reached is None else stage.config.train.to,
            reached=trained.reached,
            origin=getattr(trained.model, "origin", None),
            parameters=saved["parameters"],
            trained_parameters=trained.trained_parameters,
            size_bytes=ow.models.stored_bytes(saved),
            sparsity=None if trained.flops is None else saved["sparsity"],
            training_flops=None if trained.flops is None else trained.flops.sparse,
            training_flops_dense=None if trained.flops is None else trained.flops.dense,
        )
    )


def tokenizer_of(config: ow.config.Config) -> str:
    """Return where the tokenizer is: with the model, or, of one trained from scratch, where the data names it."""
    root: str = config.model.get("root") or config.data["tokenizer"]
    return root


def keep_given(stage: ow.pipeline.Stage, model: Module, signature: Signature) -> None:
    """Keep the file that the model came in as variants, which whatever is made of it has to beat; or none of a fit."""
    path = ow.models.given_file(stage.config.model) if stage.config.train.method == "pretrained" else None
    config = model.saved_as() if isinstance(model, ow.models.CausalLanguageModel) else stage.config.model
    notes = ow.models.write_given(
        stage.out("given"), path, model_config=config, signature=signature, lineage=stage.lineage()
    )
    for note in notes:
        stage.log(note)


if __name__ == "__main__":
    ow.pipeline.run_stage("train", main)
