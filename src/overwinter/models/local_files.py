"""Path of a pretrained model, checked without torch before any energy is spent.

One at an fsspec address is copied and verified as data are (`overwinter.copies`), by the stage that reads it.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from overwinter.config.targets import PRETRAINED_TARGETS
from overwinter.copies import local_copy
from overwinter.errors import ConfigError
from overwinter.models.hub import HUB, check_hub_place, hub_folder, is_on_hub
from overwinter.remote import is_remote, names_inside

GGUF = ".gguf"
_KEY = "model.root"
_CONFIG, _WEIGHTS = "config.json", ".safetensors"
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def check_model_files(config_model: Mapping[str, Any]) -> None:
    """Check that a pretrained model is where ``model.root`` says, and that packages to read it are installed.

    Nothing is fetched: of a model at an address, the names of its files are looked at; of one on the hub, its name.

    Raises:
        ConfigError: the model or a package is missing, or ``model.root`` names a model on the hub without its commit.
        OverwinterError: an address cannot be reached.
    """
    if config_model.get("_target_") in PRETRAINED_TARGETS:
        root = config_model.get("root")
        if isinstance(root, str) and is_on_hub(root):  # fetched by the stage that reads it
            check_hub_place(root, key=_KEY)
        elif isinstance(root, str) and is_remote(root):
            _check_names(root, names_inside(root, key=_KEY))
        else:
            model_path(root)
        needed = ["transformers", *(["gguf"] if str(root).endswith(GGUF) else [])]
        for name in needed:
            if importlib.util.find_spec(name) is None:
                raise ConfigError(
                    f"Models of Hugging Face need the package {name}, which is not installed.\n"
                    "`pip install 'overwinter[llm]'`"
                )


def model_path(root: Any) -> Path:
    """Return the path of a pretrained model: a GGUF file, or a folder with config.json and safetensors.

    A model on the hub or at an address is fetched.

    Raises:
        ConfigError: it is missing, or is something else.
        IntegrityError: it changed at its address while it was fetched.
        OverwinterError: its address cannot be reached.
    """
    if not isinstance(root, str) or not root:
        raise ConfigError(f"{_KEY}={root!r} must name a folder or a {GGUF} file.")
    if _HUB_NAME.fullmatch(root) and not Path(root).exists():
        raise ConfigError(
            f"{_KEY}={root!r} is not on this machine. For a model on the Hugging Face Hub set "
            f"{_KEY}={HUB}OWNER/NAME@COMMIT; or download it (`hf download OWNER/NAME --local-dir FOLDER`), then set "
            f"{_KEY}=FOLDER."
        )
    path = model_folder(root, key=_KEY)
    _check_names(root, None if path.is_file() else [each.name for each in path.iterdir()])
    return path


def model_folder(root: str, *, key: str) -> Path:
    """Return the folder or file that ``root`` names; one on the hub or at an address is fetched.

    Raises:
        ConfigError: it does not exist, or could not be fetched.
        IntegrityError: it changed at its address while it was fetched.
        OverwinterError: its address cannot be reached.
    """
    return hub_folder(root, key=key) if is_on_hub(root) else local_copy(root, key=key)


def _check_names(root: str, inside: Sequence[str] | None) -> None:
    """Check the names of the files in a model's folder; None: ``root`` is a file."""
    if inside is None:
        if not root.endswith(GGUF):
            raise ConfigError(f"{_KEY}={root!r} is neither a folder nor a {GGUF} file.")
        return
    if _CONFIG not in inside:
        raise ConfigError(f"{_KEY}={root!r} has no {_CONFIG}. Name the folder that holds it and the weights.")
    if not any(name.endswith(_WEIGHTS) and "/" not in name for name in inside):
        raise ConfigError(f"{_KEY}={root!r} has no *{_WEIGHTS}. Weights in pickle are not read: convert them first.")
