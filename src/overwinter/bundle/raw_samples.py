"""Raw samples as tensors of a safetensors file: arrays as they are, files and texts as one array of bytes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from overwinter.inputs import Array

Raw: TypeAlias = "Array | Sequence[bytes] | Sequence[str]"
"""n raw samples: an array (n, ...), or the bytes of n files, or n texts."""

_RAW, _FILES, _TEXTS, _LENGTHS = "raw", "raw.files", "raw.texts", "raw.lengths"


def raw_tensors(raw: Raw) -> dict[str, Array]:
    """Return raw samples as arrays by name."""
    if isinstance(raw, np.ndarray):
        return {_RAW: np.ascontiguousarray(raw)}
    name = _TEXTS if raw and isinstance(raw[0], str) else _FILES
    parts = [each.encode() if isinstance(each, str) else each for each in raw]
    joined = np.frombuffer(b"".join(parts), np.uint8)
    return {name: joined, _LENGTHS: np.array([len(part) for part in parts], np.int64)}


def raw_from(tensors: Mapping[str, Array]) -> Raw | None:
    """Return what `raw_tensors` made; None if there are no raw samples.

    Raises:
        ValueError: The arrays are malformed.
    """
    if _RAW in tensors:
        return tensors[_RAW]
    name = next((name for name in (_FILES, _TEXTS) if name in tensors), None)
    if name is None:
        return None
    joined, lengths = tensors[name], tensors.get(_LENGTHS)
    if lengths is None or lengths.ndim != 1 or lengths.dtype != np.int64 or joined.dtype != np.uint8:
        raise ValueError(f"{_LENGTHS} does not say where each sample of {name} ends")
    if (lengths < 0).any() or (lengths > joined.size).any() or int(lengths.sum()) != joined.size:
        raise ValueError(f"{_LENGTHS} does not add up to the {joined.size} bytes of {name}")
    parts = [part.tobytes() for part in np.split(joined.ravel(), np.cumsum(lengths)[:-1])]
    return [part.decode() for part in parts] if name == _TEXTS else parts  # UnicodeDecodeError is a ValueError


def as_raw(samples: Raw | Sequence[Any], kind: str) -> Raw:
    """Return raw samples as a canary holds them.

    Args:
        samples: n arrays, files or texts.
        kind: of their preprocessing. An image that is an array becomes a PNG file, so that a canary goes the way of a
            client's file.
    """
    if kind == "image":
        return [sample if isinstance(sample, bytes) else _as_png(np.asarray(sample)) for sample in samples]
    return list(samples) if kind == "text" else np.asarray(samples)


def _as_png(pixels: Array) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2:] == (1,) else pixels).save(buffer, "PNG")
    return buffer.getvalue()
