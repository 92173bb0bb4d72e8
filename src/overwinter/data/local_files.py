"""The files of `data` and `model`, checked without torch and before energy is spent; their versions at addresses."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from overwinter.config import Config
from overwinter.config.targets import TEXT_TARGETS
from overwinter.copies import local_copy
from overwinter.data.text_files import addresses, check_text
from overwinter.errors import ConfigError
from overwinter.models.local_files import check_model_files
from overwinter.paths import local_path
from overwinter.remote import is_remote, versions

_KEY, _TOKENIZER = "data.root", "data.tokenizer"
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
    if config.train.teacher is not None and is_remote(config.train.teacher):
        raise ConfigError(
            f"train.teacher={config.train.teacher!r} is not on this machine. Copy it, and name its folder."
        )


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


def remote_places(config: Config) -> dict[str, dict[str, str]]:
    """Return what is read at fsspec addresses: group (`data`, `model`) -> address -> configuration key that names it.

    A group whose files are all on this machine is absent.
    """
    named = {
        "data": [*((place, _KEY) for place in _data_places(config.data)), (config.data.get("tokenizer"), _TOKENIZER)],
        "model": [(config.model.get("root"), "model.root")],
    }
    found = {
        group: {place: key for place, key in places if isinstance(place, str) and is_remote(place)}
        for group, places in named.items()
    }
    return {group: places for group, places in found.items() if places}


def _data_places(config_data: Mapping[str, Any]) -> list[Any]:
    root, paths = config_data.get("root"), config_data.get("paths") or []
    is_text = config_data.get("_target_") in TEXT_TARGETS
    return addresses(root, paths) if is_text and (root or paths) else [root]


def remote_versions(config: Config) -> dict[str, dict[str, str]]:
    """Return group -> address -> version of what is there now, for all `remote_places`.

    Raises:
        ConfigError: there is no file, or it may not be read.
        OverwinterError: an address cannot be reached.
    """
    return {
        group: {place: version for each, key in places.items() for place, version in versions([each], key=key).items()}
        for group, places in remote_places(config).items()
    }


def data_path(place: str, *, key: str = _KEY) -> Path:
    """Return the path of a file or folder: ``place`` itself, or a verified copy of what is at an fsspec address.

    What is at the address is fetched once per version, as `overwinter.copies.local_copy` does it.

    Args:
        place: A path, ``package:NAME/PATH``, or an address such as ``s3://bucket/folder``.
        key: Configuration key, for error messages.

    Raises:
        ConfigError: It does not exist, its driver is not installed, or it may not be read.
        IntegrityError: It changed while it was fetched.
        OverwinterError: It cannot be reached, or the disk is full.
    """
    return local_copy(place, key=key)


def fashion_folder(root: str | None) -> Path:
    """Return the folder of Fashion-MNIST's files: ``root``, a copy of it, or the one of Debian's package.

    Raises:
        ConfigError: it does not exist.
    """
    folder = _DEBIAN_FOLDER if root is None else local_copy(root, key=_KEY) if is_remote(root) else Path(root)
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
