"""A limit on the size of resolved interpolations: nested `${a}${a}` grow exponentially, as aliases in YAML do.

OmegaConf copies the value of each interpolation, so the resolved size is computed first, visiting every key once.
"""

from __future__ import annotations

import re
from typing import Any

from overwinter.documents import MAX_BYTES
from overwinter.errors import ConfigError

_Path = tuple[str, ...]
# A key, alone or as the argument of a resolver; of nested interpolations, the innermost matches.
_REFERENCE = re.compile(r"\$\{(?:oc\.select:|oc\.dict\.\w+:)?([^${}:,]*)[^${}]*\}")
_VALUE_BYTES = 64  # overhead counted for each value, in addition to its text


def refuse_expansion(config: Any) -> None:
    """Raise ConfigError if a composed configuration would be too large once its interpolations are resolved.

    Args:
        config: The OmegaConf container, unresolved.
    """
    from omegaconf import OmegaConf

    sizes = _Sizes(OmegaConf.to_container(config, resolve=False))
    try:
        size_bytes = sizes.of(())
    except RecursionError:
        size_bytes = MAX_BYTES + 1
    if size_bytes > MAX_BYTES:
        raise ConfigError(
            f"The configuration exceeds {MAX_BYTES >> 10} KiB once its interpolations are resolved. "
            "Remove nested interpolations, or put the value into a separate file."
        )


class _Sizes:
    """Resolved sizes of all values in bytes, each computed once."""

    def __init__(self, tree: Any) -> None:
        self._tree = tree
        self._found: dict[_Path, int] = {}

    def of(self, path: _Path) -> int:
        if path not in self._found:
            self._found[path] = 0  # ends the recursion of a value that refers to itself, which OmegaConf refuses
            self._found[path] = _VALUE_BYTES + self._inside(path, self._at(path))
        return self._found[path]

    def _inside(self, path: _Path, value: Any) -> int:
        if isinstance(value, dict):
            return sum(self.of((*path, str(key))) for key in value)
        if isinstance(value, list):
            return sum(self.of((*path, str(place))) for place in range(len(value)))
        text = str(value)
        return len(text) + sum(self.of(_target(path, key)) for key in _REFERENCE.findall(text))

    def _at(self, path: _Path) -> Any:
        node = self._tree
        for part in path:
            if isinstance(node, dict):
                node = next((value for key, value in node.items() if str(key) == part), None)
            elif isinstance(node, list) and part.isdecimal() and int(part) < len(node):
                node = node[int(part)]
            else:
                return None
        return node


def _target(path: _Path, key: str) -> _Path:
    """Return the path that an interpolation at ``path`` refers to: absolute, or relative (`.key`, `..key`)."""
    rest = key.lstrip(".")
    up = len(key) - len(rest)
    parts = tuple(part for part in re.split(r"[.\[\]]", rest) if part)
    return (*path[: max(len(path) - up, 0)], *parts) if up else parts
