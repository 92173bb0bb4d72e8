import numpy as np
import pytest
import torch

from overwinter.bundle import wake
from overwinter.errors import ConfigError, OverwinterError
from overwinter.files import read_json


def test_the_canarys_answers_are_the_models(hibernate, payloads):
    from overwinter import runtime

    bundle = hibernate()
    expected = runtime.open_session(payloads["onnxruntime"], "onnxruntime", 1).run(bundle.canary.inputs)
    np.testing.assert_array_equal(bundle.canary.outputs, expected)
    assert "device" not in read_json(bundle.source / "bundle.json", remedy="")  # which is the CPU


def test_a_bundle_needs_a_canary(hibernate):
    with pytest.raises(ConfigError, match=r"hibernate.canary_samples"):
        hibernate(canary_inputs=np.zeros((0, 1, 8, 8), np.float32))


def test_a_preprocessing_that_no_bundle_can_apply_is_refused(hibernate):
    with pytest.raises(ConfigError, match=r"preprocessing.formula"):
        hibernate(preprocessing={"formula": "fft(raw)"})


def test_a_model_that_answers_nan_is_not_put_to_sleep(hibernate):
    with pytest.raises(OverwinterError, match="NaN or infinity"):
        hibernate(canary_inputs=np.full((1, 1, 8, 8), np.nan, np.float32))


def test_a_bundle_answers_on_the_device_that_it_names(hibernate):
    """torch treats `cpu:0` as another device than `cpu`, like a GPU."""
    bundle = hibernate("torch", device="cpu:0")
    assert read_json(bundle.source / "bundle.json", remedy="")["device"] == bundle.device == "cpu:0"
    model = wake(bundle.source)
    assert type(model.session).__name__ == "GpuSession"
    np.testing.assert_array_equal(model.run(bundle.canary.inputs), bundle.canary.outputs)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_named(hibernate):
    with pytest.raises(ConfigError, match="'torch' cannot compute on device=cuda: torch can use 0 CUDA devices"):
        hibernate("torch", device="cuda")
