"""Files of other programs, written from a saved language model and read back to be checked.

- `write_compressed_tensors` writes vLLM's folders with integer weights (`compressed_tensors`).
- `write_gguf` writes a GGUF file, for llama.cpp, openvino-genai and what builds on them. Integer layers keep their
  codes; what GGUF has no block for becomes float16. `gguf_refusal` says without torch which models cannot become one.
  `write_skeleton` writes one without weights, from which another program makes its graph.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from overwinter.lazy_imports import lazily

if TYPE_CHECKING:
    from overwinter.formats.compressed_tensors import read_compressed_tensors, write_compressed_tensors
    from overwinter.formats.gguf_families import gguf_refusal
    from overwinter.formats.gguf_skeleton import Marked, write_skeleton
    from overwinter.formats.gguf_writing import write_gguf

__all__ = [
    "Marked",
    "gguf_refusal",
    "read_compressed_tensors",
    "write_compressed_tensors",
    "write_gguf",
    "write_skeleton",
]

_HOMES = {
    "Marked": "gguf_skeleton",
    "gguf_refusal": "gguf_families",
    "read_compressed_tensors": "compressed_tensors",
    "write_compressed_tensors": "compressed_tensors",
    "write_gguf": "gguf_writing",
    "write_skeleton": "gguf_skeleton",
}

__getattr__ = lazily(__name__, _HOMES)
