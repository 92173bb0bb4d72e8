"""Suggestions for an unknown flag: a similar flag or setting."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from overwinter.errors import OverwinterError, nearest


def suggestion(wrong: str, words: Sequence[str], options: Sequence[str]) -> str:
    """Return `` Did you mean ...?`` for an unknown flag, or an empty string.

    Args:
        wrong: The flag, such as `--epochs` or `--epochs=5`.
        words: The whole command line: the value may be the word after the flag.
        options: The known flags.
    """
    flag, _, value = wrong.partition("=")
    name = flag.lstrip("-").replace("-", "_")
    setting = _setting(name)
    if setting is None or difflib.get_close_matches(flag, options, n=1, cutoff=0.8):
        return nearest(flag, options)
    return f" Did you mean the setting {setting}={value or _following(wrong, words)}? Settings are KEY=VALUE."


def _setting(name: str) -> str | None:
    """Return the key with this last part, or the most similar one."""
    keys = {key.rpartition(".")[2]: key for key in reversed(_settings())}
    found = difflib.get_close_matches(name.rpartition(".")[2], keys, n=1, cutoff=0.8)
    return keys[found[0]] if found else None


def _following(flag: str, words: Sequence[str]) -> str:
    """Return the word after a flag, if it can be the flag's value."""
    behind = words[words.index(flag) + 1 :] if flag in words else []
    return behind[0] if behind and not behind[0].startswith("-") and "=" not in behind[0] else "VALUE"


def _settings() -> list[str]:
    """Return the dotted keys of the project; an empty list outside one."""
    import yaml

    from overwinter.config import find_project

    try:
        content = yaml.safe_load(find_project().params.read_text(encoding="utf-8"))
    except (OverwinterError, OSError, ValueError, yaml.YAMLError):
        return []
    return list(_keys(content)) if isinstance(content, Mapping) else []


def _keys(content: Mapping[str, Any], above: str = "") -> Iterator[str]:
    for key, value in content.items():
        yield f"{above}{key}"
        if isinstance(value, Mapping):
            yield from _keys(value, f"{above}{key}.")
