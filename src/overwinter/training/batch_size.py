"""The batch size with the fewest joules per sample, among those that the user would accept: `train.batch_sizes`.

Each is tried on real steps of the fit, on a copy of the model, with the joules of the stage's own meter. Another batch
size is another result, so none is taken that was not listed. Where a power policy can set limits, each is tried under
those that the policy asks for, since the best limit of one batch size is not that of another (You et al., "Zeus", NSDI
2023, arXiv 2208.06102).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from overwinter.config.groups import TrainConfig
from overwinter.data import Batches, Split
from overwinter.errors import ConfigError
from overwinter.files import read_json, write_json
from overwinter.models import copy_module
from overwinter.power import OperatingPoint
from overwinter.training.loop import fit

_WARM, _FEWEST = 2, 5  # steps
_LEAST_S = 1.0  # of a trial: long against what a meter resolves
_SETTLING_S = 1.0  # after a change of the limit, until the device and its counter have settled
_HOPELESS = 1.25  # times the joules of another batch size under the same limit: no further limit is tried
_CHOICE = "batch_size.json"


class _EnoughError(Exception):
    """Ends a trial."""


class Limits(Protocol):
    """Sets power limits for trials: `overwinter.power.control.loop.PowerControl`."""

    def trials(self) -> AbstractContextManager[None]:
        """Leave the limits to the work inside the context."""

    def try_limit(self, points: Sequence[OperatingPoint]) -> float | None:
        """Set the limit that the policy wants after these operating points, and return it; None: there is none."""

    def drawn_j(self) -> float:
        """Return the joules that the devices with a limit have drawn so far."""

    def add_points(self, points: Sequence[OperatingPoint]) -> None:
        """Take in what the trials of the chosen work showed."""


@dataclass(frozen=True, kw_only=True)
class _Reading:
    step: int
    time_s: float
    energy_j: float
    drawn_j: float


@dataclass(frozen=True, kw_only=True)
class _Trial:
    """A few steps with one batch size under one limit."""

    per_sample_j: float
    power_w: float
    steps_per_s: float

    def point(self, limit_w: float) -> OperatingPoint:
        return OperatingPoint(limit_w=limit_w, power_w=self.power_w, speed_per_s=self.steps_per_s)


@dataclass(kw_only=True)
class _Tried:
    """The trials of one batch size by their limit, and the limit that is the best for it; None: no limit."""

    trials: dict[float | None, _Trial] = field(default_factory=dict)
    limit_w: float | None = None

    @property
    def per_sample_j(self) -> float:
        return self.trials[self.limit_w].per_sample_j

    @property
    def points(self) -> list[OperatingPoint]:
        return [trial.point(limit_w) for limit_w, trial in self.trials.items() if limit_w is not None]

    def __str__(self) -> str:
        at = "" if self.limit_w is None else f" at {self.limit_w:.0f} W"
        return f"{self.per_sample_j * 1e3:.3g} mJ{at}"


def choose_batch_size(
    model: nn.Module,
    train: Split,
    validation: Split,
    settings: TrainConfig,
    *,
    energy_j: Callable[[], float],
    log: Callable[[str], None],
    limits: Limits | None = None,
    checkpoints: Path | None = None,
    **arguments: Any,
) -> TrainConfig:
    """Return the settings with the batch size of ``batch_sizes`` that needs the fewest joules per sample.

    Args:
        model: not changed.
        train: the training split.
        validation: the validation split.
        settings: as they are returned if ``batch_sizes`` is empty.
        energy_j: returns the joules so far.
        log: reports one line to the user.
        limits: sets power limits; None: nothing can be limited. What is found under them it takes in for the training.
        checkpoints: folder of the fit's checkpoints, where the choice is kept: a fit that was killed goes on with it.
        arguments: further ones of `fit`: task, seed, device, threads, trusted.

    Raises:
        ConfigError: fits with some of them have too few steps to be measured, or one ended too early.
    """
    if not settings.batch_sizes:
        return settings
    kept = None if checkpoints is None else checkpoints / _CHOICE
    if kept is not None and kept.is_file():
        return replace(settings, batch_size=int(read_json(kept, remedy="Delete it.")["batch_size"]))
    _refuse_short(train, settings, seed=arguments["seed"], device=arguments["device"])
    found: dict[int, _Tried] = {}
    with nullcontext() if limits is None else limits.trials():
        for size in settings.batch_sizes:
            changed = replace(settings, batch_size=size)

            def trial(settings: TrainConfig = changed, *, settling_s: float) -> _Trial:
                return _measured(model, train, validation, settings, energy_j, limits, settling_s, arguments)

            found[size] = _tried(trial, limits, list(found.values()))
    best = min(found, key=lambda size: found[size].per_sample_j)
    if limits is not None:
        limits.add_points(found[best].points)
    figures = ", ".join(f"{size}: {tried}" for size, tried in found.items())
    log(f"batch size {best} needs the fewest joules per sample ({figures})")
    if kept is not None:
        write_json(kept, {"batch_size": best})
    return replace(settings, batch_size=best)


def _refuse_short(train: Split, settings: TrainConfig, *, seed: int, device: torch.device) -> None:
    """Refuse all batch sizes whose fits are too short, before the trials of the others have cost anything."""
    batches = {size: Batches(train, batch_size=size, seed=seed, device=device) for size in settings.batch_sizes}
    steps = {size: settings.epochs * len(each) for size, each in batches.items()}
    short = {size: count for size, count in steps.items() if count < _WARM + _FEWEST}
    if short:
        found = ", ".join(f"{count} with {size}" for size, count in short.items())
        raise ConfigError(
            f"train.batch_sizes={settings.batch_sizes}: a trial takes {_WARM + _FEWEST} steps or more, and with "
            f"train.epochs={settings.epochs} a fit has {found}. Leave that out, or train for more epochs."
        )


def _tried(trial: Callable[..., _Trial], limits: Limits | None, others: Sequence[_Tried]) -> _Tried:
    """Try one batch size under every limit that the policy asks for, until it asks for one again."""
    tried = _Tried()
    while True:
        tried.limit_w = None if limits is None else limits.try_limit(tried.points)
        if tried.limit_w in tried.trials:
            return tried
        found = trial(settling_s=0.0 if tried.limit_w is None else _SETTLING_S)
        tried.trials[tried.limit_w] = found
        known = [other.trials[tried.limit_w].per_sample_j for other in others if tried.limit_w in other.trials]
        if known and found.per_sample_j > _HOPELESS * min(known):
            return tried


def _measured(
    model: nn.Module,
    train: Split,
    validation: Split,
    settings: TrainConfig,
    energy_j: Callable[[], float],
    limits: Limits | None,
    settling_s: float,
    arguments: Mapping[str, Any],
) -> _Trial:
    """Take a few steps of a fit, and return what they cost."""
    readings: list[_Reading] = []
    settled_s = time.monotonic() + settling_s

    def read(done: float, _total: float, /, **_figures: float) -> None:
        now_s = time.monotonic()
        if done < _WARM or now_s < settled_s:
            return
        drawn_j = 0.0 if limits is None else limits.drawn_j()
        readings.append(_Reading(step=int(done), time_s=now_s, energy_j=energy_j(), drawn_j=drawn_j))
        if len(readings) > _FEWEST and readings[-1].time_s - readings[0].time_s >= _LEAST_S:
            raise _EnoughError

    try:
        result = fit(copy_module(model), train, validation, settings, progress=read, **arguments)
        steps = result.steps
    except _EnoughError:
        steps = readings[-1].step
    if len(readings) <= _FEWEST:
        raise ConfigError(
            f"A fit with {settings.batch_size} of train.batch_sizes={settings.batch_sizes} ended after {steps} steps, "
            "too few to be measured. Leave it out, or train for more epochs."
        )
    first, last = readings[0], readings[-1]
    taken, duration_s = last.step - first.step, max(last.time_s - first.time_s, 1e-9)
    return _Trial(
        per_sample_j=(last.energy_j - first.energy_j) / (taken * min(settings.batch_size, train.count())),
        power_w=(last.drawn_j - first.drawn_j) / duration_s,
        steps_per_s=taken / duration_s,
    )
