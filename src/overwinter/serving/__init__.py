"""Serving: what a hibernated model is on disk, and how it answers. Needs no torch.

- `Session` is a model that is ready to answer; `OnnxSession` is one on ONNX Runtime. The sessions that are
  evaluated are these very ones, so that what was measured is what will be served.
- `write_bundle` puts everything that a model needs to wake into one folder; `read_bundle` verifies every byte
  of it and returns a `Bundle`.
- `prepare` applies the preprocessing recorded in a bundle to raw inputs.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from overwinter.serving.session import Array, Session, largest_difference

if TYPE_CHECKING:
    from overwinter.serving.bundle import Bundle, Canary, read_bundle, write_bundle
    from overwinter.serving.onnx_session import OnnxSession
    from overwinter.serving.preprocessing import check_preprocessing, prepare

__all__ = [
    "Array",
    "Bundle",
    "Canary",
    "OnnxSession",
    "Session",
    "check_preprocessing",
    "largest_difference",
    "prepare",
    "read_bundle",
    "write_bundle",
]

# Loaded when first used: verifying a bundle needs no ONNX Runtime.
_HOMES = {
    "Bundle": "bundle",
    "Canary": "bundle",
    "OnnxSession": "onnx_session",
    "check_preprocessing": "preprocessing",
    "prepare": "preprocessing",
    "read_bundle": "bundle",
    "write_bundle": "bundle",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'overwinter.serving' has no attribute {name!r}")
    return getattr(importlib.import_module(f"overwinter.serving.{_HOMES[name]}"), name)
