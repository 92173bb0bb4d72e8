"""Evaluate a language model: every form on every runtime, the same text and the same prompt, and choose one.

It is the stage `evaluate` of `configs/pipeline/language.yaml`. Reads the models of train (dense) and quantize, and the
test split, which no earlier stage has seen. Leaves `outputs/evaluate/chosen.json`.
"""

from __future__ import annotations

from pathlib import Path

import torch

import overwinter as ow
from overwinter.errors import ConfigError
from overwinter.files import write_json


def main(stage: ow.pipeline.Stage) -> None:
    """Measure, choose, and say whether it pays."""
    settings, seed = stage.config.evaluate, stage.config.seed
    device = ow.runtime.serving_device(stage.config.device)
    ow.runtime.check_devices(settings.runtimes, device)
    windows, following, prompt = test_text(stage)
    folders = {"dense": stage.input("train")} | ow.quantization.read_forms(stage.input("quantize"))
    models = opened(stage, folders)
    dense = next(iter(models))

    scores = ow.evaluation.score_text(models, windows, following, stage.unsaved_progress)
    figures = ow.evaluation.compare_answers(
        models, prompt, settings, meter=stage.meter, seed=seed, progress=stage.unsaved_progress, device=device
    )
    candidates = []
    for name in models:
        form, _, runtime = name.partition("@")
        candidates.append(
            ow.evaluation.LanguageCandidate(
                form=form,
                runtime=runtime,
                simplicity=list(folders).index(form),
                size_bytes=ow.models.stored_bytes(ow.models.load_description(folders[form])),
                quality=ow.evaluation.text_quality(
                    scores[name], scores[dense], confidence=settings.confidence, seed=seed
                ),
                figures=figures[name],
            )
        )
    options = [candidate.option() for candidate in candidates]
    choice = ow.evaluation.choose(options, max_quality_loss=settings.max_perplexity_increase)
    origin = models[dense].origin
    stage.say(ow.evaluation.language_verdict(candidates, choice, origin=origin))
    entry = ow.runtime.device_entry(device)
    write_json(stage.out("chosen.json"), {"form": choice.chosen.form, "runtime": choice.chosen.runtime} | entry)
    stage.save_metrics(ow.evaluation.language_report(candidates, choice, origin=origin) | entry)


def test_text(stage: ow.pipeline.Stage) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return windows of the test split, what follows each token, and the beginning of the first as a prompt."""
    data = ow.data.load_data(stage.config.data, trusted=stage.config.trusted_targets)
    windows, following = ow.data.tensors(data.split("test"))
    wanted = stage.config.evaluate.prompt_tokens
    if windows.shape[1] < wanted:
        raise ConfigError(
            f"evaluate.prompt_tokens={wanted} is more than a window has: data.length={windows.shape[1]}. "
            "Lower it, or lengthen the windows."
        )
    return windows, following, windows[:1, :wanted]


def opened(stage: ow.pipeline.Stage, folders: dict[str, Path]) -> dict[str, ow.models.CausalLanguageModel]:
    """Load every form as every runtime would serve it: form@runtime -> model, dense first."""
    models, device = {}, ow.runtime.serving_device(stage.config.device)
    for form, folder in folders.items():
        for runtime in stage.config.evaluate.runtimes:
            if reason := ow.runtime.refusal(folder, runtime, device):
                stage.say(f"{form}@{runtime} is left out: {reason}")
                continue
            model = ow.runtime.load_module(folder, runtime, trusted=stage.config.trusted_targets, device=device)
            if not isinstance(model, ow.models.CausalLanguageModel):
                raise ConfigError(f"{folder} holds no language model. Pick model=huggingface.")
            models[f"{form}@{runtime}"] = model
    return models


if __name__ == "__main__":
    ow.pipeline.run_stage("evaluate", main)
