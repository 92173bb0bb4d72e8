"""What the supervisor is reported."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from overwinter.bundle import BundleFacts, Keys
from overwinter.serving import make_plan
from overwinter.serving.plan import parse_plan
from overwinter.signature import Signature

KEYS = Keys(trusted=(Path("a.pub"),), opening=("env:KEY",))


@dataclass(frozen=True, kw_only=True)
class Stub(BundleFacts):
    """What a plan needs of a bundle."""

    source: Path
    digest: str


@pytest.fixture
def bundle(tmp_path):
    return Stub(
        source=tmp_path / "bundle",
        digest="ab" * 32,
        variant="dense",
        runtime="onnxruntime",
        signature=Signature.of_one((1, 8, 8), output=(2,)),
        labels=("a", "b"),
        preprocessing={"raw": {"dtype": "uint8", "shape": [8, 8]}},
        production_energy_j=None,
        lineage={},
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
    bundle = replace(bundle, preprocessing={"raw": {"dtype": "uint8", "shape": None}})
    (only,) = make_plan(service, {"digits": bundle}, keys=KEYS).models[0].metadata["inputs"]
    assert only["name"] == "input"


def test_a_language_model_is_one_and_has_no_tensors(service, bundle):
    assert make_plan(service, {"m": bundle}, keys=KEYS).models[0].kind == "onnxruntime"
    bundle = replace(bundle, task={"name": "language_modeling"}, runtime="torch")
    model = make_plan(service, {"m": bundle}, keys=KEYS).models[0]
    assert model.operations == ("complete", "chat")
    assert (model.kind, model.metadata["inputs"], model.metadata["platform"]) == (
        "language@torch",
        [],
        "overwinter_torch",
    )
