import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from overwinter import models, runtime
from overwinter.errors import ConfigError, OverwinterError
from overwinter.runtime import device, loading
from overwinter.runtime.torch_compile import missing_compiler
from overwinter.runtime.torch_runtime import GpuSession
from overwinter.signature import Signature
from tests.support.building import build, drawn

INPUTS = np.random.default_rng(0).standard_normal((5, 1, 8, 8)).astype(np.float32)
# torch treats it as another device than `cpu`, so the code path of a GPU's outputs really runs.
BESIDE = "cpu:0"
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
without_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")


def test_auto_trains_where_it_can_and_serves_on_the_cpu():
    assert [runtime.serving_device(setting) for setting in ("auto", "cpu", "cuda", "cuda:1")] == [
        "cpu",
        "cpu",
        "cuda",
        "cuda:1",
    ]


def test_a_model_is_quantized_where_it_is_trained_wherever_it_is_served(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert [runtime.computing_device(setting) for setting in ("auto", "cpu", "cuda", "cuda:0")] == [
        "cuda",
        "cpu",
        "cuda",
        "cuda:0",
    ]
    with pytest.raises(ConfigError, match=r"device='cuda:1' cannot quantize: torch can use 1 CUDA devices.*device=cpu"):
        runtime.computing_device("cuda:1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert runtime.computing_device("auto") == "cpu"


def test_memory_that_is_too_small_is_reported_to_be():
    with (
        pytest.raises(
            ConfigError, match=r"fails in quantize\.methods=x on device=cuda: full\nFree .*; or set device=cpu"
        ),
        runtime.on_gpu("quantize.methods=x", "cuda", remedy="set device=cpu"),
    ):
        raise torch.OutOfMemoryError("full\nmore")


@without_cuda
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("torch", "torch can use 0 CUDA devices"),
        ("torch-bf16", "torch can use 0 CUDA devices"),
        ("torch-compile", "torch can use 0 CUDA devices"),
        ("onnxruntime", "no CUDAExecutionProvider; the package onnxruntime-gpu"),
        ("openvino", "it computes on the CPU only"),
    ],
)
def test_what_cannot_compute_on_a_device_is_refused_by_name_with_the_reason_and_a_remedy(saved, tmp_path, name, reason):
    runtime.check_devices([name], "cpu")
    with pytest.raises(ConfigError, match=rf"(?s)evaluate\.runtimes names '{name}'.*device=cuda:0: .*{reason}.*auto"):
        runtime.check_devices([name], "cuda:0")
    with pytest.raises(ConfigError, match=rf"'{name}' cannot compute on device=cuda: .*{reason}"):
        runtime.open_session(saved, name, 1, device="cuda")


@without_cuda
def test_before_training_too_and_before_anything_is_built(saved):
    description = models.load_description(saved)
    model = models.load_model(saved, trusted=[])
    with pytest.raises(ConfigError, match=r"device=cuda: torch can use 0 CUDA devices"):
        runtime.check_runtimes(
            model,
            ["torch"],
            model_config=description["model"],
            examples=drawn([1, 8, 8]),
            trusted=[],
            device="cuda",
        )


def test_a_runtime_of_a_third_party_that_says_nothing_of_devices_computes_on_the_cpu(monkeypatch, tmp_path):
    class Plain:
        def open(self, folder, *, threads, trusted):
            return (folder, threads, trusted)

    monkeypatch.setattr("overwinter.runtime.registry.find_runtime", lambda name: Plain())
    assert runtime.open_session(tmp_path, "plain", 2) == (tmp_path, 2, ())
    with pytest.raises(ConfigError, match="it computes on the CPU only"):
        runtime.open_session(tmp_path, "plain", 2, device="cuda")


def test_a_variant_with_kernels_on_one_kind_of_device_is_refused_elsewhere():
    description = {"quantization": {"device": "cuda"}}
    assert device.variant_refusal(description, "cuda:1") is None
    assert device.variant_refusal(description, "cpu") == "it has kernels on cuda only, and this is for cpu"
    assert device.variant_refusal({"quantization": None}, "cpu") is None


def test_answers_from_another_device_come_back_to_the_host(saved, tmp_path):
    build(saved, "torch", tmp_path / "built", trusted=[], device=BESIDE)
    here = runtime.open_session(tmp_path / "built", "torch", 1).run(INPUTS)
    there = runtime.open_session(tmp_path / "built", "torch", 1, device=BESIDE)
    assert isinstance(there, GpuSession)
    outputs = there.run(INPUTS)
    assert outputs.dtype == np.float32
    np.testing.assert_array_equal(outputs, here)


