import dataclasses
import os
import subprocess
import sys

import numpy as np
import pytest

from overwinter import runtime
from overwinter.bundle import BundleFacts, Canary, wake, write_bundle
from overwinter.errors import ConfigError, IntegrityError
from overwinter.signature import Signature

LEAN = """
import sys
from pathlib import Path
from overwinter.bundle import wake
model = wake(Path(sys.argv[1]))
assert model.predict([[0] * 8] * 8)[0]["label"] in "abc"
loaded = {"torch", "sklearn", "onnx", "torchao", "hydra", "omegaconf"} & set(sys.modules)
assert not loaded, loaded
"""


def facts_of(bundle):
    return BundleFacts(**{name: getattr(bundle, name) for name in BundleFacts.__dataclass_fields__})


@pytest.mark.parametrize("name", ["torch", "onnxruntime"])
def test_a_woken_model_answers_as_it_did(hibernate, payloads, name):
    bundle = hibernate(name)
    inputs = np.random.default_rng(1).standard_normal((6, 1, 8, 8)).astype(np.float32)
    expected = runtime.open_session(payloads[name], name, 1).run(inputs)
    np.testing.assert_array_equal(wake(bundle.folder).run(inputs), expected)


def test_raw_inputs_are_preprocessed_and_answers_labelled(hibernate):
    model = wake(hibernate().folder)
    raw = np.random.default_rng(2).integers(0, 17, (5, 8, 8))
    logits = model.run(((raw - 8.0) / 4.0).astype(np.float32)[:, None])
    outputs = model.predict(raw)
    assert [response["label"] for response in outputs] == ["abc"[index] for index in logits.argmax(axis=1)]
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose([response["probability"] for response in outputs], shares.max(axis=1), rtol=1e-5)
    with pytest.raises(ConfigError, match="raw values are between 0 and 16"):
        model.predict(raw + 100)


def test_waking_an_onnx_bundle_imports_no_torch(hibernate):
    command = [sys.executable, "-W", "error", "-c", LEAN, str(hibernate().folder)]
    subprocess.run(command, env={"PYTHONPATH": os.pathsep.join(sys.path)}, check=True)


def test_a_model_that_answers_otherwise_is_not_served(hibernate, payloads):
    """All digests match, so only the canary detects the change."""
    bundle = hibernate()
    folder = bundle.folder.with_name("silently-wrong")
    wrong = Canary(inputs=bundle.canary.inputs, outputs=bundle.canary.outputs + 0.1, tolerance=1e-3)
    write_bundle(folder, payload=payloads["onnxruntime"], facts=facts_of(bundle), canary=wrong)
    with pytest.raises(IntegrityError, match="woke up with other outputs") as caught:
        wake(folder)
    assert caught.value.exit_code == 4


def test_a_canary_that_the_model_cannot_read_is_refused(hibernate, payloads):
    bundle = hibernate()
    folder = bundle.folder.with_name("unreadable")
    canary = Canary(inputs=np.zeros((2, 3), np.float32), outputs=bundle.canary.outputs[:2], tolerance=1e-3)
    facts = dataclasses.replace(facts_of(bundle), signature=Signature.of_one([3]))
    write_bundle(folder, payload=payloads["onnxruntime"], facts=facts, canary=canary)
    with pytest.raises(IntegrityError, match="cannot run its canary"):
        wake(folder)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"runtime": "warp"}, "its runtime 'warp' is unknown"),
        ({"device": "../../x"}, "cannot compute on device=../../x"),
    ],
)
def test_a_runtime_or_device_that_is_not_one_is_the_bundles_fault(hibernate, payloads, changes, expected):
    bundle = hibernate()
    folder = bundle.folder.with_name("elsewhere")
    facts = dataclasses.replace(facts_of(bundle), **changes)
    write_bundle(folder, payload=payloads["onnxruntime"], facts=facts, canary=bundle.canary)
    with pytest.raises(IntegrityError, match=expected) as caught:
        wake(folder)
    assert caught.value.exit_code == 4
    assert str(caught.value).startswith(f"{folder} cannot be loaded")
    assert "evaluate.runtimes" not in str(caught.value)


@pytest.mark.parametrize(
    ("cause", "raised"),
    [(KeyError("x"), IntegrityError), (ImportError("no transformers"), ConfigError)],
    ids=["config", "extra"],
)
def test_a_model_that_does_not_build_is_the_bundles_fault_and_a_missing_package_is_not(
    hibernate, monkeypatch, cause, raised
):
    def fail(*_, **__):
        error = ConfigError("no model of the type 'x'")
        error.__context__ = cause
        raise error

    bundle = hibernate()
    monkeypatch.setattr("overwinter.bundle.load.open_model", fail)
    with pytest.raises(raised, match="no model of the type 'x'") as caught:
        wake(bundle.folder)
    assert type(caught.value) is raised


def test_an_altered_payload_is_refused_before_it_is_loaded(hibernate, monkeypatch):
    bundle = hibernate()
    model = bundle.payload / "model.onnx"
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.write_bytes(content)
    monkeypatch.setattr("overwinter.bundle.load.open_model", lambda *_, **__: pytest.fail("it was loaded"))
    with pytest.raises(IntegrityError, match="altered"):
        wake(bundle.folder)


def test_code_that_is_not_trusted_is_not_run(hibernate, payloads, tmp_path, monkeypatch):
    (tmp_path / "stranger.py").write_text("import torch\nclass Net(torch.nn.Linear):\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    from overwinter import models

    config = {"_target_": "stranger.Net", "in_features": 4, "out_features": 2}
    model = models.build_model(config, trusted=["stranger"]).eval()
    models.save_model(
        tmp_path / "own", model, variant="dense", model_config=config, signature=Signature.of_one([4]), lineage={}
    )
    bundle = hibernate(
        "torch",
        payload=tmp_path / "own",
        canary_inputs=np.zeros((1, 4), np.float32),
        labels=["a", "b"],
        trusted=["stranger"],
    )
    assert wake(bundle.folder, trusted=["stranger"]).run(np.ones((1, 4), np.float32)).shape == (1, 2)
    with pytest.raises(IntegrityError, match=r"names code that is not run: .*'stranger.Net' is not trusted"):
        wake(bundle.folder)
