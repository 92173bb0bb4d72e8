"""Log probabilities of written tokens in OpenAI's formats, of a chat and of a completion, with each token's bytes."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import cache, cached_property
from typing import Any

from overwinter.serving.worker.generation import TokenScore

_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")  # how vocabularies with byte fallback write a byte
_BEFORE = "a"  # a token before another one, so that the other one is not the first of a text


class TokenBytes:
    """The bytes of each token of a tokenizer, also of those that are only a part of a character.

    Args:
        tokenizer: A `tokenizers.Tokenizer`.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._added = {number: token.content for number, token in tokenizer.get_added_tokens_decoder().items()}

    def of(self, token: int) -> bytes:
        """Return the bytes that a token adds to a text; empty if the vocabulary does not have it."""
        if token in self._added:
            return str(self._added[token]).encode()
        name = self._tokenizer.id_to_token(token)
        if name is None:
            return b""
        if "ByteLevel" in self._kinds:
            return b"".join(_byte_level().get(letter) or letter.encode() for letter in name)
        if "ByteFallback" in self._kinds and (byte := _BYTE.fullmatch(name)):
            return bytes.fromhex(byte[1])
        decoder = self._tokenizer.decoder
        if decoder is None:
            return f" {name}".encode()
        text: str = decoder.decode([_BEFORE, name])
        return text.removeprefix(_BEFORE).encode()

    @cached_property
    def _kinds(self) -> frozenset[str]:
        """The names of the decoder's steps."""
        decoder = self._tokenizer.decoder
        if decoder is None:
            return frozenset()
        content = json.loads(decoder.__getstate__())
        return frozenset(step["type"] for step in [content, *content.get("decoders", [])])


def chat_logprobs(scores: Sequence[TokenScore], tokens: TokenBytes) -> dict[str, Any]:
    """Return `logprobs` of a chat's choice: for each token its text, bytes and log probability."""

    def entry(token: int, logprob: float) -> dict[str, Any]:
        content = tokens.of(token)
        return {"token": _text(content), "logprob": logprob, "bytes": list(content)}

    return {
        "content": [
            entry(score.token, score.logprob) | {"top_logprobs": [entry(*each) for each in score.top]}
            for score in scores
        ],
        "refusal": None,
    }


def completion_logprobs(scores: Sequence[TokenScore], tokens: TokenBytes) -> dict[str, Any]:
    """Return `logprobs` of a completion's choice; offsets are in characters of the response's text.

    `top_logprobs` also has the written token, as OpenAI's reference says.
    """

    def name(token: int) -> str:
        return _text(tokens.of(token), partial="bytes:")

    def top(score: TokenScore) -> dict[str, float]:
        named: dict[str, float] = {}
        for token, logprob in [*score.top, (score.token, score.logprob)]:
            named.setdefault(name(token), logprob)  # of tokens with one text, the most probable
        return named

    return {
        "tokens": [name(score.token) for score in scores],
        "token_logprobs": [score.logprob for score in scores],
        "top_logprobs": [top(score) for score in scores],
        "text_offset": [score.offset for score in scores],
    }


def _text(content: bytes, *, partial: str = "") -> str:
    """Return a token's bytes as text; those of a part of a character as escapes, after a prefix."""
    try:
        return content.decode()
    except UnicodeDecodeError:
        return partial + "".join(f"\\x{byte:02x}" for byte in content)


@cache
def _byte_level() -> dict[str, bytes]:
    """Return the byte of each letter of byte-level vocabularies (GPT-2's `bytes_to_unicode`)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): bytes([byte]) for byte in printable} | {
        chr(256 + place): bytes([byte]) for place, byte in enumerate(others)
    }
