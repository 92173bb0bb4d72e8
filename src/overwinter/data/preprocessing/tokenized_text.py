"""Preprocessing of texts: tokens by a tokenizer.json (Hugging Face's format). Needs tokenizers, not transformers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from overwinter.data.preprocessing.interface import refuse_unknown
from overwinter.errors import ConfigError

MAX_CHARACTERS = 1 << 20  # of one text, which is tokenized whole before it is cut
_FILE, _SETTINGS = "tokenizer.json", "tokenizer_config.json"
_NAMES = ("input_ids", "attention_mask", "token_type_ids")
_PADDINGS = ("longest", "max_length")
_KEYS = ("max_length", "padding", "inputs")


class TokenizedText:
    """Texts to tokens, int64 (n, length) by name; longer texts are cut, shorter ones padded after their end.

    Args:
        tokenizer: folder with tokenizer.json; a bundle has it in extras/tokenizer.
        max_length: of a text in tokens, special ones included.
        padding: to the ``longest`` text of a batch, or always to ``max_length``.
        inputs: those that the model takes, of `input_ids`, `attention_mask` and `token_type_ids`.

    Raises:
        ConfigError: an argument is wrong.
    """

    kind = "text"

    def __init__(
        self,
        tokenizer: str | Path | None,
        *,
        max_length: int,
        padding: str = "longest",
        inputs: Sequence[str] = _NAMES[:2],
    ) -> None:
        if type(max_length) is not int or max_length < 1:
            raise ConfigError(f"preprocessing.max_length={max_length!r} must be a number of tokens, from 1.")
        if padding not in _PADDINGS:
            raise ConfigError(f"preprocessing.padding={padding!r} must be one of {', '.join(_PADDINGS)}.")
        names = list(inputs) if isinstance(inputs, list | tuple) else []
        if not names or not set(names) <= set(_NAMES):
            raise ConfigError(f"preprocessing.inputs={inputs!r} must name some of {', '.join(_NAMES)}.")
        self.extras = None if tokenizer is None else Path(tokenizer)
        self._max_length, self._padding, self._inputs = max_length, padding, tuple(names)

    @classmethod
    def from_json(cls, content: Mapping[str, Any], extras: Path | None) -> Self:
        """Create it from JSON.

        Args:
            content: as `to_json` returned it.
            extras: folder of a bundle's extras; the tokenizer is in its subfolder `tokenizer`.

        Raises:
            ConfigError: a key is unknown, or a value is wrong.
        """
        refuse_unknown(content, _KEYS)
        given = {key: value for key, value in content.items() if key != "kind"}
        return cls(None if extras is None else extras / "tokenizer", **{"max_length": None, **given})

    def to_json(self) -> dict[str, Any]:
        """Return what a bundle keeps, besides the tokenizer."""
        values = (self._max_length, self._padding, list(self._inputs))
        return {"kind": self.kind, **dict(zip(_KEYS, values, strict=True))}

    def describe_raw(self) -> list[dict[str, Any]]:
        """Return the raw input: a text for each sample."""
        return [{"name": "raw", "datatype": "BYTES", "shape": [-1]}]

    def prepare(self, raw: Any) -> dict[str, NDArray[np.int64]]:
        """Return model inputs by name, int64 (n, length).

        Args:
            raw: n texts.

        Raises:
            ConfigError: one is no text or too long, none has a token, or the tokenizer cannot be read.
        """
        texts = [_checked(text, place) for place, text in enumerate(raw)]
        encoded = self._tokenizer.encode_batch(texts, add_special_tokens=True)
        if not encoded or not len(encoded[0].ids):
            raise ConfigError("There is no token in the text.")
        tokens = {
            "input_ids": [each.ids for each in encoded],
            "attention_mask": [each.attention_mask for each in encoded],
            "token_type_ids": [each.type_ids for each in encoded],
        }
        return {name: np.array(tokens[name], dtype=np.int64) for name in self._inputs}  # (n, length)

    @cached_property
    def _tokenizer(self) -> Any:
        if self.extras is None or not (self.extras / _FILE).is_file():
            where = "extras/tokenizer" if self.extras is None else str(self.extras)
            raise ConfigError(f"{where} has no {_FILE}: name the folder of the model's tokenizer.")
        try:
            from tokenizers import Tokenizer
        except ImportError as error:
            raise ConfigError(f"Texts need tokenizers: pip install 'overwinter[llm]' ({error}).") from error
        try:
            tokenizer = Tokenizer.from_file(str(self.extras / _FILE))
        except Exception as error:  # noqa: BLE001 -- tokenizers raises plain exceptions
            raise ConfigError(f"{self.extras / _FILE} cannot be read: {error}.") from None
        tokenizer.enable_truncation(self._max_length)
        length = self._max_length if self._padding == "max_length" else None
        tokenizer.enable_padding(**self._filling(tokenizer), length=length, direction="right")
        return tokenizer

    def _filling(self, tokenizer: Any) -> dict[str, Any]:
        """Return the token that fills up: the tokenizer's own, the one its settings name, or the first."""
        own = tokenizer.padding
        if own is not None:
            return {"pad_id": own["pad_id"], "pad_token": own["pad_token"], "pad_type_id": own["pad_type_id"]}
        path = (self.extras or Path()) / _SETTINGS
        settings = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        named = settings.get("pad_token") or settings.get("eos_token")
        token = named.get("content") if isinstance(named, Mapping) else named
        number = tokenizer.token_to_id(token) if isinstance(token, str) else None
        return {"pad_id": number or 0, "pad_token": token or ""}


def _checked(text: Any, place: int) -> str:
    if not isinstance(text, str):
        raise ConfigError(f"Text {place} is a {type(text).__name__}, not a text.")
    if len(text) > MAX_CHARACTERS:
        raise ConfigError(f"Text {place} has {len(text)} characters; at most {MAX_CHARACTERS} are taken.")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ConfigError(f"Text {place} contains half of a surrogate pair, which is not valid text.") from None
    return text
