"""YAML that someone else may have written: looked at before anything is made of it.

A few lines of aliases of aliases stand for billions of values ("billion laughs"), and OmegaConf copies every one. So
the events of a document are counted first, each alias as all that it stands for: that takes as long as reading it once.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from overwinter.errors import ConfigError

MAX_BYTES = 2 << 20  # of a file, and of what its aliases stand for: no configuration comes near it
MAX_LOCK_BYTES = 64 << 20  # of dvc.lock and dvc.yaml, which programs write
_NODE_BYTES = 64  # that each value counts for, beside its text: 32,768 values at most
_DEEPEST = 64


def check_yaml(text: str | bytes, *, where: str, max_bytes: int = MAX_BYTES) -> None:
    """Check that a document is of some size, with all that its aliases stand for, and not nested without end.

    What is no YAML passes: anyone who loads it says so.

    Args:
        text: the document.
        where: what to call it in a message.
        max_bytes: that it may stand for.

    Raises:
        ConfigError: it is too much.
    """
    import yaml

    if len(text) > max_bytes:
        raise _too_much(where, f"has {len(text)} bytes", max_bytes)
    counted = _Counted(where, max_bytes)
    try:
        for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            counted.take(event)
    except (yaml.YAMLError, UnicodeDecodeError):
        return


def check_yaml_files(paths: Iterable[Path]) -> None:
    """Check files of a configuration as `check_yaml` does, without reading one that is too large.

    Raises:
        ConfigError: one is too much, or cannot be read.
    """
    for path in paths:
        check_yaml(_read(path, MAX_BYTES), where=str(path))


def read_yaml(path: Path, *, max_bytes: int = MAX_BYTES) -> Any:
    """Return what a YAML file holds, once it was checked; plain data only.

    Raises:
        ConfigError: it is too much, cannot be read, or is no YAML.
    """
    import yaml

    text = _read(path, max_bytes)
    check_yaml(text, where=str(path), max_bytes=max_bytes)
    try:
        return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 -- both are safe, and C ten times as quick
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}.") from None


class _Counted:
    """What a document stands for so far: bytes of each anchor, and of what is still open."""

    def __init__(self, where: str, max_bytes: int) -> None:
        self._where, self._max_bytes = where, max_bytes
        self._anchors: dict[str, int | None] = {}  # None: still open
        self._open: list[tuple[str | None, int]] = []  # its anchor, and what had been counted when it began
        self._bytes = 0

    def take(self, event: Any) -> None:
        import yaml

        if isinstance(event, yaml.AliasEvent):
            self._add(self._behind(str(event.anchor)))
        elif isinstance(event, yaml.ScalarEvent):
            self._begin(event.anchor)
            self._add(_NODE_BYTES + len(event.value))
            self._end()
        elif isinstance(event, yaml.CollectionStartEvent):
            self._begin(event.anchor)
            self._add(_NODE_BYTES)
            if len(self._open) > _DEEPEST:
                raise ConfigError(f"{self._where} is nested deeper than {_DEEPEST} levels. Write it flatter.")
        elif isinstance(event, yaml.CollectionEndEvent):
            self._end()

    def _behind(self, anchor: str) -> int:
        size = self._anchors.get(anchor, 0)  # an unknown one is found out by anyone who loads it
        if size is None:
            raise ConfigError(f"{self._where}: the alias *{anchor} is inside of what it stands for. Write it out.")
        return size

    def _begin(self, anchor: str | None) -> None:
        self._open.append((anchor, self._bytes))
        if anchor is not None:
            self._anchors[anchor] = None

    def _end(self) -> None:
        anchor, before = self._open.pop()
        if anchor is not None:
            self._anchors[anchor] = self._bytes - before

    def _add(self, size: int) -> None:
        self._bytes += size
        if self._bytes > self._max_bytes:
            raise _too_much(self._where, "stands for more, with what its aliases repeat", self._max_bytes)


def _read(path: Path, max_bytes: int) -> bytes:
    try:
        with path.open("rb") as file:
            text = file.read(max_bytes + 1)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from None
    if len(text) > max_bytes:
        raise _too_much(str(path), "is larger", max_bytes)
    return text


def _too_much(where: str, what: str, max_bytes: int) -> ConfigError:
    return ConfigError(
        f"{where} {what}; {max_bytes >> 10} KiB are allowed, {_NODE_BYTES} bytes for each value. "
        "Put data into files of their own."
    )
