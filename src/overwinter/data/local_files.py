"""Checks, without torch and before energy is spent, that the files of `data` and `model` are there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from overwinter.config import Config
from overwinter.config.targets import TEXT_TARGETS
from overwinter.data.copies import data_path
from overwinter.data.remote import is_remote, versions
from overwinter.data.text_files import addresses, check_text
from overwinter.errors import ConfigError
from overwinter.models.local_files import check_model_files
from overwinter.paths import local_path

_KEY = "data.root"
_DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
_FASHION_FILES = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
_FASHION_TARGETS = ("overwinter.data.FashionMnist", "overwinter.data.fashion.FashionMnist")


def check_data(config: Config) -> None:
    """Check that the files of the groups `data/` and `model/` are on this machine, or at the addresses they name.

    Raises:
        ConfigError: a file, a folder, or a package to read it is missing, or credentials are.
        OverwinterError: an address cannot be reached.
    """
    check_model_files(config.model)  # first: a text's tokenizer is usually the model's
    check_data_files(config.data)


def check_data_files(config_data: Mapping[str, Any]) -> None:
    """Check that ``data.root`` exists, and each file of `FashionMnist` on this machine.

    Raises:
        ConfigError: a file, a folder or ``data._target_`` is missing, or credentials are.
        OverwinterError: an address cannot be reached.
    """
    target, root = config_data.get("_target_"), config_data.get("root")
    if not isinstance(target, str) or not target:
        raise ConfigError("data._target_ is missing. Name a class, such as overwinter.data.Digits.")
    if root is not None and not isinstance(root, str):
        raise ConfigError(f"data.root={root!r} must be a path, or null.")
    if target in TEXT_TARGETS:
        check_text(config_data)
    elif root is not None and is_remote(root):
        versions([root], key=_KEY)
    elif target in _FASHION_TARGETS:
        folder = fashion_folder(root)
        for name in _FASHION_FILES:
            fashion_file(folder, name)
    elif root is not None:
        local_path(root, key=_KEY)


def remote_places(config_data: Mapping[str, Any]) -> list[str]:
    """Return the fsspec addresses that a data set reads; without any, all its files are on this machine."""
    root, paths = config_data.get("root"), config_data.get("paths") or []
    is_text = config_data.get("_target_") in TEXT_TARGETS
    places = addresses(root, paths) if is_text and (root or paths) else [root]
    return [place for place in places if isinstance(place, str) and is_remote(place)]


def remote_versions(config_data: Mapping[str, Any]) -> dict[str, str]:
    """Return address -> version of what a data set reads there now, as `remote.versions`.

    Raises:
        ConfigError: there is no file, or it may not be read.
        OverwinterError: an address cannot be reached.
    """
    return versions(remote_places(config_data), key=_KEY)


def fashion_folder(root: str | None) -> Path:
    """Return the folder of Fashion-MNIST's files: ``root``, a copy of it, or the one of Debian's package.

    Raises:
        ConfigError: it does not exist.
    """
    folder = _DEBIAN_FOLDER if root is None else data_path(root) if is_remote(root) else Path(root)
    if not folder.is_dir():
        where = f"data.root={root!r} is not a folder" if root is not None else f"{folder} does not exist"
        raise ConfigError(
            f"Fashion-MNIST is missing: {where}.\n"
            "`apt-get install dataset-fashion-mnist`, or data.root=FOLDER with its four IDX files."
        )
    return folder


def fashion_file(folder: Path, name: str) -> Path:
    """Return the path of one IDX file, gzipped or plain, in either of the usual spellings.

    Args:
        folder: folder of the files.
        name: name of the file, such as ``train-images-idx3``.

    Raises:
        ConfigError: it is missing.
    """
    spellings = [f"{name}-ubyte", f"{name.replace('-idx', '.idx')}-ubyte"]
    for candidate in (folder / f"{spelling}{ending}" for spelling in spellings for ending in (".gz", "")):
        if candidate.is_file():
            return candidate
    raise ConfigError(
        f"{folder / spellings[0]}[.gz] is missing. Put Fashion-MNIST's four IDX files there, "
        "or `apt-get install dataset-fashion-mnist` and leave data.root=null."
    )
