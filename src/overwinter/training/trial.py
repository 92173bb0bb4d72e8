"""A look ahead: what a fit and the stages after it do to a model, tried on a few real samples before energy is spent.

Each failure is reported with its remedy. `look_ahead` is for what is fitted, `check_pretrained` for what is taken as it
is.
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

from overwinter.config.groups import FitConfig
from overwinter.data import Batches, Split
from overwinter.errors import ConfigError, IntegrityError, OverwinterError
from overwinter.inputs import count, each, move, named, take
from overwinter.models import build_model, find_signature, load_model, save_model
from overwinter.tasks import Task
from overwinter.training.hidden_state import lost_state
from overwinter.training.lora import add_adapters
from overwinter.training.optimizer_state import split_state
from overwinter.training.optimizing import check_schedule, make_optimizer
from overwinter.training.precision import autocast, check_precision
from overwinter.training.target import read_target

_LEARNING_RATE = 1e-3  # at most: whether a larger one diverges is for the fit to find, which warms up to it
_MEASURED = 64  # samples of which the longest is tried
_TOLERANCE = 1e-4  # relative to the largest output: the same sums in another order differ less


def look_ahead(
    model_config: Mapping[str, Any],
    train: Split,
    fits: Mapping[str, FitConfig],
    *,
    task: Task,
    output: str | None = None,
    trusted: Sequence[str],
    seed: int,
    device: torch.device,
) -> None:
    """Try on a model of its own: a step of every fit, an evaluation, and saving and loading what was trained.

    Args:
        model_config: ``_target_`` and its arguments.
        train: the training split.
        fits: key of the configuration -> settings of a fit that is to come.
        task: what the model is for.
        output: of several outputs of the model, the one that counts; None: found by its name.
        trusted: packages whose classes ``_target_`` may name, beside overwinter's and torch.nn's.
        seed: of the run.
        device: where the fits compute.

    Raises:
        ConfigError: one of these fails, forward() gives outputs that are none of the task's or changes its inputs, or
            what was trained is not in ``state_dict()``.
    """
    model = build_model(model_config, output=output, trusted=trusted, seed=seed).to(device)
    samples = train.use(task)
    for key, settings in fits.items():
        check_precision(settings.precision, device, key=key)
        read_target(settings.to, task, key=key)
        batches = Batches(samples, batch_size=settings.batch_size, seed=seed, device=device)
        check_schedule(settings, len(batches), trusted=trusted, key=key)
        inputs, targets = next(batches.epoch(0))
        with _explained("an evaluation", inputs):
            adapters = add_adapters(model, settings, take(inputs, slice(1)), seed=seed)
        with _explained(f"a training step on {len(targets)} samples ({key}.batch_size={settings.batch_size})", inputs):
            _take_step(model, inputs, targets, task, settings, trusted, key)
        adapters.merge()
    model.eval()
    with torch.no_grad(), _explained("an evaluation", inputs):
        outputs = _outputs(model, inputs, targets, task)
        task.measure(task.rows(_array(outputs), targets.cpu().numpy()))
        _outputs(model, take(inputs, slice(1)), targets[:1], task)
        _check_repeatable(outputs, model(inputs))
        _check_saved(model, inputs, outputs, model_config, trusted=trusted)
    _try_longest(model, samples, device)


def check_pretrained(model: nn.Module, split: Split, task: Task) -> None:
    """Check that a model whose weights are taken as they are has been trained, and for this task.

    Raises:
        ConfigError: it has weights that were just drawn, names other classes, or gives outputs that are none of the
            task's.
    """
    fresh, labels = getattr(model, "fresh", ()), tuple(getattr(model, "labels", ()))
    if fresh:
        raise ConfigError(
            f"train.method=pretrained takes the weights as they are, and these were just drawn: {', '.join(fresh)}.\n"
            "Set train.method=fit, or name a folder that has the whole model."
        )
    if labels and task.labels and labels != tuple(task.labels):
        raise ConfigError(
            f"The model's classes are {', '.join(labels[:9])}, and the data's labels {', '.join(task.labels[:9])}.\n"
            "Give the data the model's, in its order; or fine-tune it: train.method=fit."
        )
    inputs, targets = split.use(task).first(1)
    with torch.inference_mode(), _explained("an evaluation", inputs):
        _outputs(model.eval(), inputs, targets, task)


@contextmanager
def _explained(work: str, inputs: Any) -> Iterator[None]:
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
            f"forward() is given {_listed(inputs)} of your data{_hint(inputs)}; OVERWINTER_DEBUG=1 shows the traceback."
        ) from error


def _listed(inputs: Any) -> str:
    described = {
        name: f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}" for name, value in named(inputs).items()
    }
    if not isinstance(inputs, Mapping):
        return next(iter(described.values()))
    return ", ".join(f"{name}: {each}" for name, each in described.items())


def _hint(inputs: Any) -> str:
    if isinstance(inputs, Mapping) or inputs.is_floating_point():
        return ""
    return ", whole numbers as they are: return `x.float() / 255` of the pixels of an image"


def _take_step(
    model: nn.Module,
    inputs: Any,
    targets: torch.Tensor,
    task: Task,
    settings: FitConfig,
    trusted: Sequence[str],
    key: str,
) -> None:
    slow = replace(settings, learning_rate=min(settings.learning_rate, _LEARNING_RATE))
    optimizer = make_optimizer(model, slow, trusted=trusted, key=key)
    model.train()
    with autocast(targets.device, settings.precision):
        loss = task.loss(_outputs(model, inputs, targets, task), targets)
    torch.autograd.backward(loss)
    nn.utils.clip_grad_norm_(model.parameters(), settings.gradient_clip_norm)
    optimizer.step()
    split_state(optimizer)  # which a checkpoint must be able to hold
    model.zero_grad()


def _outputs(model: nn.Module, inputs: Any, targets: torch.Tensor, task: Task) -> torch.Tensor:
    """Run the model; return its outputs (batch, ...) once they are known to be the task's, and the inputs unchanged."""
    given = each(torch.clone, inputs)
    outputs: torch.Tensor = model(given)
    mode = "training" if model.training else "evaluation"
    _refuse_changed(given, inputs)
    try:
        task.check_outputs(_array(outputs), targets.cpu().numpy())
    except ConfigError as error:
        raise ConfigError(f"In {mode} mode: {error}{_remedy(outputs, count(inputs), task)}") from error
    if outputs.isnan().any():
        raise ConfigError(
            f"In {mode} mode the model returns NaN for finite inputs. Look for a division by zero, a logarithm or root "
            "of a negative number, or a parameter that is never set (torch.empty)."
        )
    return outputs


