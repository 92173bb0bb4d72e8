"""Fits on Fashion-MNIST as the stages make them, on one thread of the CPU: for the tables that compare such fits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from overwinter import data, models, sparsity, tasks, training
from overwinter.config import Config, Project, compose, validate

ROOT = Path(__file__).parents[1]
CPU = torch.device("cpu")


def composed(overrides: Sequence[str]) -> Config:
    """Return the configuration of pipelines/fashion with overrides."""
    project = Project(root=ROOT, configs=ROOT / "configs", config_name="fashion")
    return validate(compose(project, ["threads=1", *overrides]))


def opened(config: Config) -> data.Data:
    """Return the data for the task."""
    source = data.load_data(config.data, trusted=[])
    return source.use(tasks.load_task(config.task, source.labels))


def train(config: Config, source: data.Data, **options: Any) -> tuple[training.FitResult, sparsity.SparseTraining]:
    """Train a new model as the stage `train` does; ``options`` are those of `training.fit`."""
    model = models.build_model(config.model, trusted=[], seed=config.seed)
    settings, split = config.train, source.split("train")
    frozen: tuple[nn.Module, ...] = ()
    if settings.whitening_samples:
        found = training.whiten_first_convolution(model, split, samples=settings.whitening_samples, seed=config.seed)
        frozen = found.frozen
    sparse = sparsity.start_sparse(model, settings, seed=config.seed)
    shrinking = [] if settings.shrink is None else [sparsity.Shrinking(model, split, settings.shrink)]
    hooks = [*sparse.hooks, *shrinking]
    return _fitted(config, source, model, settings, hooks=hooks, frozen=frozen, **options), sparse


def prune(config: Config, source: data.Data, dense: Path, **options: Any) -> nn.Module:
    """Sparsify a saved model as the stage `sparsify` does, with the dense one as the teacher."""
    model, teacher = (models.load_model(dense, trusted=[]) for _ in range(2))
    chosen = config.sparsify.fine_tuning()
    assert chosen is not None
    hooks = config.sparsify.open().prepare(model, source.split("train"))
    loss = training.DistillationLoss(
        source.task, teacher, weight=chosen.distillation_weight, temperature=chosen.distillation_temperature
    )
    return _fitted(config, source, model, chosen.fit, hooks=hooks, loss=loss, **options).model


def _fitted(config: Config, source: data.Data, model: nn.Module, settings: Any, **options: Any) -> training.FitResult:
    splits = source.split("train"), source.split("validation")
    return training.fit(model, *splits, settings, task=source.task, seed=config.seed, device=CPU, threads=1, **options)
