"""What the supervisor is told."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from overwinter.errors import ConfigError
from overwinter.serving import Keys
from overwinter.serving.server import make_plan
from overwinter.serving.server.plan import parse_plan
from overwinter.serving.server.supervisor import read_token

KEYS = Keys(trusted=(Path("a.pub"),), opening=("env:KEY",))


@pytest.fixture
def bundle(tmp_path):
    return SimpleNamespace(
        folder=tmp_path / "bundle",
        digest="ab" * 32,
        runtime="onnxruntime",
        input_shape=(1, 8, 8),
        labels=("a", "b"),
        preprocessing={"raw": {"dtype": "uint8", "shape": [8, 8]}},
    )


def test_a_plan_survives_being_text(service, bundle):
    plan = make_plan(service, {"digits": ("some/bundle", bundle)}, keys=KEYS)
    parsed = parse_plan(plan.to_json())
    assert parsed.models == plan.models
    assert parsed.serve.limits.body_bytes == service.serve.limits.body_bytes
    assert parsed.serve.sleep.rungs == ["parked", "preforked", "off"]
    assert (parsed.opening, parsed.keys) == (("env:KEY",), (str(Path("a.pub").resolve()),))


def test_the_metadata_says_what_can_be_asked(service, bundle):
    metadata = make_plan(service, {"digits": ("some/bundle", bundle)}, keys=KEYS).models[0].metadata
    assert metadata["inputs"] == [
        {"name": "input", "datatype": "FP32", "shape": [-1, 1, 8, 8]},
        {"name": "raw", "datatype": "UINT8", "shape": [-1, 8, 8]},
    ]
    assert metadata["outputs"][0] == {"name": "logits", "datatype": "FP32", "shape": [-1, 2]}
    assert metadata["versions"] == ["abababababab"]


@pytest.mark.parametrize(
    ("mode", "content", "message"), [(0o640, b"x" * 32, "chmod 600"), (0o600, b"short", "5 bytes")]
)
def test_a_token_that_is_no_secret_is_refused(tmp_path, mode, content, message):
    file = tmp_path / "token"
    file.write_bytes(content)
    file.chmod(mode)
    with pytest.raises(ConfigError, match=message):
        read_token(str(file))


def test_a_token_is_read_without_its_line_end(tmp_path):
    file = tmp_path / "token"
    file.write_bytes(b"0123456789abcdef\n")
    file.chmod(0o600)
    assert read_token(str(file)) == b"0123456789abcdef"
    assert read_token(None) is None
