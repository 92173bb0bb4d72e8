"""The optimizer of a fit and the schedule of its learning rates: AdamW with warm-up and cosine, or the user's own."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, cast

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from overwinter.config.groups import FitConfig
from overwinter.config.targets import OPTIMIZER, SCHEDULE, Kind, find_target
from overwinter.errors import ConfigError, TargetError
from overwinter.training.muon import MuonAndAdamW, matrices_of
from overwinter.training.schedule import learning_rate_at

_TRIED = 100_000  # steps of a schedule that are tried before the fit: about a second


class Schedule(Protocol):
    """Sets the learning rates of an optimizer."""

    def before_step(self, step: int) -> None:
        """Set them for a step, from 1."""

    def after_step(self) -> None:
        """Advance after a step."""

    def after_epoch(self, validation_loss: float) -> None:
        """Advance after an epoch."""


class WarmupCosine:
    """Linear warm-up, then a cosine to zero, of each group's learning rate.

    Args:
        optimizer: whose learning rates are the peaks.
        total: steps of the fit.
        warmup_fraction: share of them in which it climbs.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, total: int, warmup_fraction: float) -> None:
        self._optimizer = optimizer  # whose groups are others once a checkpoint was taken up
        self._peaks = [float(group["lr"]) for group in optimizer.param_groups]
        self._total, self._warmup_fraction = total, warmup_fraction

    def before_step(self, step: int) -> None:
        """Set the learning rates for a step, from 1."""
        for group, peak in zip(self._optimizer.param_groups, self._peaks, strict=True):
            group["lr"] = learning_rate_at(step, self._total, peak=peak, warmup_fraction=self._warmup_fraction)

    def after_step(self) -> None:
        """Do nothing: they are set before the next."""

    def after_epoch(self, validation_loss: float) -> None:
        """Do nothing."""


class OwnSchedule:
    """A schedule of torch, or the user's; `ReduceLROnPlateau` is given the validation loss after every epoch.

    Args:
        scheduler: advances when it is called.
        every_step: whether it advances after every step, or after every epoch.
    """

    def __init__(self, scheduler: LRScheduler, *, every_step: bool) -> None:
        self._scheduler = scheduler
        self._plateau = isinstance(scheduler, ReduceLROnPlateau)
        self._every_step = every_step and not self._plateau

    def before_step(self, step: int) -> None:
        """Do nothing: they were set when it advanced."""

    def after_step(self) -> None:
        """Advance, if it does after every step."""
        if self._every_step:
            self._advance()

    def after_epoch(self, validation_loss: float) -> None:
        """Advance, if it does after every epoch."""
        if self._plateau:
            self._advance(validation_loss)
        elif not self._every_step:
            self._advance()

    def _advance(self, *arguments: Any) -> None:
        with warnings.catch_warnings():
            # A checkpoint is taken up by advancing as often as before, without the steps between.
            warnings.filterwarnings("ignore", message=r"Detected call of `lr_scheduler.step\(\)` before")
            self._scheduler.step(*arguments)


