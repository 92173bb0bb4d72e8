"""What the supervisor is reported."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from overwinter.bundle import Keys
from overwinter.serving import make_plan
from overwinter.serving.plan import parse_plan
from overwinter.signature import Signature

KEYS = Keys(trusted=(Path("a.pub"),), opening=("env:KEY",))


@pytest.fixture
def bundle(tmp_path):
    return SimpleNamespace(
        source=tmp_path / "bundle",
        digest="ab" * 32,
        runtime="onnxruntime",
        signature=Signature.of_one((1, 8, 8)),
        labels=("a", "b"),
        preprocessing={"raw": {"dtype": "uint8", "shape": [8, 8]}},
        tokenizer=None,
    )


def test_a_plan_survives_being_text(service, bundle):
    plan = make_plan(service, {"digits": bundle}, keys=KEYS)
    parsed = parse_plan(plan.to_json())
    assert parsed.models == plan.models
    assert parsed.models[0].bundle == str(bundle.source)
    assert parsed.serve.limits.body_bytes == service.serve.limits.body_bytes
    assert parsed.serve.sleep.levels == ["parked", "preforked", "off"]
    assert (parsed.opening, parsed.keys) == (("env:KEY",), (str(Path("a.pub").resolve()),))


def test_the_metadata_says_what_can_be_asked(service, bundle):
    metadata = make_plan(service, {"digits": bundle}, keys=KEYS).models[0].metadata
    assert metadata["inputs"] == [
        {"name": "input", "datatype": "FP32", "shape": [-1, 1, 8, 8]},
        {"name": "raw", "datatype": "UINT8", "shape": [-1, 8, 8]},
    ]
    assert metadata["outputs"][0] == {"name": "logits", "datatype": "FP32", "shape": [-1, 2]}
    assert metadata["versions"] == ["abababababab"]


def test_raw_inputs_without_a_shape_cannot_be_asked_for(service, bundle):
    bundle.preprocessing = {"raw": {"dtype": "uint8", "shape": None}}
    (only,) = make_plan(service, {"digits": bundle}, keys=KEYS).models[0].metadata["inputs"]
    assert only["name"] == "input"


def test_a_language_model_is_one_and_has_no_tensors(service, bundle):
    assert make_plan(service, {"m": bundle}, keys=KEYS).models[0].kind == "onnxruntime"
    bundle.tokenizer, bundle.runtime = Path("tokenizer"), "torch"
    model = make_plan(service, {"m": bundle}, keys=KEYS).models[0]
    assert (model.kind, model.metadata["inputs"], model.metadata["platform"]) == ("language", [], "overwinter_torch")