def test_answers_that_another_device_gives_otherwise_are_refused_when_it_is_built(saved, tmp_path, monkeypatch):
    monkeypatch.setattr(GpuSession, "run", lambda self, inputs: np.ones((len(inputs), 3), np.float32))
    with pytest.raises(OverwinterError, match=rf"On {BESIDE} the outputs differ from the CPU's by .* Set device=auto"):
        build(saved, "torch", tmp_path / "built", trusted=[], device=BESIDE)


def test_a_model_that_fails_on_another_device_only_is_reported_why(saved, tmp_path, monkeypatch):
    def fail(self, inputs):
        raise RuntimeError("Expected all tensors to be on the same device\nand more")

    monkeypatch.setattr(GpuSession, "run", fail)
    with pytest.raises(
        ConfigError, match=rf"(?s)'torch' on device={BESIDE}: Expected all tensors .*same device\n.*auto"
    ):
        build(saved, "torch", tmp_path / "built", trusted=[], device=BESIDE)


def test_loading_is_measured_on_the_device(saved, tmp_path, capsys):
    build(saved, "torch", tmp_path / "built", trusted=[])
    save_file({"input": INPUTS}, tmp_path / "inputs.safetensors")
    inputs = str(tmp_path / "inputs.safetensors")
    loading.load_and_report(str(tmp_path / "built"), "torch", "1", BESIDE, "open_session", inputs)
    output = json.loads(capsys.readouterr().out)
    assert output["load_s"] > 0
    assert output["peak_gpu_memory_bytes"] is None  # no GPU was used


def test_the_peak_of_a_gpus_memory_is_torchs_own(monkeypatch):
    cuda = SimpleNamespace(is_initialized=lambda: True, max_memory_allocated=lambda device: {"cuda:1": 123.0}[device])
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    assert loading._peak_gpu_bytes("cuda:1") == 123
    assert loading._peak_gpu_bytes("cpu") is None


def test_a_compiled_module_is_checked_and_opened_on_the_device(saved, tmp_path, monkeypatch):
    asked = []

    def compiled(model, example, _signature, device):
        asked.append((list(example.shape[1:]), device, next(model.parameters()).device.type))
        return model

    monkeypatch.setattr("overwinter.runtime.torch_compile._compiled", compiled)
    monkeypatch.setattr("overwinter.runtime.torch_compile.missing_compiler", lambda: None)
    build(saved, "torch-compile", tmp_path / "built", trusted=[], device=BESIDE)
    there = runtime.open_session(tmp_path / "built", "torch-compile", 1, device=BESIDE)
    assert isinstance(there, GpuSession)
    assert asked == [([1, 8, 8], BESIDE, "cpu")] * 2


@needs_cuda
@pytest.mark.parametrize("name", ["torch", "torch-compile"])
def test_a_gpu_answers_as_the_cpu_does(saved, tmp_path, name):
    if name == "torch-compile" and (reason := missing_compiler()):
        pytest.skip(reason)
    build(saved, name, tmp_path / "built", trusted=[], device="cuda")
    here = runtime.open_session(tmp_path / "built", "torch", 1).run(INPUTS)
    there = runtime.open_session(tmp_path / "built", name, 1, device="cuda").run(INPUTS)
    np.testing.assert_allclose(there, here, atol=0.01 * np.abs(here).max())
    ready = runtime.measure_loading(tmp_path / "built", name, INPUTS, threads=1, trusted=[], device="cuda")
    assert 0 < ready.peak_gpu_memory_bytes < 1e9


@needs_cuda
@pytest.mark.parametrize("activations", [None, "dynamic"])
def test_a_gpu_computes_integer_layers(saved, tmp_path, activations):
    described, model = models.load_description(saved), models.load_model(saved, trusted=[])
    for name, layer in list(model.named_modules()):
        if (variant := models.integer_type(layer)) is not None:
            integer = variant.from_float(layer, models.Grid(bits=8), activations=activations)
            models.replace_layer(model, name, integer)
    models.save_model(
        tmp_path / "int8",
        model,
        variant="int8",
        model_config=described["model"],
        signature=Signature.of_one([1, 8, 8]),
        lineage={},
    )
    build(tmp_path / "int8", "torch", tmp_path / "built", trusted=[], device="cuda")
    here, there = (
        runtime.open_session(tmp_path / "built", "torch", 1, device=device).run(INPUTS) for device in ("cpu", "cuda")
    )
    np.testing.assert_allclose(there, here, atol=0.05 * np.abs(here).max())