def make_optimizer(
    model: nn.Module, settings: FitConfig, *, trusted: Sequence[str] = (), key: str = "train"
) -> torch.optim.Optimizer:
    """Return the optimizer: the user's own, or AdamW, with Muon for matrices if ``settings`` say so.

    Biases and normalisations, which have one dimension, don't decay.

    Args:
        model: its parameters that require a gradient are trained.
        settings: of the fit.
        trusted: packages whose classes ``settings`` may name, beside torch's.
        key: of ``settings``, for messages.

    Raises:
        ConfigError: there is nothing to train, Muon has no matrix, or the own one is not trusted, not found, or takes
            other arguments.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not trained:
        raise ConfigError(f"{type(model).__name__} has no parameter that requires a gradient, so nothing to train.")
    if settings.optimizer is not None:
        return _own_optimizer(trained, settings.optimizer, settings.learning_rate, trusted, _at(OPTIMIZER, key))
    if settings.muon_learning_rate is None:
        return torch.optim.AdamW(_groups(trained, settings), lr=settings.learning_rate)
    matrices = matrices_of(model)
    own = {id(each) for each in matrices}
    return MuonAndAdamW(
        matrices,
        _groups([each for each in trained if id(each) not in own], settings),
        matrix_learning_rate=settings.muon_learning_rate,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
    )


def _groups(trained: Sequence[nn.Parameter], settings: FitConfig) -> list[dict[str, Any]]:
    groups = [
        {"params": [each for each in trained if each.dim() > 1], "weight_decay": settings.weight_decay},
        {"params": [each for each in trained if each.dim() <= 1], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def make_schedule(
    optimizer: torch.optim.Optimizer,
    settings: FitConfig,
    total: int,
    *,
    trusted: Sequence[str] = (),
    key: str = "train",
) -> Schedule:
    """Return the schedule of a fit of ``total`` steps.

    Raises:
        ConfigError: the own one is not trusted, not found, or does not take its arguments.
    """
    if settings.schedule is None:
        return WarmupCosine(optimizer, total, settings.warmup_fraction)
    scheduler = cast(LRScheduler, _made(_at(SCHEDULE, key), settings.schedule, _is_schedule, optimizer, {}, trusted))
    return OwnSchedule(scheduler, every_step=settings.schedule_interval == "step")


def check_schedule(
    settings: FitConfig, steps_per_epoch: int, *, trusted: Sequence[str] = (), key: str = "train"
) -> None:
    """Run an own schedule through a whole fit without the fit, since some end with an error after so many steps.

    Raises:
        ConfigError: it cannot be made, or fails in a step.
    """
    if settings.schedule is None:
        return
    model = nn.Linear(2, 2)
    optimizer = make_optimizer(model, settings, trusted=trusted, key=key)
    schedule = make_schedule(optimizer, settings, settings.epochs * steps_per_epoch, trusted=trusted, key=key)
    for step in range(1, min(settings.epochs * steps_per_epoch, _TRIED) + 1):
        try:
            schedule.after_step()
            if step % steps_per_epoch == 0:
                schedule.after_epoch(1.0)
        except Exception as error:
            raise TargetError(
                f"{key}.schedule._target_={settings.schedule['_target_']!r} fails after step {step} of "
                f"{settings.epochs * steps_per_epoch} ({settings.epochs} epochs, one advance for each "
                f"{settings.schedule_interval}): {type(error).__name__}: {error}"
            ) from error


def _own_optimizer(
    trained: Sequence[nn.Parameter], node: Mapping[str, Any], learning_rate: float, trusted: Sequence[str], kind: Kind
) -> torch.optim.Optimizer:
    made = _made(kind, node, _is_optimizer, list(trained), {"lr": learning_rate}, trusted)
    step = inspect.signature(made.step).parameters.get("closure")
    if step is not None and step.default is inspect.Parameter.empty:
        raise TargetError(
            f"{kind.key}._target_={node['_target_']!r} computes the loss several times in a step (a closure), "
            "which the training loop does not do. Name another, such as torch.optim.SGD."
        )
    return cast(torch.optim.Optimizer, made)


def _made(
    kind: Kind,
    node: Mapping[str, Any],
    fits: Callable[[type], bool],
    first: Any,
    defaults: Mapping[str, Any],
    trusted: Sequence[str],
) -> Any:
    """Call what the node names with ``first``, the defaults that it takes, and the node's other keys."""
    found = find_target(node, kind, fits, trusted=trusted, functions=False)
    known = inspect.signature(found).parameters
    arguments = {key: value for key, value in defaults.items() if key in known}
    arguments |= {key: value for key, value in node.items() if key != "_target_"}
    try:
        return found(first, **arguments)
    except Exception as error:
        raise TargetError(
            f"{kind.key}._target_={node['_target_']!r} cannot be made with {arguments}: "
            f"{type(error).__name__}: {error}. It takes: {', '.join(list(known)[1:])}."
        ) from error


def _at(kind: Kind, key: str) -> Kind:
    """Return a kind whose messages name where its `_target_` is among settings of this key."""
    return replace(kind, key=f"{key}.{kind.key.rpartition('.')[2]}")


def _is_optimizer(found: type) -> bool:
    return issubclass(found, torch.optim.Optimizer)


def _is_schedule(found: type) -> bool:
    return issubclass(found, LRScheduler)
