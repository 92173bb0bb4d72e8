"""The stage program's choice of runtimes. It is loaded from its file, because stages are not a package."""

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from overwinter import models
from overwinter.errors import ConfigError
from overwinter.signature import Signature
from tests.support.building import drawn

PROGRAM = Path(__file__).parents[2] / "stages" / "evaluate.py"
CONFIG = {"_target_": "overwinter.models.ConvNet", "input_shape": [1, 8, 8], "classes": 3, "channels": [4, 6]}
INPUTS = np.random.default_rng(0).standard_normal((8, 1, 8, 8)).astype(np.float32)


@pytest.fixture(scope="module")
def program():
    spec = importlib.util.spec_from_file_location("evaluate_stage", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def outputs(tmp_path):
    torch.manual_seed(0)
    model = models.build_model(CONFIG, trusted=[]).eval()
    folders = {name: tmp_path / name for name in ("train", "sparsify", "quantize")}

    def save(folder, variant):
        models.save_model(
            folder, model, variant=variant, model_config=CONFIG, signature=Signature.of_one([1, 8, 8]), lineage={}
        )

    save(folders["train"], "dense")
    save(folders["sparsify"], "dense")
    folders["quantize"].mkdir()
    grid = models.Grid(bits=8)
    models.replace_layer(model, "head", models.IntegerLinear.from_float(model.head, grid))
    save(folders["quantize"] / "int8_weight_only", "int8_weight_only")
    models.write_variants(folders["quantize"], ["int8_weight_only"])
    return folders


def stage(outputs, messages, runtimes, device="auto"):
    evaluate = SimpleNamespace(runtimes=runtimes, threads=1, batch_sizes=[1, 4], measure_loading=False)
    config = SimpleNamespace(evaluate=evaluate, trusted_targets=[], device=device, seed=0)
    return SimpleNamespace(config=config, variants=lambda: models.find_variants(outputs), log=messages.append)


def test_every_variant_takes_part_on_every_runtime_that_runs_it(program, outputs, tmp_path):
    messages = []
    made = stage(outputs, messages, ["torch", "onnxruntime"])
    built = program.build(made, made.variants(), drawn([1, 8, 8]), tmp_path / "scratch")
    assert list(built) == [
        "dense@torch",
        "dense@onnxruntime",
        "int8_weight_only@torch",
        "int8_weight_only@onnxruntime",
    ], "and a sparsify stage that removed nothing adds no variant"
    responses = [each.run(INPUTS) for each in program.open_sessions(made, built).values()]
    np.testing.assert_allclose(responses[1], responses[0], atol=1e-4)
    assert messages == []


def test_a_variant_that_no_runtime_runs_is_named_with_the_reason(program, outputs, tmp_path, monkeypatch):
    refused = lambda folder, *_: "it is a riddle" if folder.name.startswith("int8") else None  # noqa: E731
    monkeypatch.setattr(program.ow.runtime, "refusal", refused)
    messages = []
    made = stage(outputs, messages, ["onnxruntime"])
    assert list(program.build(made, made.variants(), drawn([1, 8, 8]), tmp_path / "scratch")) == ["dense@onnxruntime"]
    why = "no runtime in evaluate.runtimes supports it (onnxruntime: it is a riddle)"
    assert messages == [f"int8_weight_only is left out: {why}"]


def test_a_runtime_that_runs_no_variant_is_named_with_the_reason(program, outputs, monkeypatch):
    refused = lambda _, runtime, *__: "it is not installed" if runtime == "openvino" else None  # noqa: E731
    monkeypatch.setattr(program.ow.runtime, "refusal", refused)
    messages = []
    made = stage(outputs, messages, ["torch", "openvino"])
    assert list(program.supported(made, made.variants())) == ["dense@torch", "int8_weight_only@torch"]
    assert messages == ["openvino is left out: it is not installed"]


def test_variants_are_built_and_opened_on_the_device_that_is_named(program, outputs, tmp_path):
    """torch treats `cpu:0` as another device than `cpu`, like a GPU."""
    named = stage(outputs, [], ["torch"], device="cpu:0")
    built = program.build(named, named.variants(), drawn([1, 8, 8]), tmp_path / "scratch")
    assert {type(each).__name__ for each in program.open_sessions(named, built).values()} == {"GpuSession"}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_a_runtime_cannot_use_is_refused_before_anything_is_loaded(program, outputs):
    with pytest.raises(ConfigError, match=r"evaluate\.runtimes names 'torch', which cannot compute on device=cuda"):
        program.main(stage(outputs, [], ["torch"], device="cuda"))
