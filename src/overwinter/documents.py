"""Size checks of untrusted YAML, before it is loaded.

A few lines of nested aliases expand to billions of values ("billion laughs"), and OmegaConf copies every one. So the
events of a document are counted first, each alias at its expanded size; that takes as long as reading the file once.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from overwinter.errors import ConfigError

MAX_BYTES = 2 << 20  # of a file, also with its aliases expanded; configurations are far smaller
MAX_LOCK_BYTES = 64 << 20  # for dvc.lock and dvc.yaml, which programs write
_NODE_BYTES = 64  # counted for each value in addition to its text: 32,768 values at most
_DEEPEST = 64


def check_yaml(text: str | bytes, *, where: str, max_bytes: int = MAX_BYTES) -> None:
    """Check a document's size, with its aliases expanded, and its depth.

    Text that is not YAML passes; loading it raises the error.

    Args:
        text: the document.
        where: the document's name in error messages.
        max_bytes: maximum size with aliases expanded.

    Raises:
        ConfigError: the document is too large or nested too deeply.
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
    """Check configuration files as `check_yaml` does; a file that is too large is not read.

    Raises:
        ConfigError: a file is too large, nested too deeply, or unreadable.
    """
    for path in paths:
        check_yaml(_read(path, MAX_BYTES), where=str(path))


def read_yaml(path: Path, *, max_bytes: int = MAX_BYTES) -> Any:
    """Check a YAML file and return its content as plain data.

    Raises:
        ConfigError: the file is too large, unreadable, or not YAML.
    """
    import yaml

    text = _read(path, max_bytes)
    check_yaml(text, where=str(path), max_bytes=max_bytes)
    try:
        return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 -- both are safe; the C loader is ten times as fast
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}.") from None


class _Counted:
    """Expanded size of a document so far: bytes of each anchor, and of open collections."""

    def __init__(self, where: str, max_bytes: int) -> None:
        self._where, self._max_bytes = where, max_bytes
        self._anchors: dict[str, int | None] = {}  # None: still open
        self._open: list[tuple[str | None, int]] = []  # anchor, and the count at its start
        self._bytes = 0

    def take(self, event: Any) -> None:
        import yaml

        if isinstance(event, yaml.AliasEvent):
            self._add(self._anchor_size(str(event.anchor)))
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

    def _anchor_size(self, anchor: str) -> int:
        size = self._anchors.get(anchor, 0)  # an unknown anchor raises when the document is loaded
        if size is None:
            raise ConfigError(
                f"{self._where}: the alias *{anchor} refers to a value that contains it. Write the value out."
            )
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
            raise _too_much(self._where, "is larger with its aliases expanded", self._max_bytes)


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
        "Move data into separate files."
    )
