"""Checks of text data sets, and finding their files: local ones, and fsspec addresses such as s3://bucket/folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from overwinter.config.checks.ranges import check_at_least, check_share
from overwinter.errors import ConfigError
from overwinter.places import PACKAGE, local_path

TEXT_TARGETS = ("overwinter.data.Text", "overwinter.data.text.Text")
SPLITS = ("train", "validation", "test")
_GLOB = "*?["


def check_text(config_data: Mapping[str, Any]) -> None:
    """Check what a text data set is made of; what is on this machine must be there.

    Raises:
        ConfigError: a value is out of range, or a file, folder or tokenizer is missing.
    """
    places = addresses(config_data.get("root"), config_data.get("paths") or [])
    find_texts([place for place in places if "://" not in place])
    if isinstance(tokenizer := config_data.get("tokenizer"), str):
        local_path(tokenizer, key="data.tokenizer")
    check_at_least("data.length", config_data.get("length", 0), 2)
    shares = [config_data.get(f"{name}_share", 0) for name in ("validation", "test")]
    for name, share in zip(("validation", "test"), shares, strict=True):
        check_share(f"data.{name}_share", share)
    if sum(shares) >= 1:
        raise ConfigError(f"data.validation_share + data.test_share = {sum(shares)} leave nothing to calibrate on.")
    check_windows(config_data.get("windows") or {})


def check_windows(windows: Mapping[str, Any]) -> None:
    """Check how many windows each split may have at most.

    Raises:
        ConfigError: an unknown split, or fewer than one window.
    """
    for split, most in windows.items():
        if split not in SPLITS:
            raise ConfigError(f"data.windows names {split!r}, which is no split. Splits: {', '.join(SPLITS)}.")
        if most is not None:
            check_at_least(f"data.windows.{split}", most, 1)


def addresses(root: str | None, paths: Sequence[str]) -> list[str]:
    """Return the places of all texts: ``paths``, relative ones inside ``root``; without paths ``root`` itself.

    Raises:
        ConfigError: neither names anything.
    """
    if not root and not paths:
        raise ConfigError("Neither data.root nor data.paths names a text: data.paths=[plays/*.md], for instance.")
    if not root:
        return list(paths)
    inside = [path if _stands_alone(path) else f"{root.rstrip('/')}/{path}" for path in paths]
    return inside or [root]


def find_texts(places: Sequence[str]) -> list[str]:
    """Return the addresses of all files in ``places``, sorted, each once.

    Args:
        places: files, folders (with all that is below), glob patterns (``**`` crosses folders), each on this
            machine, in a package (``package:NAME/PATH``), or at an fsspec address.

    Raises:
        ConfigError: a place holds no file, or its file system is not installed.
    """
    found: dict[str, None] = {}
    for place in places:
        files = _files_at(place)
        if not files:
            raise ConfigError(f"data.paths: there is no file at {place!r}. Name files, folders or patterns of text.")
        found |= dict.fromkeys(files)
    return sorted(found)


def _stands_alone(path: str) -> bool:
    return "://" in path or path.startswith(PACKAGE) or Path(path).expanduser().is_absolute()


def _files_at(place: str) -> list[str]:
    from fsspec.core import url_to_fs  # type: ignore[import-untyped]  # has no types

    try:
        files, path = url_to_fs(_without_package(place))
        matches = files.glob(path) if any(sign in path for sign in _GLOB) else files.find(path)
        return [files.unstrip_protocol(match) for match in matches if files.isfile(match)]
    except (ImportError, ValueError, OSError) as error:
        raise ConfigError(f"data.paths: {place!r} cannot be listed: {error}.") from None


def _without_package(place: str) -> str:
    if not place.startswith(PACKAGE):
        return place
    fixed = next((at for at, sign in enumerate(place) if sign in _GLOB), None)
    if fixed is None:
        return str(local_path(place, key="data.paths"))
    folder = place[:fixed].rpartition("/")[0]  # what stands before the first sign of a pattern
    return str(local_path(folder, key="data.paths")) + place[len(folder) :]
