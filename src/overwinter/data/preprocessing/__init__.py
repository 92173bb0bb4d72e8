"""Preprocessing: how raw samples become model inputs, one object for the data set and for the server.

- `Preprocessing` is the protocol; `Normalize` scales numbers, `Image` reads PNG and JPEG files, `TokenizedText` turns
  texts into tokens. Each takes a batch of raw samples and returns a batch of model inputs, as numpy arrays.
- `read_preprocessing` makes one from what a bundle keeps (`Preprocessing.to_json`), `as_json` is the other direction.

A data source whose `preprocessing` is such an object returns raw samples, and Overwinter prepares them everywhere. A
source with a mapping, such as ``{"mean": 0.5, "std": 0.25}``, prepares its samples itself, and the mapping says how.

Nothing here imports torch, and pillow and tokenizers only when a sample needs them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from overwinter.lazy_imports import lazily

if TYPE_CHECKING:
    from overwinter.data.preprocessing.image import Image
    from overwinter.data.preprocessing.interface import Preprocessing
    from overwinter.data.preprocessing.normalize import Normalize
    from overwinter.data.preprocessing.reading import as_json, check_preprocessing, read_preprocessing
    from overwinter.data.preprocessing.tokenized_text import TokenizedText

__all__ = [
    "Image",
    "Normalize",
    "Preprocessing",
    "TokenizedText",
    "as_json",
    "check_preprocessing",
    "read_preprocessing",
]

_HOMES = {
    "Image": "image",
    "Normalize": "normalize",
    "Preprocessing": "interface",
    "TokenizedText": "tokenized_text",
    "as_json": "reading",
    "check_preprocessing": "reading",
    "read_preprocessing": "reading",
}

__getattr__ = lazily(__name__, _HOMES)
