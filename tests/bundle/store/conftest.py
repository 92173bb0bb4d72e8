import pytest

from overwinter.bundle.store import Pins, open_store
from tests.support.bundles import two_inputs


@pytest.fixture(autouse=True)
def _own_home(own_home):
    """Isolate every test of a store."""


@pytest.fixture
def make(tmp_path):
    """Write a bundle whose payload holds some bytes."""

    def make(name, content=b"model"):
        return two_inputs(tmp_path / name, content=content, production_energy_j=1.0, lineage={"name": name}).folder

    return make


@pytest.fixture
def pins(tmp_path):
    return Pins(tmp_path / "pins.json")


@pytest.fixture
def store(tmp_path, pins):
    return open_store(str(tmp_path / "store"), pins=pins)


@pytest.fixture
def key_pair(key_pair):
    """A signing key, and the file of its public half."""
    from overwinter.bundle.sealed import load_signing_key

    private, public = key_pair
    return load_signing_key(f"file:{private}"), public
