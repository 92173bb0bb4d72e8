"""How a folder of the sentence-transformers library pools an encoder's states: ``modules.json`` and what it names.

https://sbert.net/docs/package_reference/sentence_transformer/models.html
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from overwinter.errors import ConfigError

_FLAG = "pooling_mode_"
# Flag of its configuration -> pooling of `PretrainedModel`.
_POOLINGS = {"mean_tokens": "mean", "cls_token": "cls"}
_MODULES = ("Transformer", "Pooling", "Normalize")


def read_pooling(folder: Path) -> tuple[str, bool]:
    """Return the pooling, and whether embeddings are normalized; a folder without modules.json means the mean, not.

    Raises:
        ConfigError: it has other modules or another pooling than these, or cannot be read.
    """
    if not (folder / "modules.json").is_file():
        return "mean", False
    modules = _read(folder / "modules.json")
    try:
        kinds = {str(each["type"]).rpartition(".")[2]: str(each["path"]) for each in modules}
    except (TypeError, KeyError) as error:
        raise ConfigError(f"{folder}/modules.json is malformed: {error!r}. Get the folder again.") from None
    unknown = sorted(set(kinds) - set(_MODULES))
    if unknown:
        raise ConfigError(
            f"{folder}/modules.json has the modules {', '.join(unknown)}; {', '.join(_MODULES)} are supported. "
            "Name another model."
        )
    return _pooling(folder / kinds["Pooling"]) if "Pooling" in kinds else "mean", "Normalize" in kinds


def _pooling(folder: Path) -> str:
    config = _read(folder / "config.json")
    chosen = [key.removeprefix(_FLAG) for key, value in config.items() if key.startswith(_FLAG) and value is True]
    if len(chosen) != 1 or chosen[0] not in _POOLINGS:
        raise ConfigError(
            f"{folder}/config.json pools by {', '.join(chosen) or 'nothing'}; one of {', '.join(_POOLINGS)} is "
            "supported. Name another model."
        )
    return _POOLINGS[chosen[0]]


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}. Get the folder again.") from None
