"""A look ahead: what a fit and the stages after it do to a model, tried on a few real samples before energy is spent.

Each failure is reported with its remedy. `look_ahead` is the public function.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset

from overwinter.config.groups import FitConfig
from overwinter.data import Batches
from overwinter.errors import ConfigError, IntegrityError, OverwinterError
from overwinter.models import build_model, find_signature, load_model, save_model
from overwinter.training.device import autocast
from overwinter.training.hidden_state import lost_state
from overwinter.training.loop import adamw
from overwinter.training.losses import CrossEntropy

_LEARNING_RATE = 1e-3  # at most: whether a larger one diverges is for the fit to find, which warms up to it
_TOLERANCE = 1e-4  # relative to the largest logit: the same sums in another order differ less


def look_ahead(
    model_config: Mapping[str, Any],
    train: Dataset[Any],
    fits: Mapping[str, FitConfig],
    *,
    classes: int,
    trusted: Sequence[str],
    seed: int,
    device: torch.device,
) -> None:
    """Try on a model of its own: a step of every fit, an evaluation, and saving and loading what was trained.

    Args:
        model_config: ``_target_`` and its arguments.
        train: the training split.
        fits: key of the configuration -> settings of a fit that is to come.
        classes: how many the data names.
        trusted: packages whose classes ``_target_`` may name, beside overwinter's and torch.nn's.
        seed: of the run.
        device: where the fits compute.

    Raises:
        ConfigError: one of these fails, forward() gives no logits or changes its inputs, or what was trained is not
            in ``state_dict()``.
    """
    model = build_model(model_config, trusted=trusted, seed=seed).to(device)
    for key, settings in fits.items():
        inputs, labels = next(Batches(train, batch_size=settings.batch_size, seed=seed, device=device).epoch(0))
        if not inputs.isfinite().all():
            raise ConfigError("data: inputs of the split train hold NaN or infinite values. Fill or drop them.")
        with _explained(f"a training step on {len(inputs)} samples ({key}.batch_size={settings.batch_size})"):
            _take_step(model, inputs, labels, classes, settings)
    model.eval()
    with torch.no_grad(), _explained("an evaluation"):
        logits = _logits(model, inputs, classes)
        _logits(model, inputs[:1], classes)
        _check_repeatable(logits, model(inputs))
        _check_saved(model, inputs, logits, model_config, trusted=trusted)


@contextmanager
def _explained(work: str) -> Iterator[None]:
    try:
        yield
    except OverwinterError:
        raise
    except Exception as error:
        if "more than 1 value per channel" in str(error):
            raise ConfigError(
                f"The model normalises over the batch, which one sample does not make: {work} fails. "
                "Set a larger batch size, give the training split more samples, or use GroupNorm or LayerNorm."
            ) from error
        raise ConfigError(
            f"The model fails in {work}: {type(error).__name__}: {error}\n"
            "forward() is given a float32 tensor (batch, ...) of your data and must return logits (batch, classes); "
            "OVERWINTER_DEBUG=1 shows the traceback."
        ) from error


def _take_step(model: nn.Module, inputs: torch.Tensor, labels: torch.Tensor, classes: int, settings: FitConfig) -> None:
    optimizer = adamw(model, replace(settings, learning_rate=min(settings.learning_rate, _LEARNING_RATE)))
    model.train()
    with autocast(inputs.device, settings.precision):
        logits = _logits(model, inputs, classes)
        loss = CrossEntropy(settings.label_smoothing)(logits, labels, inputs)
    torch.autograd.backward(loss)
    nn.utils.clip_grad_norm_(model.parameters(), settings.gradient_clip_norm)
    optimizer.step()
    model.zero_grad()


def _logits(model: nn.Module, inputs: torch.Tensor, classes: int) -> torch.Tensor:
    """Run the model; return its logits (batch, classes) once they are known to be that, and the inputs unchanged."""
    given = inputs.clone()
    outputs = model(given)
    mode = "training" if model.training else "evaluation"
    if not isinstance(outputs, torch.Tensor):
        raise ConfigError(
            f"forward() returns a {type(outputs).__name__} in {mode} mode. It must return one tensor, the logits "
            "(batch, classes), in both modes: return that part of it, or wrap the model in a module that does."
        )
    if not torch.equal(given, inputs):
        raise ConfigError(
            "forward() changes its inputs in place, and with them the data. "
            "Make new tensors: `x = x - 0.5` for `x -= 0.5`, and no inplace=True before the first layer."
        )
    if outputs.shape != (len(inputs), classes):
        raise ConfigError(
            f"forward() returns the shape {list(outputs.shape)} for {len(inputs)} samples in {mode} mode; data names "
            f"{classes} classes, so it must be {[len(inputs), classes]}. {_remedy(outputs, len(inputs), classes)}"
        )
    return outputs


def _remedy(outputs: torch.Tensor, batch: int, classes: int) -> str:
    if outputs.dim() == 2 and len(outputs) == batch:
        if outputs.shape[1] == 1:
            return "One number per sample is a regression or a single logit: return one logit per class."
        return f"Give the model {classes} outputs, or name all {outputs.shape[1]} classes in the data's `labels`."
    if batch == 1 and outputs.dim() < 2:
        return "Use flatten(1) or squeeze(dim), since squeeze() drops a batch of one too."
    return "Return one logit per class and sample."


def _check_repeatable(first: torch.Tensor, second: torch.Tensor) -> None:
    if not _close(first, second):
        raise ConfigError(
            "forward() gives other logits for the same samples at every call, in evaluation mode too. "
            "Let it draw at random, or remember, in training mode only: F.dropout(x, p, training=self.training)."
        )


def _check_saved(
    model: nn.Module,
    inputs: torch.Tensor,
    expected: torch.Tensor,
    model_config: Mapping[str, Any],
    *,
    trusted: Sequence[str],
) -> None:
    """Save the model, load it as later stages do, and compare their logits."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        signature = find_signature(model, [inputs[:1]])
        save_model(folder, model, variant="dense", model_config=model_config, signature=signature, lineage={})
        try:
            loaded = load_model(folder, trusted=trusted).to(inputs.device)
        except IntegrityError as error:
            raise ConfigError(
                f"The trained model cannot be loaded again: {error}\nMake all layers in __init__, not in forward()."
            ) from error
        if not _close(expected, loaded(inputs)):
            raise ConfigError(f"Once saved and loaded, the model gives other logits: {lost_state(model, loaded)}")


def _close(expected: torch.Tensor, found: torch.Tensor) -> bool:
    largest = float(expected.abs().max())
    return not math.isfinite(largest) or bool((expected - found).abs().max() <= _TOLERANCE * largest)
