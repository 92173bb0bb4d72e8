"""A bundle is replaced while it wakes: only verified bytes are loaded, or nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import TensorProto, external_data_helper, helper, numpy_helper

from overwinter import models
from overwinter.bundle import BundleFacts, Canary, wake, write_bundle
from overwinter.bundle import load as waking
from overwinter.errors import IntegrityError
from overwinter.runtime.torch_compile import missing_compiler
from overwinter.signature import Signature
from tests.support.building import build

SHAPE = (64,)
INPUTS = np.linspace(-1, 1, 2 * 64, dtype=np.float32).reshape(2, 64)
WEIGHTS = {name: np.random.default_rng(seed).standard_normal((64, 3)).astype("f4") for seed, name in enumerate("ab")}
LINEAR = {"_target_": "torch.nn.Linear", "in_features": 64, "out_features": 3, "bias": False}
KINDS = (
    "onnxruntime",
    "onnxruntime, external",
    "openvino",
    "openvino, external",
    "torch",
    pytest.param(
        "torch-compile", marks=[pytest.mark.slow, pytest.mark.filterwarnings("ignore:`torch.jit.script_method`")]
    ),
)


def _graph(weights):
    tensor = numpy_helper.from_array(weights, "w")
    inputs, outputs = (
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", size])]
        for name, size in (("input", 64), ("output", 3))
    )
    graph = helper.make_graph([helper.make_node("MatMul", ["input", "w"], ["output"])], "g", inputs, outputs, [tensor])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _payload(folder: Path, kind: str, weights) -> Path:
    folder.mkdir()
    if kind.startswith("torch"):
        module = torch.nn.Linear(64, 3, bias=False).eval()
        module.weight.data = torch.from_numpy(weights.T.copy())
        models.save_model(
            folder / "s", module, variant="dense", model_config=LINEAR, signature=Signature.of_one(SHAPE), lineage={}
        )
        build(folder / "s", kind, folder / "payload", trusted=[])
        return folder / "payload"
    graph = _graph(weights)
    if "external" in kind:
        (folder / "sub").mkdir()
        external_data_helper.set_external_data(
            graph.graph.initializer[0], "sub/w.data", offset=0, length=weights.nbytes
        )
        graph.graph.initializer[0].ClearField("raw_data")
        (folder / "sub" / "w.data").write_bytes(weights.tobytes())
    (folder / "model.onnx").write_bytes(graph.SerializeToString())
    return folder


def _bundle(folder: Path, kind: str, name: str) -> Path:
    folder.mkdir()
    facts = BundleFacts(
        variant="dense",
        runtime=kind.partition(",")[0],
        signature=Signature.of_one(SHAPE),
        labels=("x", "y", "z"),
        preprocessing={},
        production_energy_j=None,
        lineage={"name": name},
    )
    canary = Canary(inputs=INPUTS, outputs=INPUTS @ WEIGHTS[name], tolerance=1e-2)
    payload = _payload(folder / "made", kind, WEIGHTS[name])
    write_bundle(folder / "bundle", payload=payload, facts=facts, canary=canary)
    return folder / "bundle"


@pytest.fixture(params=KINDS)
def both(request, tmp_path):
    """A good bundle, and another one of the same kind with the good one's canary."""
    if request.param.startswith("openvino"):
        pytest.importorskip("openvino")
    if request.param == "torch-compile" and missing_compiler():
        pytest.skip("needs a C++ compiler")
    good, evil = (_bundle(tmp_path / name, request.param, name) for name in "ab")
    shutil.copyfile(good / "canary.safetensors", evil / "canary.safetensors")
    return good, evil


def _rename(good: Path, evil: Path) -> None:
    for source in _files(evil):
        shutil.copyfile(evil / source, good.parent / "aside")
        (good.parent / "aside").replace(good / source)


def _rewrite(good: Path, evil: Path) -> None:
    for source in _files(evil):
        with (good / source).open("r+b") as stream:
            stream.write((evil / source).read_bytes())


def _truncate(good: Path, evil: Path) -> None:
    for name in _files(evil):
        os.truncate(good / name, 0)


def _link(good: Path, evil: Path) -> None:
    good.rename(good.parent / "moved")
    good.symlink_to(evil)


def _files(bundle: Path) -> list[Path]:
    return [path.relative_to(bundle) for path in bundle.rglob("*") if path.is_file()]


@pytest.mark.parametrize("exchange", [_rename, _rewrite, _truncate, _link])
def test_what_was_verified_is_what_answers(both, exchange, monkeypatch):
    good, evil = both
    real = waking.open_model

    def opened(payload, *arguments, **settings):
        exchange(good, evil)
        return real(payload, *arguments, **settings)

    monkeypatch.setattr(waking, "open_model", opened)
    monkeypatch.setattr(waking, "_check_canary", lambda *_: None)  # a model with a back door passes it
    model = wake(good)
    np.testing.assert_allclose(model.run(INPUTS), INPUTS @ WEIGHTS["a"], rtol=1e-3, atol=1e-3)


def test_a_woken_model_holds_its_weights_once(both):
    good, _ = both
    model = wake(good)
    assert not any(path.is_file() for path in model.bundle.payload.rglob("*"))
    assert model.run(INPUTS).shape == (2, 3)


SWAPPER = """
import os, sys, time
good, evil, staging = sys.argv[1:4]
texts = [open(path, "rb").read() for path in (good, evil)]
until_s = time.time() + 2
while time.time() < until_s:
    for text in texts:
        with open(good, "r+b") as stream:
            stream.write(text)
    open(staging, "wb").write(texts[1])
    os.replace(staging, good)
    os.truncate(good, len(texts[0]) // 2)
"""


@pytest.mark.parametrize("both", ["onnxruntime, external", "torch"], indirect=True)
def test_a_race_is_won_or_refused(both, monkeypatch):
    good, evil = both
    monkeypatch.setattr(waking, "_check_canary", lambda *_: None)
    name = next(
        name for name in _files(good) if name.suffix in (".data", ".safetensors") and name.parts[0] == "payload"
    )
    words = [str(path) for path in (good / name, evil / name, good.parent / "aside")]
    with subprocess.Popen([sys.executable, "-I", "-c", SWAPPER, *words]) as swapper:
        outcomes = []
        while swapper.poll() is None:
            try:
                outputs = wake(good).run(INPUTS)
            except IntegrityError:
                outcomes.append("refused")
            else:
                outcomes.append("awake")
                np.testing.assert_allclose(outputs, INPUTS @ WEIGHTS["a"], rtol=1e-3, atol=1e-3)
    assert swapper.returncode == 0
    assert "refused" in outcomes
