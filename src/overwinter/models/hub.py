"""Models on the Hugging Face Hub: ``hf:OWNER/NAME@COMMIT``, pinned to a commit, fetched once into its cache.

Only weights in safetensors, JSON and tokenizer files are fetched: no pickle, no code. `HF_HOME`, `HF_TOKEN`,
`HF_ENDPOINT` and `HF_HUB_OFFLINE` mean what they mean to the library.
https://huggingface.co/docs/huggingface_hub/guides/download
"""

from __future__ import annotations

import re
from pathlib import Path

from overwinter.errors import ConfigError

HUB = "hf:"
_PLACE = re.compile(rf"{HUB}(?P<name>[\w.-]+/[\w.-]+)@(?P<commit>[0-9a-f]{{40}})")
_FETCHED = ("*.safetensors", "*.json", "tokenizer.model", "*.jinja", "vocab.txt", "merges.txt")


def is_on_hub(place: str) -> bool:
    """Return whether ``place`` names a model on the hub."""
    return place.startswith(HUB)


def check_hub_place(place: str, *, key: str = "model.root") -> tuple[str, str]:
    """Return the name and the commit of a model on the hub; nothing is fetched.

    Raises:
        ConfigError: ``place`` is no ``hf:OWNER/NAME@COMMIT``.
    """
    found = _PLACE.fullmatch(place)
    if found is None:
        raise ConfigError(
            f"{key}={place!r} must be {HUB}OWNER/NAME@COMMIT, with the commit's 40 hexadecimal digits, which the "
            "model's page shows under Files: a branch may be another model tomorrow."
        )
    return found["name"], found["commit"]


def hub_folder(place: str, *, key: str = "model.root") -> Path:
    """Return the folder of a model from the hub, fetched unless it is in the cache.

    Raises:
        ConfigError: it is not there, cannot be reached, or the package huggingface_hub is missing.
    """
    name, commit = check_hub_place(place, key=key)
    try:
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(name, revision=commit, allow_patterns=list(_FETCHED)))
    except ImportError as error:
        raise ConfigError(f"{key}={place!r} needs huggingface_hub: {error}.\n`pip install 'overwinter[llm]'`") from None
    except Exception as error:  # noqa: BLE001 -- its errors and those of its HTTP client share no base class
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(
            f"{key}={place!r} could not be fetched: {reason}\nCheck the name, the commit, HF_TOKEN and the network; or "
            f"download it elsewhere (`hf download {name} --revision {commit} --local-dir FOLDER`) and set {key}=FOLDER."
        ) from None
