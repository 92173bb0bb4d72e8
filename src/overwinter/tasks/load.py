"""Tasks from the configuration, and from what a bundle keeps of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from overwinter.config.groups.task import OwnTaskConfig, own_task
from overwinter.config.targets import LOSS, TASK, find_target, instantiate
from overwinter.errors import ConfigError, TargetError
from overwinter.metrics import RESERVED
from overwinter.tasks.interface import Criterion, Task
from overwinter.tasks.measure import Measure
from overwinter.tasks.settings import task_schema

_METHODS = ("read_targets", "check_outputs", "loss", "divergence", "agreement", "rows", "measure", "respond")
_ATTRIBUTES = ("name", "labels", "headline", "measures", "class_axis", "divergence_unit", "generates")


def load_task(settings: Any, labels: Sequence[str] = (), *, trusted: Sequence[str] = ()) -> Task:
    """Make the task that the group `task` names.

    Args:
        settings: `config.task`, or the mapping that a bundle keeps.
        labels: the data's, what the classes or the numbers are called.
        trusted: packages whose classes `_target_` may name, from `trusted_targets`.

    Raises:
        ConfigError: the task or its loss is not trusted, not found, or does not take its arguments.
    """
    typed = _typed(settings) if isinstance(settings, Mapping) else settings
    if isinstance(typed, OwnTaskConfig):
        node = {"_target_": typed.target, **typed.arguments, "labels": list(labels)}
        return _complete(typed.target, instantiate(node, TASK, _is_task, trusted=trusted, functions=False))
    opened: Task = typed.open(labels, criterion=make_loss(typed.loss, trusted=trusted))
    return opened


def find_headline(settings: Any, *, trusted: Sequence[str] = ()) -> Measure:
    """Return the headline measure of the task that the group `task` names, without its labels or its loss.

    Raises:
        ConfigError: as of `load_task`.
    """
    task: Task = load_task(settings, trusted=trusted) if isinstance(settings, OwnTaskConfig) else settings.open()
    return task.headline


def make_loss(node: Mapping[str, Any] | None, *, trusted: Sequence[str] = ()) -> Criterion | None:
    """Make the user's own loss; None if there is none.

    Lists of numbers among the arguments, such as `weight: [1.0, 5.0]`, become tensors for the losses of torch.

    Raises:
        ConfigError: it is not trusted, not found, or does not take its arguments.
    """
    if node is None:
        return None
    target = str(node.get("_target_"))
    made_by = find_target(node, LOSS, _is_loss, trusted=trusted, functions=False)
    given = {key: value for key, value in node.items() if key != "_target_"}
    arguments = _with_tensors(given) if LOSS.in_library(target) else given
    try:
        made: Criterion = made_by(**arguments)
    except Exception as error:
        raise TargetError(
            f"task.loss._target_={target!r} cannot be made with {given}: {type(error).__name__}: {error}."
        ) from error
    return made


def _with_tensors(arguments: Mapping[str, Any]) -> dict[str, Any]:
    import torch

    return {
        key: torch.tensor(value, dtype=torch.float32) if isinstance(value, list) else value
        for key, value in arguments.items()
    }


def _typed(node: Mapping[str, Any]) -> Any:
    """Return the settings of a node, without OmegaConf's slow typing: a bundle's node was typed when it was made."""
    if "_target_" in node:
        return OwnTaskConfig(**own_task(node))
    schema = task_schema(node)
    try:
        return schema(**node)
    except TypeError as error:
        raise ConfigError(f"task={dict(node)} does not fit {schema.__name__}: {error}.") from None


def _is_task(found: type) -> bool:
    return all(callable(getattr(found, method, None)) for method in _METHODS)


def _is_loss(found: type) -> bool:
    return any("__call__" in vars(base) for base in found.__mro__ if base is not type)


def _complete(target: str, task: Any) -> Task:
    missing = [name for name in _ATTRIBUTES if not hasattr(task, name)]
    if missing:
        raise TargetError(f"task._target_={target!r} has no {', '.join(missing)}. See overwinter.tasks.Task.")
    if taken := sorted(set(task.measures) & RESERVED):
        raise TargetError(
            f"task._target_={target!r} has a measure named {taken[0]}, which is another figure in metrics.json. "
            "Rename it."
        )
    complete: Task = task
    return complete
