"""The task's measures of a side: their direction and unit, without running the revision's code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from overwinter.comparison.contents import Side
from overwinter.config import Config
from overwinter.errors import OverwinterError
from overwinter.tasks import Measure, find_headline, load_task

_MANY_LABELS = ("",) * 100  # some measures, such as the top 5, are only of tasks with many classes


def known_measures(side: Side, workspace: Config | None) -> Mapping[str, Measure]:
    """Return the measures of a side's task by name, the headline first; empty if they are not known.

    Only the workspace's own configuration may name code to import: a revision's could name any.

    Args:
        side: The side.
        workspace: The workspace's configuration, for a task of one's own; None: it cannot be read.
    """
    node = side.setting("task") if side.params is not None else None
    if isinstance(node, Mapping) and "_target_" not in node:
        return _built_in(node)
    if side.evaluation is None or workspace is None:
        return {}
    try:
        headline = find_headline(workspace.task, trusted=workspace.trusted_targets)
    except OverwinterError:
        return {}
    return {headline.name: headline} if headline.name == side.evaluation.chosen.headline else {}


def _built_in(node: Mapping[str, Any]) -> Mapping[str, Measure]:
    try:
        task = load_task({key: value for key, value in node.items() if key != "loss"}, _MANY_LABELS)
    except OverwinterError:
        return {}
    return {task.headline.name: task.headline, **task.measures}
