"""Finding and checking the files of text data sets, local or at fsspec addresses such as s3://bucket/folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from overwinter.config import check_settings, setting
from overwinter.errors import ConfigError
from overwinter.models.hub import is_on_hub
from overwinter.paths import PACKAGE, local_path
from overwinter.remote import is_remote, list_files, versions

SPLITS = ("train", "validation", "test")
_GLOB = "*?["
_KEY = "data.paths"


@dataclass
class _TextSettings:
    length: int = setting("tokens per window", at_least=2)
    validation_share: float = setting("share of the documents for validation", at_least=0, below=1)
    test_share: float = setting("share of the documents for the test", at_least=0, below=1)


@dataclass
class _WindowSettings:
    windows: Mapping[str, int | None] = setting("most windows per split; null: all", at_least=1)


def check_text(config_data: Mapping[str, Any]) -> None:
    """Check the settings of a text data set, and that its files exist.

    Raises:
        ConfigError: a value is out of range, or a file, folder or tokenizer is missing.
        OverwinterError: an address cannot be reached.
    """
    find_texts(addresses(config_data.get("root"), config_data.get("paths") or []))
    if isinstance(tokenizer := config_data.get("tokenizer"), str) and not is_on_hub(tokenizer):
        _check_place(tokenizer, key="data.tokenizer")
    numbers = {field.name: config_data.get(field.name, 0) for field in fields(_TextSettings)}
    check_settings(_TextSettings(**numbers), key="data")
    if (held_out := numbers["validation_share"] + numbers["test_share"]) >= 1:
        raise ConfigError(f"data.validation_share + data.test_share = {held_out} leave nothing to calibrate on.")
    check_windows(config_data.get("windows") or {})


def _check_place(place: str, *, key: str) -> None:
    if is_remote(place):
        versions([place], key=key)
    else:
        local_path(place, key=key)


def check_windows(windows: Mapping[str, Any]) -> None:
    """Check the largest number of windows of each split.

    Raises:
        ConfigError: a split is unknown, or has fewer than one window.
    """
    for split in windows:
        if split not in SPLITS:
            raise ConfigError(f"data.windows names {split!r}, which is unknown. Splits: {', '.join(SPLITS)}.")
    check_settings(_WindowSettings(windows=windows), key="data")


def addresses(root: str | None, paths: Sequence[str]) -> list[str]:
    """Return the places of all texts: ``paths``, relative ones inside ``root``; without paths, ``root`` itself.

    Raises:
        ConfigError: both are empty.
    """
    if not root and not paths:
        raise ConfigError("Neither data.root nor data.paths names a text. Set one, such as data.paths=[plays/*.md].")
    if not root:
        return list(paths)
    inside = [path if _stands_alone(path) else f"{root.rstrip('/')}/{path}" for path in paths]
    return inside or [root]


def find_texts(places: Sequence[str]) -> list[str]:
    """Return the addresses of all files in ``places``, sorted, each once.

    Args:
        places: files, folders (recursive), glob patterns (``**`` crosses folders), each on this
            machine, in a package (``package:NAME/PATH``), or at an fsspec address.

    Raises:
        ConfigError: a place holds no file, its driver is not installed, or it may not be read.
        OverwinterError: an address cannot be reached.
    """
    found: dict[str, None] = {}
    for place in places:
        files = list_files(_without_package(place), key=_KEY)
        if not files:
            raise ConfigError(f"data.paths: there is no file at {place!r}. Name files, folders or patterns of text.")
        found |= dict.fromkeys(files)
    return sorted(found)


def _stands_alone(path: str) -> bool:
    return "://" in path or path.startswith(PACKAGE) or Path(path).expanduser().is_absolute()


def _without_package(place: str) -> str:
    if not place.startswith(PACKAGE):
        return place
    fixed = next((at for at, sign in enumerate(place) if sign in _GLOB), None)
    if fixed is None:
        return str(local_path(place, key=_KEY))
    folder = place[:fixed].rpartition("/")[0]  # the part before the pattern
    return str(local_path(folder, key=_KEY)) + place[len(folder) :]
