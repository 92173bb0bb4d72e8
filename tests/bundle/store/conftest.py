import numpy as np
import pytest

from overwinter.bundle import BundleFacts, Canary, write_bundle
from overwinter.bundle.store import Pins, open_store

CANARY = Canary(inputs=np.zeros((1, 2), np.float32), answers=np.ones((1, 2), np.float32), tolerance=1e-3)


@pytest.fixture(autouse=True)
def _own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def make(tmp_path):
    """Write a bundle whose payload holds some bytes."""

    def make(name, content=b"model"):
        (tmp_path / f"{name}.payload").mkdir()
        (tmp_path / f"{name}.payload" / "model.onnx").write_bytes(content)
        facts = BundleFacts(
            form="dense",
            runtime="onnxruntime",
            input_shape=(2,),
            labels=("no", "yes"),
            preprocessing={},
            production_energy_j=1.0,
            lineage={"name": name},
        )
        return write_bundle(tmp_path / name, payload=tmp_path / f"{name}.payload", facts=facts, canary=CANARY).folder

    return make


@pytest.fixture
def pins(tmp_path):
    return Pins(tmp_path / "pins.json")


@pytest.fixture
def store(tmp_path, pins):
    return open_store(str(tmp_path / "store"), pins=pins)


@pytest.fixture
def key_pair(tmp_path):
    from overwinter.bundle.sealed import create_signing_key, load_signing_key

    create_signing_key(tmp_path / "maker.key", tmp_path / "maker.pub")
    return load_signing_key(f"file:{tmp_path / 'maker.key'}"), tmp_path / "maker.pub"
