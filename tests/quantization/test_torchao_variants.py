import numpy as np
import pytest
import torch

from overwinter import models, runtime
from overwinter.errors import ConfigError, IntegrityError
from tests.support.building import build

METHODS = ["int8_dynamic", "fp8_weight_only"]


def _open(tmp_path, method="int8_dynamic"):
    build(tmp_path / method, "torch", tmp_path / "built", trusted=["nets_to_quantize"])
    return runtime.open_session(tmp_path / "built", "torch", 1, trusted=["nets_to_quantize"])


@pytest.mark.parametrize("method", METHODS)
def test_linear_layers_are_quantized_and_convolutions_listed(quantize, save, convnet, tmp_path, calibration, method):
    report = quantize(method, save(convnet))
    assert report.quantized == ("head",)
    assert report.left_in_float == {
        "features.0.0": f"{method} serves Linear, not Conv2d",
        "features.2.0": f"{method} serves Linear, not Conv2d",
    }
    with torch.inference_mode():
        dense = convnet(torch.from_numpy(calibration)).numpy()
    difference = np.abs(_open(tmp_path, method).run(calibration) - dense)
    assert 0 < difference.max() < 0.05 * np.abs(dense).max()


@pytest.mark.parametrize("method", METHODS)
def test_zero_weights_stay_zero(quantize, save, sparse_convnet, method):
    report = quantize(method, save(sparse_convnet, variant="sparse"))
    assert report.zeros_after >= report.zeros_before == int((sparse_convnet.head.weight == 0).sum()) > 0


@pytest.mark.parametrize("method", METHODS)
def test_a_round_trip_is_bit_identical_and_tied_weights_are_named(quantize, save_own, tmp_path, calibration, method):
    quantize(method, save_own("Tied"))
    description = models.load_description(tmp_path / method)
    assert description["quantization"]["untied"] == ["enter", "leave"]
    first, second = (_open(tmp_path, method).run(calibration) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_removed_channels_survive(quantize, save, convnet, tmp_path, calibration):
    """The class builds 12 channels; the saved model has 5 at the head's input."""
    second = convnet.features[2]
    models.replace_tensors(second[0], {"weight": second[0].weight.detach()[:5].clone()})
    norm = {
        name: getattr(second[1], name).detach()[:5].clone()
        for name in ("weight", "bias", "running_mean", "running_var")
    }
    models.replace_tensors(second[1], norm)
    models.replace_tensors(convnet.head, {"weight": convnet.head.weight.detach()[:, :5].clone()})
    quantize("int8_dynamic", save(convnet))
    assert _open(tmp_path).run(calibration).shape == (100, 3)


def test_a_model_without_linear_layers_is_refused(quantize, save_own):
    with pytest.raises(
        ConfigError, match="serves none of the model's layers: conv: int8_dynamic serves Linear, not Conv2d"
    ):
        quantize("int8_dynamic", save_own("ConvolutionsOnly"))


def test_onnxruntime_refuses_the_variant_with_a_reason(quantize, save, convnet, tmp_path):
    quantize("int8_dynamic", save(convnet))
    with pytest.raises(ConfigError, match=r"'onnxruntime' cannot run the variant 'int8_dynamic': .*torchao"):
        build(tmp_path / "int8_dynamic", "onnxruntime", tmp_path / "built", trusted=[])


def test_an_altered_weight_is_refused(quantize, save, convnet, tmp_path):
    quantize("int8_dynamic", save(convnet))
    weights = tmp_path / "int8_dynamic" / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(IntegrityError, match="altered"):
        _open(tmp_path)


def test_what_another_torchao_wrote_is_an_error_for_people(quantize, save, convnet, tmp_path, monkeypatch):
    quantize("int8_dynamic", save(convnet))
    description = models.load_description(tmp_path / "int8_dynamic")
    entry = description["quantization"]["tensors"]["head.weight"]
    entry["_data"]["from_the_future"] = True
    monkeypatch.setattr("overwinter.runtime.torchao_storage.load_description", lambda _folder: description)
    with pytest.raises(IntegrityError, match=r"version of torchao cannot rebuild.*\n.*dvc repro quantize"):
        runtime.load_torchao(tmp_path / "int8_dynamic", trusted=[])


def test_two_processes_make_the_same_bytes_in_silence(quantize_twice, save, convnet):
    first, second = quantize_twice("int8_dynamic", save(convnet))
    assert set(first) == {"model.json", "weights.safetensors"}
    assert first == second


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("method", METHODS)
def test_a_gpu_answers_as_the_cpu_does(quantize, save, convnet, tmp_path, calibration, method):
    quantize(method, save(convnet))
    build(tmp_path / method, "torch", tmp_path / "built", trusted=[], device="cuda")
    here, there = (
        runtime.open_session(tmp_path / "built", "torch", 1, device=device).run(calibration)
        for device in ("cpu", "cuda")
    )
    np.testing.assert_allclose(there, here, atol=0.05 * np.abs(here).max())
