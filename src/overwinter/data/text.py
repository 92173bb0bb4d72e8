"""Text for language models: documents, cut into windows of tokens, split by document.

A document is a file, a line of a ``.jsonl`` file, or a part of a file between separators. No document is in two
splits, so that calibration never uses the neighbours of a test window; a document that occurs twice counts once.

A window begins as a text begins in the server: with the tokens that the tokenizer puts before every text, such as
Gemma's ``<bos>``, without which its perplexity is several times higher. What follows them in a window is the middle of
a document and not a text's beginning, so the token that they predict does not count.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from overwinter.data.in_memory import InMemory
from overwinter.data.text_files import SPLITS, addresses, check_windows, find_texts
from overwinter.errors import ConfigError, IntegrityError
from overwinter.models import leading_tokens, pretrained_tokenizer
from overwinter.remote import open_file
from overwinter.tasks import IGNORED

_JSON_LINES = (".jsonl", ".jsonl.gz")
_JSON_KEY = "text"


class Text:
    """A text data set.

    Args:
        tokenizer: the model's folder or GGUF file, or a folder with tokenizer.json.
        length: tokens per window.
        split_seed: seed that assigns documents and windows to splits.
        validation_share: share of the documents.
        test_share: share of the documents.
        windows: split -> most windows, drawn from all of its documents; None or absent: all.
        paths: files, folders, glob patterns; local, ``package:NAME/PATH``, or fsspec addresses.
        root: file or folder for relative ``paths``; local, or an fsspec address.
        separator: string between the documents of a file; None: a file is one document.
        sha256: SHA-256 of the content of all files; None: not checked.

    Attributes:
        labels: empty, because the outputs are tokens.

    Raises:
        ConfigError: a path has no files, a file is not UTF-8, or there is too little text for three splits.
        IntegrityError: the content does not have the digest ``sha256``.
    """

    labels: tuple[str, ...] = ()

    def __init__(
        self,
        *,
        tokenizer: str,
        length: int,
        split_seed: int,
        validation_share: float,
        test_share: float,
        windows: Mapping[str, int | None],
        paths: Sequence[str] = (),
        root: str | None = None,
        separator: str | None = None,
        sha256: str | None = None,
    ) -> None:
        check_windows(windows)
        contents = _read(find_texts(addresses(root, paths)))
        self.sha256 = _checked_digest(contents, sha256)
        documents = [part for name, content in contents.items() for part in _documents(name, content, separator)]
        documents = list({part.strip(): part for part in documents}.values())  # a copy may not be in another split
        self._members = _split(documents, split_seed, validation_share, test_share)
        self._tokenizer = tokenizer
        self._length, self._seed, self._windows = length, split_seed, windows

    @property
    def preprocessing(self) -> dict[str, Any]:
        """Return none: a server makes tokens of a text by the tokenizer in the bundle."""
        return {}

    def split(self, name: str) -> InMemory:
        """Return the windows of ``train``, ``validation`` or ``test``, in an order drawn by the seed.

        Inputs are tokens (windows, length), int64, with `leading_tokens` first, and targets the token after each
        (windows, length); those that would follow the leading tokens are -100, which does not count.

        Raises:
            ConfigError: its documents are shorter than one window, or windows than the leading tokens.
        """
        leading = np.asarray(self.leading_tokens, dtype=np.int64)
        size = self._length - len(leading)  # tokens of the text in a window
        if size < 1:
            raise ConfigError(
                f"data.length={self._length} leaves no room: the tokenizer begins every text with {len(leading)} "
                "tokens of its own. Raise it."
            )
        stream = self._tokens(self._members[name])
        count = (len(stream) - 1) // size
        if count < 1:
            raise ConfigError(
                f"The split {name!r} has {len(stream)} tokens, and data.length={self._length} needs one more than that "
                "many. Give it more text, a larger share, or shorter windows."
            )
        order = np.random.default_rng([self._seed, SPLITS.index(name)]).permutation(count)[: self._windows.get(name)]
        places = order[:, None] * size + np.arange(size)  # (windows, size)
        inputs, targets = _led(stream[places], leading), _led(stream[places + 1], np.full_like(leading, IGNORED))
        return InMemory(torch.from_numpy(inputs), torch.from_numpy(targets))

    @property
    def leading_tokens(self) -> tuple[int, ...]:
        """Tokens that the tokenizer puts before every text, as the server does; may be empty."""
        return self._opened[2]

    @property
    def vocabulary(self) -> int:
        """One more than the largest token that plain text is made of, and what stands before and behind it."""
        # Without tokens that were added later, such as a padding token: many a model has no row for those.
        encoder, end, leading = self._opened
        return 1 + int(max([*encoder.get_vocab(with_added_tokens=False).values(), *end, *leading]))

    @functools.cached_property
    def _opened(self) -> tuple[Any, list[int], tuple[int, ...]]:
        """Fast tokenizer, its end-of-text tokens (none or one), and those before every text."""
        tokenizer = pretrained_tokenizer(self._tokenizer)
        end = [] if tokenizer.eos_token_id is None else [int(tokenizer.eos_token_id)]
        return tokenizer.backend_tokenizer, end, leading_tokens(tokenizer)

    def _tokens(self, documents: Sequence[str]) -> NDArray[np.int64]:
        """Return all documents in one stream, each followed by the end-of-text token."""
        encoder, end, _ = self._opened
        encoded = encoder.encode_batch(list(documents), add_special_tokens=False)
        pieces = [np.asarray([*each.ids, *end], dtype=np.int64) for each in encoded]
        return np.concatenate(pieces)


def _led(windows: NDArray[np.int64], leading: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return windows (n, size) with the same tokens before each, (n, leading + size)."""
    return np.concatenate([np.broadcast_to(leading, (len(windows), len(leading))), windows], axis=1)


