"""A hibernated model on disk: its format, signatures, encryption, storage and wake. Importing it needs no torch.

A bundle (schema 2; 1 is still read) holds the payload, the signature of inputs and outputs, the task, the
preprocessing, the lineage, and a canary: raw samples with their recorded outputs.

- `write_bundle` writes everything that a model needs to wake into one folder (`BundleFacts`, `Canary`); `sign_bundle`
  and `seal_bundle` sign and encrypt it (`sealed`), `protect` does both as configured; `store` keeps versions of it.
- `hibernate` records the model's canary outputs and writes the bundle; `data_digest` and `code_version` add the data
  and the commit to its lineage.
- `load_teacher` makes of a bundle, or of a saved model, the teacher of a training.
- `resolve_bundle` finds a bundle by its address, verifies every byte and returns a `Bundle` whose files are private
  copies of the verified bytes (`private`). `wake` also loads it, runs the canary and refuses to serve if an output
  differs; the `AwakeModel` it returns takes model inputs (``run``) and raw inputs (``predict``).
- `measure_wake` times wakes in fresh processes, from process start to the first correct output.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from overwinter.lazy_imports import lazily

if TYPE_CHECKING:
    from overwinter.bundle.create import hibernate
    from overwinter.bundle.facts import Bundle, BundleFacts, Canary
    from overwinter.bundle.keys import Expected, Keys
    from overwinter.bundle.lineage import code_version, data_digest
    from overwinter.bundle.load import AwakeModel, wake
    from overwinter.bundle.protecting import protect
    from overwinter.bundle.reading import read_bundle
    from overwinter.bundle.resolve import resolve_bundle
    from overwinter.bundle.sealing import open_bundle, seal_bundle
    from overwinter.bundle.signing import sign_bundle
    from overwinter.bundle.teacher import load_teacher
    from overwinter.bundle.wake_times import WakeTimes, measure_wake
    from overwinter.bundle.writing import write_bundle

__all__ = [
    "AwakeModel",
    "Bundle",
    "BundleFacts",
    "Canary",
    "Expected",
    "Keys",
    "WakeTimes",
    "code_version",
    "data_digest",
    "hibernate",
    "load_teacher",
    "measure_wake",
    "open_bundle",
    "protect",
    "read_bundle",
    "resolve_bundle",
    "seal_bundle",
    "sign_bundle",
    "wake",
    "write_bundle",
]

# Loaded on first use: a worker that wakes a model must not spend time importing what puts one to sleep.
_HOMES = {
    "AwakeModel": "load",
    "Bundle": "facts",
    "BundleFacts": "facts",
    "Canary": "facts",
    "Expected": "keys",
    "Keys": "keys",
    "WakeTimes": "wake_times",
    "code_version": "lineage",
    "data_digest": "lineage",
    "hibernate": "create",
    "load_teacher": "teacher",
    "measure_wake": "wake_times",
    "resolve_bundle": "resolve",
    "open_bundle": "sealing",
    "protect": "protecting",
    "read_bundle": "reading",
    "seal_bundle": "sealing",
    "sign_bundle": "signing",
    "wake": "load",
    "write_bundle": "writing",
}

__getattr__ = lazily(__name__, _HOMES)