def _try_longest(model: nn.Module, train: Split, device: torch.device) -> None:
    """Run the longest of some samples, where lengths differ: it may have more positions than the model."""
    singles = train.singles(_MEASURED)
    sizes = [sum(value.numel() for value in named(single).values()) for single in singles]
    if min(sizes) == max(sizes):
        return
    longest = singles[sizes.index(max(sizes))]
    with torch.no_grad(), _explained(f"an evaluation of the longest of {_MEASURED} samples", longest):
        model(move(longest, device))


def _array(outputs: torch.Tensor) -> Any:
    return outputs.detach().float().cpu().numpy()


def _refuse_changed(given: Any, inputs: Any) -> None:
    for name, value in named(inputs).items():
        if not torch.equal(named(given)[name], value):
            which = f"its input {name!r}" if isinstance(inputs, Mapping) else "its inputs"
            raise ConfigError(
                f"forward() changes {which} in place, and with them the data. "
                "Make new tensors: `x = x - 0.5` for `x -= 0.5`, and no inplace=True before the first layer."
            )


def _remedy(outputs: torch.Tensor, batch: int, task: Task) -> str:
    if batch == 1 and (not outputs.dim() or len(outputs) != 1):
        return " Use flatten(1) or squeeze(dim), since squeeze() drops a batch of one too."
    classes = None if task.class_axis is None or outputs.dim() < 2 else outputs.shape[task.class_axis]
    if classes == 1:
        return " One number per sample is a regression or a single logit: return one logit per class."
    if classes is not None and task.labels and classes != len(task.labels):
        return f" Give the model {len(task.labels)} outputs, or name all {classes} classes in the data's `labels`."
    return ""


def _check_repeatable(first: torch.Tensor, second: torch.Tensor) -> None:
    if not _close(first, second):
        raise ConfigError(
            "forward() gives other outputs for the same samples at every call, in evaluation mode too. "
            "Let it draw at random, or remember, in training mode only: F.dropout(x, p, training=self.training)."
        )


def _check_saved(
    model: nn.Module,
    inputs: Any,
    expected: torch.Tensor,
    model_config: Mapping[str, Any],
    *,
    trusted: Sequence[str],
) -> None:
    """Save the model, load it as later stages do, and compare their outputs."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        signature = find_signature(model, [take(inputs, slice(1))])
        save_model(folder, model, variant="dense", model_config=model_config, signature=signature, lineage={})
        try:
            loaded = load_model(folder, trusted=trusted).to(expected.device)
        except IntegrityError as error:
            raise ConfigError(
                f"The trained model cannot be loaded again: {error}\nMake all layers in __init__, not in forward()."
            ) from error
        if not _close(expected, loaded(inputs)):
            raise ConfigError(f"Once saved and loaded, the model gives other outputs: {lost_state(model, loaded)}")


def _close(expected: torch.Tensor, found: torch.Tensor) -> bool:
    largest = float(expected.abs().max())
    return not math.isfinite(largest) or bool((expected - found).abs().max() <= _TOLERANCE * largest)
