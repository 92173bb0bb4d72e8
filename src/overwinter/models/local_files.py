"""Path of a pretrained model on this machine, checked without torch before any energy is spent."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from overwinter.config.targets import PRETRAINED_TARGETS
from overwinter.errors import ConfigError
from overwinter.models.hub import HUB, check_hub_place, hub_folder, is_on_hub
from overwinter.paths import local_path

GGUF = ".gguf"
_KEY = "model.root"
_REMOTE = re.compile(r"\w+://.+|[\w.-]+/[\w.-]+")  # an address, or OWNER/NAME on a hub


def check_model_files(config_model: Mapping[str, Any]) -> None:
    """Check that a pretrained model is on this machine or named on the hub, and that packages to read it are installed.

    Raises:
        ConfigError: the model or a package is missing, or ``model.root`` names a model on the hub without its commit.
    """
    if config_model.get("_target_") in PRETRAINED_TARGETS:
        root = config_model.get("root")
        if isinstance(root, str) and is_on_hub(root):  # fetched by the stage that reads it
            check_hub_place(root, key=_KEY)
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

    A model on the hub is fetched.

    Raises:
        ConfigError: it is missing, or is something else.
    """
    if not isinstance(root, str) or not root:
        raise ConfigError(f"{_KEY}={root!r} must name a folder or a {GGUF} file.")
    if not is_on_hub(root) and _REMOTE.fullmatch(root) and not Path(root).exists():
        raise ConfigError(
            f"{_KEY}={root!r} is not on this machine. For a model on the Hugging Face Hub set "
            f"{_KEY}={HUB}OWNER/NAME@COMMIT; or download it (`hf download OWNER/NAME --local-dir FOLDER`), then set "
            f"{_KEY}=FOLDER."
        )
    path = model_folder(root, key=_KEY)
    if path.is_file() and path.suffix != GGUF:
        raise ConfigError(f"{_KEY}={root!r} is neither a folder nor a {GGUF} file.")
    if path.is_dir() and not (path / "config.json").is_file():
        raise ConfigError(f"{_KEY}={root!r} has no config.json. Name the folder that holds it and the weights.")
    if path.is_dir() and not list(path.glob("*.safetensors")):
        raise ConfigError(f"{_KEY}={root!r} has no *.safetensors. Weights in pickle are not read: convert them first.")
    return path


def model_folder(root: str, *, key: str) -> Path:
    """Return the folder or file that ``root`` names on this machine or on the hub, from which it is fetched.

    Raises:
        ConfigError: it does not exist, or could not be fetched.
    """
    return hub_folder(root, key=key) if is_on_hub(root) else local_path(root, key=key)
