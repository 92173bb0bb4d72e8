"""Serving: what a hibernated model is on disk, and how it answers. Needs no torch.

- `Session` is a model that is ready to answer; `OnnxSession` is one on ONNX Runtime. The sessions that are
  evaluated are these very ones, so that what was measured is what will be served.
- `write_bundle` puts everything that a model needs to wake into one folder; `sign_bundle` and `seal_bundle` sign and
  encrypt it. `obtain` finds a bundle by its address, verifies every byte of it and returns a `Bundle`.
- `prepare` applies the preprocessing recorded in a bundle to raw inputs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from overwinter.doors import lazily

if TYPE_CHECKING:
    from overwinter.serving.bundle.facts import Bundle, BundleFacts, Canary
    from overwinter.serving.bundle.keys import Expected, Keys
    from overwinter.serving.bundle.obtaining import obtain
    from overwinter.serving.bundle.reading import read_bundle
    from overwinter.serving.bundle.sealing import open_bundle, seal_bundle
    from overwinter.serving.bundle.signing import sign_bundle
    from overwinter.serving.bundle.writing import write_bundle
    from overwinter.serving.onnx_session import OnnxSession
    from overwinter.serving.openvino_session import OpenVinoSession
    from overwinter.serving.preprocessing import check_preprocessing, prepare
    from overwinter.serving.session import Array, Session, largest_difference

__all__ = [
    "Array",
    "Bundle",
    "BundleFacts",
    "Canary",
    "Expected",
    "Keys",
    "OnnxSession",
    "OpenVinoSession",
    "Session",
    "check_preprocessing",
    "largest_difference",
    "obtain",
    "open_bundle",
    "prepare",
    "read_bundle",
    "seal_bundle",
    "sign_bundle",
    "write_bundle",
]

# Loaded when first used: verifying a bundle needs no ONNX Runtime, and the supervisor of a server no numpy.
_HOMES = {
    "Array": "session",
    "Bundle": "bundle.facts",
    "BundleFacts": "bundle.facts",
    "Canary": "bundle.facts",
    "Expected": "bundle.keys",
    "Keys": "bundle.keys",
    "OnnxSession": "onnx_session",
    "OpenVinoSession": "openvino_session",
    "Session": "session",
    "check_preprocessing": "preprocessing",
    "largest_difference": "session",
    "obtain": "bundle.obtaining",
    "open_bundle": "bundle.sealing",
    "prepare": "preprocessing",
    "read_bundle": "bundle.reading",
    "seal_bundle": "bundle.sealing",
    "sign_bundle": "bundle.signing",
    "write_bundle": "bundle.writing",
}

__getattr__ = lazily(__name__, _HOMES)
