"""Interpolations that stand for too much: `${a}${a}` of `${b}${b}` of ... is a bomb as aliases in YAML are.

OmegaConf copies what each stands for, so their sizes are counted first; every key is looked at once.
"""

from __future__ import annotations

import re
from typing import Any

from overwinter.documents import MAX_BYTES
from overwinter.errors import ConfigError

_Path = tuple[str, ...]
# A key, or what a resolver takes a key of; inside of others the innermost is found.
_REFERENCE = re.compile(r"\$\{(?:oc\.select:|oc\.dict\.\w+:)?([^${}:,]*)[^${}]*\}")
_VALUE_BYTES = 64  # that each value counts for, beside its text


def refuse_expansion(config: Any) -> None:
    """Check a composed configuration, before it is resolved.

    Args:
        config: OmegaConf's, with its interpolations.

    Raises:
        ConfigError: with all that its interpolations stand for, it is larger than a configuration ever is.
    """
    from omegaconf import OmegaConf

    sizes = _Sizes(OmegaConf.to_container(config, resolve=False))
    try:
        size_bytes = sizes.of(())
    except RecursionError:
        size_bytes = MAX_BYTES + 1
    if size_bytes > MAX_BYTES:
        raise ConfigError(
            f"The configuration stands for more than {MAX_BYTES >> 10} KiB with all that its interpolations repeat. "
            "Write the value once, or put it into a file of its own."
        )


class _Sizes:
    """Bytes that each value stands for, found once."""

    def __init__(self, tree: Any) -> None:
        self._tree = tree
        self._found: dict[_Path, int] = {}

    def of(self, path: _Path) -> int:
        if path not in self._found:
            self._found[path] = 0  # for one that refers to itself, which OmegaConf refuses
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
    """Return where an interpolation at ``path`` leads: from the root, or `.key` from beside, `..key` from above."""
    rest = key.lstrip(".")
    up = len(key) - len(rest)
    parts = tuple(part for part in re.split(r"[.\[\]]", rest) if part)
    return (*path[: max(len(path) - up, 0)], *parts) if up else parts
