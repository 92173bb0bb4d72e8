"""fp8 with activations in fp8: its refusals are tested for real, making it on the CPU by torch's own float8 product."""

import numpy as np
import pytest
import torch

from overwinter import models, quantization, runtime
from overwinter.errors import ConfigError
from overwinter.quantization.torchao_variants import Fp8Dynamic
from tests.support.building import build

without_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")


def able():
    return torch.cuda.is_available() and torch.cuda.get_device_capability() >= (8, 9)


def check(quantize, folder, tmp_path, calibration, device):
    report = quantize("fp8_dynamic", folder, device=device)
    assert report.quantized == ("body",)
    assert report.left_in_float == {"head": "its weight is 3 x 48, and the kernel takes multiples of 16"}
    assert report.agreement > 0.9
    build(tmp_path / "fp8_dynamic", "torch", tmp_path / "built", trusted=["nets_to_quantize"], device=device)
    opened = [
        runtime.open_session(tmp_path / "built", "torch", 1, trusted=["nets_to_quantize"], device=device)
        for _ in range(2)
    ]
    first, second = (session.run(calibration) for session in opened)
    np.testing.assert_array_equal(first, second)
    with torch.inference_mode():
        dense = models.load_model(folder, trusted=["nets_to_quantize"])(torch.from_numpy(calibration)).numpy()
    assert 0 < np.abs(first - dense).max() < 0.1 * np.abs(dense).max()


def test_it_is_made_judged_and_served_where_it_can_be_computed(quantize, save_own, tmp_path, calibration, beside):
    check(quantize, save_own("Wide"), tmp_path, calibration, beside)
    described = models.load_description(tmp_path / "fp8_dynamic")["quantization"]
    assert (described["weights"], described["inputs"]) == ("float8 e4m3 per output row", "bfloat16")


@pytest.mark.skipif(not able(), reason="needs a CUDA device that computes in float8")
def test_a_gpu_makes_and_serves_it(quantize, save_own, tmp_path, calibration):
    check(quantize, save_own("Wide"), tmp_path, calibration, "cuda")


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=without_cuda)])
def test_where_it_cannot_be_computed_it_is_refused_before_work_starts(quantize, save_own, tmp_path, device):
    reason = {"cpu": "it has kernels on GPUs only; set device=cuda", "cuda": "torch can use 0 CUDA devices"}[device]
    with pytest.raises(ConfigError, match=f"names 'fp8_dynamic', which cannot be served on device={device}: {reason}"):
        quantization.check_methods(["int8_static", "fp8_dynamic"], device=device)
    with pytest.raises(ConfigError, match=reason):
        quantize("fp8_dynamic", save_own("Wide"), device=device)
    assert not (tmp_path / "fp8_dynamic").exists()


@pytest.mark.parametrize(("capability", "refused"), [((8, 0), True), ((8, 9), False), ((9, 0), False)])
def test_older_gpus_are_named(monkeypatch, capability, refused):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _device: "NVIDIA A100")
    reason = Fp8Dynamic().device_refusal("cuda:0")
    assert (reason is not None) == refused
    assert reason in (None, "it needs compute capability 8.9 (Ada, Hopper or later), and NVIDIA A100 has 8.0")


def test_a_runtime_on_the_cpu_leaves_it_out_with_a_reason(quantize, save_own, tmp_path, beside, monkeypatch):
    quantize("fp8_dynamic", save_own("Wide"), device=beside)
    description = models.load_description(tmp_path / "fp8_dynamic")
    description["quantization"]["device"] = "cuda"
    monkeypatch.setattr("overwinter.runtime.registry.load_description", lambda _folder: description)
    assert runtime.refusal(tmp_path / "fp8_dynamic", "torch") == "it has kernels on cuda only, and this is for cpu"
