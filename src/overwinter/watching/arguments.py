"""The arguments of `watch`, checked before any work begins."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from overwinter.errors import ConfigError

if TYPE_CHECKING:
    from overwinter.pipeline.watch import Spent
    from overwinter.watching.run import Run

_TEXTS = {
    "budget": "a limit, such as budget='50 kJ and 2 h'",
    "power": "an option of the group power/, such as power='static'",
    "carbon": "an option of the group carbon/, such as carbon='country'",
    "project": "a name, such as project='resnet'",
    "name": "a name, such as name='fit'",
}
_FUNCTIONS = {
    "checkpoint": "a function without arguments, such as checkpoint=lambda: save('state.pt')",
    "on_reading": "a function of the run and its costs, such as on_reading=lambda run, spent: ...",
    "log": "a function of one line of text, such as log=print",
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """The arguments of `watch`.

    Raises:
        ConfigError: One has a wrong type, or a name that a terminal cannot show on one line.
    """

    budget: str | None
    power: str | None
    carbon: str | None
    project: str | None
    name: str | None
    checkpoint: Callable[[], object] | None
    resumes: bool
    energy_json: str | Path | None
    emissions_csv: str | Path | None
    on_reading: Callable[[Run, Spent], object] | None
    track: Sequence[str]
    overrides: Sequence[str]
    log: Callable[[str], None]

    def __post_init__(self) -> None:
        for key, wanted in _TEXTS.items():
            _check_text(key, getattr(self, key), wanted)
        for key, wanted in _FUNCTIONS.items():
            if not (getattr(self, key) is None or callable(getattr(self, key))):
                raise ConfigError(f"watch: {key}={getattr(self, key)!r} is not a function. Give {wanted}.")
        for key in ("energy_json", "emissions_csv"):
            if not isinstance(getattr(self, key), (str, os.PathLike, type(None))):
                raise ConfigError(f"watch: {key}={getattr(self, key)!r} is not a path. Give one, or None.")
        if not isinstance(self.resumes, bool):
            raise ConfigError(f"watch: resumes={self.resumes!r} is neither True nor False. Give one of them.")
        _check_texts("overrides", self.overrides, "['ledger.project=resnet']")
        _check_texts("track", self.track, "['tensorboard']")


def refuse_positional(given: Sequence[object]) -> None:
    """Refuse arguments without a name; the usual one is a function under `@overwinter.watch` without parentheses.

    Raises:
        ConfigError: There is one.
    """
    if not given:
        return
    if callable(given[0]):
        name = getattr(given[0], "__name__", repr(given[0]))
        raise ConfigError(f"{name} is not watched yet. Write @overwinter.watch() above it, with parentheses.")
    raise ConfigError(f"watch: {given[0]!r} has no name. Name each argument, such as watch(budget='50 kJ').")


def _check_text(key: str, value: object, wanted: str) -> None:
    if value is None:
        return
    if not isinstance(value, str):
        raise ConfigError(f"watch: {key}={value!r} is not a text. Give {wanted}.")
    if not value.strip():
        raise ConfigError(f"watch: {key}={value!r} is empty. Give {wanted}, or leave it out.")
    if not value.isprintable():
        raise ConfigError(f"watch: {key}={value!r} has a line break or an invisible character. Give {wanted}.")


def _check_texts(key: str, value: object, example: str) -> None:
    if isinstance(value, str):
        raise ConfigError(f"watch: {key}={value!r} is one text. Give a list: {key}=[{value!r}].")
    if not isinstance(value, Sequence) or not all(isinstance(each, str) for each in value):
        raise ConfigError(f"watch: {key}={value!r} is not a list of texts. Give one, such as {key}={example}.")
