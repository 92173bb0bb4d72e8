"""Bundles whose payload is no model, and the keys that sign and seal them."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from overwinter.bundle import Bundle, BundleFacts, Canary, write_bundle
from overwinter.signature import Signature

READ = SimpleNamespace(
    digest="cd" * 32,
    runtime="onnxruntime",
    generates=False,
    preprocessing={},
    device=None,
    size_bytes=1 << 20,
)
"""What deploy asks of a bundle that was read."""


def two_inputs(folder: Path, *, content: bytes = b"model", outputs: float = 1.0, **changes: Any) -> Bundle:
    """Write a bundle of two inputs and two answers, its payload in a folder beside it."""
    payload = folder.with_name(f"{folder.name}.payload")
    payload.mkdir()
    (payload / "model.onnx").write_bytes(content)
    facts = {
        "variant": "dense",
        "runtime": "onnxruntime",
        "signature": Signature.of_one([2]),
        "labels": ("no", "yes"),
        "preprocessing": {},
        "production_energy_j": None,
        "lineage": {},
    }
    canary = Canary(inputs=np.ones((1, 2), np.float32), outputs=np.full((1, 2), outputs, np.float32), tolerance=1e-3)
    return write_bundle(folder, payload=payload, facts=BundleFacts(**facts | changes), canary=canary)


@pytest.fixture
def own_home(tmp_path, monkeypatch):
    """What the commands remember and keep stays in the test's folder."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def key_pair(tmp_path_factory) -> tuple[Path, Path]:
    """A signing key and its public half, as files."""
    from overwinter.bundle.sealed import create_signing_key

    folder = tmp_path_factory.mktemp("keys")
    create_signing_key(folder / "maker.key", folder / "maker.pub")
    return folder / "maker.key", folder / "maker.pub"
