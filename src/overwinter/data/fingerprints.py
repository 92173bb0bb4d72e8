"""Digests of samples: whether two are the same, and which data a model was trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from overwinter.inputs import count, named


def fingerprints(inputs: Iterable[Any]) -> NDArray[np.uint64]:
    """Return a digest of 8 bytes of each input (n,): equal ones are the same input, but for one chance in 10^19.

    Args:
        inputs: of samples, as their data set gives them.
    """
    return np.array([_fingerprint(value) for value in inputs], dtype=np.uint64)


def row_fingerprints(inputs: Any) -> NDArray[np.uint64]:
    """Return the same digests (n,) of a batch of tensors (n, ...), one or several by name."""
    named_rows = [
        (name.encode() if isinstance(inputs, Mapping) else b"", _bytes_of_rows(value))
        for name, value in named(inputs).items()
    ]
    return np.array(
        [_digest(part for name, rows in named_rows for part in (name, rows[row])) for row in range(count(inputs))],
        dtype=np.uint64,
    )


def raw_bytes(value: Any) -> Iterator[bytes]:
    """Yield the content of a sample's input or target: of tensors, arrays, numbers, texts, and mappings of them."""
    if isinstance(value, torch.Tensor):
        yield value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    elif isinstance(value, np.ndarray | np.generic):
        yield value.tobytes()
    elif isinstance(value, bytes):
        yield value
    elif isinstance(value, Mapping):
        for name in value:
            yield str(name).encode()
            yield from raw_bytes(value[name])
    elif isinstance(value, tuple | list):
        for part in value:
            yield from raw_bytes(part)
    elif hasattr(value, "tobytes"):  # an image of pillow's
        yield value.tobytes()
    else:
        yield repr(value).encode()


def _fingerprint(value: Any) -> int:
    return _digest(raw_bytes(value))


def _digest(parts: Iterable[Any]) -> int:
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        digest.update(part)
    return int.from_bytes(digest.digest(), "little")


def _bytes_of_rows(tensor: torch.Tensor) -> NDArray[np.uint8]:
    """Return the content of each row (n, bytes)."""
    return tensor.detach().cpu().contiguous().reshape(len(tensor), -1).view(torch.uint8).numpy()
