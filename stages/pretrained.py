"""Import a pretrained language model as the dense model, from which all later stages start.

This is the stage `train` of a pipeline that trains nothing (`configs/pipeline/language.yaml`). Writes
`outputs/train/model/` and `outputs/train/tokenizer/`.
"""

from __future__ import annotations

import overwinter as ow
from overwinter.errors import ConfigError
from overwinter.metrics import ModelMetrics


def main(stage: ow.pipeline.Stage) -> None:
    """Read the model, save it in Overwinter's own format, and measure its perplexity on the validation split."""
    config, trusted = stage.config, stage.config.trusted_targets
    # Errors of later stages are found before any work is done.
    device = ow.runtime.serving_device(config.device)
    ow.quantization.check_methods(config.quantize.methods, device=device)
    ow.runtime.check_devices(config.evaluate.runtimes, device)
    model = ow.models.build_model(config.model, trusted=trusted, seed=config.seed)
    if not isinstance(model, ow.models.CausalLanguageModel):
        raise ConfigError(f"model._target_={config.model['_target_']} is not a language model. Set model=huggingface.")
    ow.quantization.check_layer_names(model, config.quantize)
    data = ow.data.load_data(config.data, trusted=trusted)
    task = ow.tasks.load_task(config.task, data.labels, trusted=trusted)
    ow.evaluation.check_figures(config, task)
    for split in ("train", "test"):
        data.split(split)  # too little text for a split is found here
    validation = data.use(task).split("validation")

    saved = ow.models.save_model(
        stage.out("model"),
        model,
        variant="dense",
        model_config=model.saved_as(),
        signature=ow.models.find_signature(model, validation.singles(1)),
        lineage=stage.lineage(),
    )
    ow.models.save_tokenizer(config.model["root"], stage.out("tokenizer"))
    score = ow.training.evaluate(model, validation, task, progress=stage.unsaved_progress)
    dense = "" if model.origin is None else f" (dense is {model.origin})"
    quality = task.headline.describe_named(score.measures[task.headline.name])
    stage.log(f"{quality} on {validation.count()} windows of the validation split{dense}")
    stage.save_metrics(
        ModelMetrics(
            headline=task.headline.name,
            measures=score.measures,
            loss=score.loss,
            origin=model.origin,
            parameters=saved["parameters"],
            size_bytes=ow.models.stored_bytes(saved),
        )
    )


if __name__ == "__main__":
    ow.pipeline.run_stage("train", main)
