"""Evaluate a language model: measure every variant on every runtime, on the same text and prompt, and choose one.

This is the stage `evaluate` of `configs/pipeline/language.yaml`. Reads the models of the stages that it needs
(train's is dense) and the test split, which no earlier stage reads. Writes `outputs/evaluate/chosen.json`, and
comparison.json with every measurement.
"""

from __future__ import annotations

from pathlib import Path

import torch

import overwinter as ow
from overwinter.errors import ConfigError
from overwinter.records import write_record


def main(stage: ow.pipeline.Stage) -> None:
    """Measure every variant, choose one, and log whether compression pays off."""
    settings, seed = stage.config.evaluate, stage.config.seed
    device = ow.runtime.serving_device(stage.config.device)
    ow.runtime.check_devices(settings.runtimes, device)
    windows, following, prompt = test_text(stage)
    variants = stage.variants()
    models = opened(stage, variants)
    dense = next(name for name in models if name.partition("@")[0] == "dense")

    scores = ow.evaluation.score_text(models, windows, following, stage.unsaved_progress)
    costs = ow.evaluation.compare_predictions(
        models, prompt, settings, meter=stage.meter, seed=seed, progress=stage.unsaved_progress, device=device
    )
    candidates = []
    for name in models:
        variant, _, runtime = name.partition("@")
        candidates.append(
            ow.evaluation.Candidate(
                variant=variant,
                runtime=runtime,
                simplicity=list(variants).index(variant),
                size_bytes=ow.models.stored_bytes(ow.models.load_description(variants[variant])),
                quality=ow.evaluation.text_quality(
                    scores[name],
                    scores[dense],
                    confidence=settings.confidence,
                    seed=seed,
                    origin=models[dense].origin,
                ),
                cost=costs[name],
            )
        )
    choice = ow.evaluation.choose(candidates, max_quality_loss=settings.max_perplexity_increase)
    for line in ow.evaluation.verdict(candidates, choice):
        stage.log(line)
    write_record(stage.out("chosen.json"), choice.served(device=device))
    write_record(stage.out("comparison.json"), ow.evaluation.comparison(candidates))
    stage.save_metrics(choice.metrics(device=device))


def test_text(stage: ow.pipeline.Stage) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the windows of the test split, their next tokens, and the start of the first window as a prompt."""
    data = ow.data.load_data(stage.config.data, trusted=stage.config.trusted_targets)
    windows, following = data.split("test").whole()
    wanted = stage.config.evaluate.prompt_tokens
    if windows.shape[1] < wanted:
        raise ConfigError(
            f"evaluate.prompt_tokens={wanted} is larger than the window, data.length={windows.shape[1]}. "
            "Lower it, or raise data.length."
        )
    return windows, following, windows[:1, :wanted]


def opened(stage: ow.pipeline.Stage, variants: dict[str, Path]) -> dict[str, ow.models.CausalLanguageModel]:
    """Load every variant as every runtime would serve it, and return variant@runtime -> model, dense first."""
    models, device = {}, ow.runtime.serving_device(stage.config.device)
    for variant, folder in variants.items():
        for runtime in stage.config.evaluate.runtimes:
            if reason := ow.runtime.refusal(folder, runtime, device):
                stage.log(f"{variant}@{runtime} is left out: {reason}")
                continue
            model = ow.runtime.load_module(folder, runtime, trusted=stage.config.trusted_targets, device=device)
            if not isinstance(model, ow.models.CausalLanguageModel):
                raise ConfigError(f"{folder} is not a language model. Set model=huggingface.")
            models[f"{variant}@{runtime}"] = model
    return models


if __name__ == "__main__":
    ow.pipeline.run_stage("evaluate", main)
