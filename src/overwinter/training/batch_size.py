"""The batch size with the fewest joules per sample, among those that the user would accept: `train.batch_sizes`.

Each is tried on real steps of the fit, on a copy of the model, with the joules of the stage's own meter. Another batch
size is another result, so none is taken that was not listed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from overwinter.config.groups import TrainConfig
from overwinter.data import Split
from overwinter.errors import ConfigError
from overwinter.files import read_json, write_json
from overwinter.models import copy_module
from overwinter.training.loop import fit

_WARM, _FEWEST = 2, 5  # steps
_LEAST_S = 1.0  # of a trial: long against what a meter resolves
_CHOICE = "batch_size.json"


class _EnoughError(Exception):
    """Ends a trial."""


@dataclass(frozen=True, kw_only=True)
class _Reading:
    step: int
    time_s: float
    energy_j: float


def choose_batch_size(
    model: nn.Module,
    train: Split,
    validation: Split,
    settings: TrainConfig,
    *,
    energy_j: Callable[[], float],
    log: Callable[[str], None],
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
        checkpoints: folder of the fit's checkpoints, where the choice is kept: a fit that was killed goes on with it.
        arguments: further ones of `fit`: task, seed, device, threads, trusted.

    Raises:
        ConfigError: a fit with one of them has too few steps to be measured.
    """
    if not settings.batch_sizes:
        return settings
    kept = None if checkpoints is None else checkpoints / _CHOICE
    if kept is not None and kept.is_file():
        return replace(settings, batch_size=int(read_json(kept, remedy="Delete it.")["batch_size"]))
    costs_j = {
        size: _per_sample_j(model, train, validation, replace(settings, batch_size=size), energy_j, arguments)
        for size in settings.batch_sizes
    }
    best = min(costs_j, key=lambda size: costs_j[size])
    figures = ", ".join(f"{size}: {cost_j * 1e3:.3g} mJ" for size, cost_j in costs_j.items())
    log(f"batch size {best} needs the fewest joules per sample ({figures})")
    if kept is not None:
        write_json(kept, {"batch_size": best})
    return replace(settings, batch_size=best)


def _per_sample_j(
    model: nn.Module,
    train: Split,
    validation: Split,
    settings: TrainConfig,
    energy_j: Callable[[], float],
    arguments: Mapping[str, Any],
) -> float:
    """Take a few steps of a fit, and return the joules per sample."""
    readings: list[_Reading] = []

    def read(done: float, _total: float, /, **_figures: float) -> None:
        if done < _WARM:
            return
        readings.append(_Reading(step=int(done), time_s=time.monotonic(), energy_j=energy_j()))
        if len(readings) > _FEWEST and readings[-1].time_s - readings[0].time_s >= _LEAST_S:
            raise _EnoughError

    try:
        result = fit(copy_module(model), train, validation, settings, progress=read, **arguments)
        steps = result.steps
    except _EnoughError:
        steps = readings[-1].step
    if len(readings) <= _FEWEST:
        raise ConfigError(
            f"A fit with train.batch_sizes={settings.batch_size} has {steps} steps, too few to be measured. "
            "Leave it out, or train for more epochs."
        )
    return (readings[-1].energy_j - readings[0].energy_j) / (
        (readings[-1].step - readings[0].step) * min(settings.batch_size, train.count())
    )
