import numpy as np
import pytest

from overwinter.bundle import BundleFacts, Canary, write_bundle
from overwinter.signature import Signature

CANARY = Canary(
    inputs=np.arange(8, dtype=np.float32).reshape(2, 1, 2, 2),
    outputs=np.array([[1, 2], [3, 4]], np.float32),
    tolerance=1e-3,
)
FACTS = {
    "variant": "int8_static",
    "runtime": "onnxruntime",
    "signature": Signature.of_one([1, 2, 2]),
    "labels": ("no", "yes"),
    "preprocessing": {"mean": 0.5, "std": 0.25},
    "production_energy_j": 12.5,
    "lineage": {"stage": "hibernate", "inputs": {"train/model": "abc", "evaluate/chosen.json": "def"}},
}


@pytest.fixture(scope="session")
def canary():
    return CANARY


@pytest.fixture(scope="session")
def payload(tmp_path_factory):
    folder = tmp_path_factory.mktemp("payload")
    (folder / "model.onnx").write_bytes(bytes(range(256)))
    (folder / "more").mkdir()
    (folder / "more" / "table.json").write_text("{}")
    return folder


@pytest.fixture(scope="session")
def write(payload):
    def write(folder, *, payload=payload, extras=None, **changes):
        return write_bundle(folder, payload=payload, facts=BundleFacts(**FACTS | changes), canary=CANARY, extras=extras)

    return write


@pytest.fixture(scope="session")
def whole(tmp_path_factory, write):
    """A bundle that tests damage and repair."""
    folder = tmp_path_factory.mktemp("bundles") / "bundle"
    write(folder)
    return folder


@pytest.fixture(scope="session")
def secret(tmp_path_factory):
    """The source of a wrapping key."""
    path = tmp_path_factory.mktemp("secrets") / "secret"
    path.write_text("ab" * 32)
    path.chmod(0o600)
    return f"file:{path}"


@pytest.fixture
def signed(tmp_path, write, key_pair):
    from overwinter.bundle import sign_bundle
    from overwinter.bundle.sealed import load_signing_key

    folder = tmp_path / "signed"
    write(folder)
    sign_bundle(folder, load_signing_key(f"file:{key_pair[0]}"))
    return folder
