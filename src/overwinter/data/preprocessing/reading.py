"""Preprocessing as JSON, which a bundle keeps, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from overwinter.data.preprocessing.image import Image
from overwinter.data.preprocessing.interface import Preprocessing
from overwinter.data.preprocessing.normalize import Normalize
from overwinter.data.preprocessing.tokenized_text import TokenizedText
from overwinter.errors import ConfigError

KINDS = (Normalize.kind, Image.kind, TokenizedText.kind)


def read_preprocessing(content: Mapping[str, Any], *, extras: Path | None = None) -> Preprocessing:
    """Return the preprocessing that JSON describes. Its files are opened with the first sample.

    Args:
        content: from `Preprocessing.to_json`, or a mapping of a data source, such as ``{"mean": 0.5, "std": 0.25}``,
            which is read as `Normalize`; ``input.shape`` is that of one model input.
        extras: folder of a bundle's extras.

    Raises:
        ConfigError: the kind is unknown, or a value is wrong.
    """
    kind = content.get("kind", Normalize.kind)
    if kind == Normalize.kind:
        return Normalize.from_json(content)
    if kind == Image.kind:
        return Image.from_json(content)
    if kind == TokenizedText.kind:
        return TokenizedText.from_json(content, extras)
    raise ConfigError(f"preprocessing.kind={kind!r} is unknown. Known: {', '.join(KINDS)}.")


def check_preprocessing(preprocessing: Mapping[str, Any], input_shape: Sequence[int] | None = None) -> None:
    """Check that a bundle can apply what a data source declares.

    Args:
        preprocessing: what it declares.
        input_shape: of one model input; None: whether there is a mean and std for each channel is not checked.

    Raises:
        ConfigError: the formula or kind is unknown, or a value is wrong.
    """
    given = {} if input_shape is None or "kind" in preprocessing else {"input": {"shape": list(input_shape)}}
    read_preprocessing({**preprocessing, **given})


def as_json(preprocessing: Any) -> dict[str, Any]:
    """Return what a data source declares as a bundle keeps it: JSON, with arrays and their numbers as Python's own.

    Raises:
        ConfigError: it is neither a `Preprocessing` nor a mapping, or JSON has no such value.
    """
    declared = preprocessing.to_json() if isinstance(preprocessing, Preprocessing) else preprocessing
    if not isinstance(declared, Mapping):
        raise ConfigError(
            f"data: `preprocessing` is a {type(declared).__name__}. It must be a mapping, such as "
            '{"mean": 0.5, "std": 0.25}, or {}; or a Normalize, Image or TokenizedText.'
        )
    try:
        kept: dict[str, Any] = json.loads(json.dumps(dict(declared), default=_plain, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"data: `preprocessing` is kept in the bundle as JSON, which it is not: {error}. "
            "Give numbers, texts, lists and mappings."
        ) from None
    return kept


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):  # numpy's and torch's arrays and numbers
        return value.tolist()
    raise TypeError(f"{value!r} is a {type(value).__name__}")
