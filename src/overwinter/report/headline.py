"""The headline measure of a project's task, by which figures of its name are described."""

from __future__ import annotations

from overwinter.config import Config
from overwinter.errors import OverwinterError
from overwinter.tasks import Measure, find_headline


def headline_of(config: Config) -> Measure | None:
    """Return the task's headline measure; None if the task is the user's own, whose code only the stages import."""
    try:
        return find_headline(config.task, trusted=config.trusted_targets)
    except OverwinterError:
        return None