def _read(texts: Sequence[str]) -> dict[str, str]:
    contents = {}
    for address in texts:
        try:
            with open_file(address, key="data.paths") as stream:
                content = stream.read()
            contents[address] = content.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ConfigError(f"data.paths: {address} is not UTF-8 text: {error.reason} at {error.start}.") from None
    return contents


def _checked_digest(contents: Mapping[str, str], expected: str | None) -> str:
    digest = hashlib.sha256()
    for name in sorted(contents):
        digest.update(hashlib.sha256(contents[name].encode()).digest())
    found = digest.hexdigest()
    if expected is not None and found != expected:
        raise IntegrityError(
            f"The texts are not those that data.sha256 names: their SHA-256 is {found}, not {expected}.\n"
            "If you trust them, put the new digest into the configuration."
        )
    return found


def _documents(name: str, content: str, separator: str | None) -> list[str]:
    if name.endswith(_JSON_LINES):
        return [_text_of(line, name, number) for number, line in enumerate(content.splitlines(), 1) if line.strip()]
    parts = content.split(separator) if separator else [content]
    return [part for part in parts if part.strip()]


def _text_of(line: str, name: str, number: int) -> str:
    try:
        return str(json.loads(line)[_JSON_KEY])
    except (ValueError, KeyError, TypeError):
        raise ConfigError(f"{name}, line {number}: not a JSON object with the key {_JSON_KEY!r}.") from None


def _split(documents: Sequence[str], seed: int, validation_share: float, test_share: float) -> dict[str, list[str]]:
    """Shuffle the documents and cut them into train, validation and test; none is left empty."""
    if len(documents) < len(SPLITS):
        raise ConfigError(
            f"The text has {len(documents)} documents that differ; each of {', '.join(SPLITS)} needs one of its own. "
            "Name more files, or set data.separator, which cuts a file into documents."
        )
    order = np.random.default_rng(seed).permutation(len(documents))
    test = max(1, round(len(documents) * test_share))
    validation = max(1, round(len(documents) * validation_share))
    if test + validation >= len(documents):
        raise ConfigError(
            f"data.validation_share={validation_share} and data.test_share={test_share} leave none of "
            f"{len(documents)} documents to train or calibrate on. Lower one, or add text."
        )
    parts = order[test + validation :], order[test : test + validation], order[:test]
    return {name: [documents[index] for index in part] for name, part in zip(SPLITS, parts, strict=True)}
