"""The group `task/`: the settings of the user's own task, and the check of what it names by `_target_`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from overwinter.config.groups.plugin import PluginConfig
from overwinter.config.settings import setting
from overwinter.config.targets import LOSS, TASK, refuse_code, trusted_target

if TYPE_CHECKING:
    from overwinter.config.groups import Config


@dataclass
class OwnTaskConfig(PluginConfig):
    """The user's own task: `_target_` names its class, and the other keys but `output` are its arguments."""

    target: str = setting("the class of your own task: _target_")
    output: str | None = setting("as of the other tasks", default=None)
    arguments: dict[str, Any] = setting("of the class", default_factory=dict)

    @property
    def name(self) -> str:
        """The name of the class."""
        return self.target.rpartition(".")[2]

    @property
    def loss(self) -> None:
        """None: the class has its own loss."""

    def open(self) -> Any:
        """Refuse: only `overwinter.tasks.load_task` knows which packages are trusted."""
        raise NotImplementedError

    def node(self) -> dict[str, Any]:
        """Return the group as it is written."""
        return {"_target_": self.target, "output": self.output, **self.arguments}


def own_task(node: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of `OwnTaskConfig` for a group with `_target_`."""
    arguments = {key: value for key, value in node.items() if key not in ("_target_", "output")}
    return {"target": node["_target_"], "output": node.get("output"), "arguments": arguments}


def check_task(config: Config) -> None:
    """Check that the classes which the task and its loss name may be called, without importing them.

    Raises:
        ConfigError: one is not trusted, or its arguments are not plain data.
    """
    task = config.task
    if isinstance(task, OwnTaskConfig):
        trusted_target(task.node(), TASK, trusted=config.trusted_targets)
        refuse_code(task.arguments, key=TASK.key)
    elif task.loss is not None:
        trusted_target(task.loss, LOSS, trusted=config.trusted_targets)
        refuse_code(task.loss, key=LOSS.key)
    task.check("task")
