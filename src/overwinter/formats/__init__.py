"""Files of other programs, written from a saved language model and read back to be checked.

- `write_compressed_tensors` writes vLLM's folders with integer weights (`compressed_tensors`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from overwinter.lazy_imports import lazily

if TYPE_CHECKING:
    from overwinter.formats.compressed_tensors import read_compressed_tensors, write_compressed_tensors

__all__ = ["read_compressed_tensors", "write_compressed_tensors"]

_HOMES = {
    "read_compressed_tensors": "compressed_tensors",
    "write_compressed_tensors": "compressed_tensors",
}

__getattr__ = lazily(__name__, _HOMES)
