"""Variants as other programs' files: `overwinter export FORMAT SOURCE DIR`.

- `open_source` reads a bundle (verified, with its keys) or a saved model into a `Source`.
- `export` writes it in a format of `overwinter.registries.EXPORT_FORMATS`, reads the files back and compares what they
  predict with the saved model; all or nothing is in the folder afterwards. It returns an `Exported`.
- `ExportFormat` is the interface of formats. `compressed-tensors` is written by `overwinter.formats`, `onnx` and
  `openvino` are what those runtimes' `build` writes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from overwinter.lazy_imports import lazily

if TYPE_CHECKING:
    from overwinter.export.interface import ExportFormat, Reading
    from overwinter.export.source import Source, open_source
    from overwinter.export.writing import Exported, export

__all__ = ["ExportFormat", "Exported", "Reading", "Source", "export", "open_source"]

_HOMES = {
    "ExportFormat": "interface",
    "Exported": "writing",
    "Reading": "interface",
    "Source": "source",
    "export": "writing",
    "open_source": "source",
}

__getattr__ = lazily(__name__, _HOMES)
