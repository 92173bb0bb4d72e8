"""Changes between two configurations, in words: `train.epochs: 16 -> 8`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

ABSENT = object()
"""The value of a key that one of two configurations lacks."""


def differences(key: str, old: Any, new: Any) -> list[str]:
    """Return the changes from ``old`` to ``new``, one line per setting.

    Args:
        key: The dotted key of both values; empty for whole configurations.
        old: A value, a mapping, or `ABSENT`.
        new: The same.
    """
    if old == new:
        return []
    if isinstance(old, dict) and isinstance(new, dict):
        came, went = ([name for name in one if name not in other] for one, other in ((new, old), (old, new)))
        # Another option of a group changes many settings at once, so only their number is shown.
        brief = [(names, word) for names, word in ((came, "more"), (went, "fewer")) if len(names) > 1]
        counted = {name for names, _ in brief for name in names}
        lines = [
            line
            for name in {**old, **new}
            if name not in counted
            for line in differences(_joined(key, name), old.get(name, ABSENT), new.get(name, ABSENT))
        ]
        return lines + [f"{key or 'the configuration'}: {len(names)} {word} settings" for names, word in brief]
    return [f"{key}: {_shown(old)} -> {_shown(new)}"]


def at(tree: Mapping[str, Any], key: str) -> Any:
    """Return the value of a dotted key; dvc.lock stores some keys dotted, as they were declared."""
    if key in tree:
        return tree[key]
    head, _, rest = key.partition(".")
    return at(tree[head], rest) if rest and isinstance(tree.get(head), dict) else ABSENT


def _joined(key: str, name: Any) -> str:
    return f"{key}.{name}" if key else str(name)


def _shown(value: Any) -> str:
    return "none" if value is ABSENT else json.dumps(value)
