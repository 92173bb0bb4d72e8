import numpy as np
import pytest

from overwinter.errors import ConfigError, OverwinterError


def test_the_canarys_answers_are_the_models(hibernate, payloads):
    from overwinter import runtime

    bundle = hibernate()
    expected = runtime.open_session(payloads["onnxruntime"], "onnxruntime", 1).run(bundle.canary.inputs)
    np.testing.assert_array_equal(bundle.canary.answers, expected)


def test_a_bundle_needs_a_canary(hibernate):
    with pytest.raises(ConfigError, match=r"hibernate.canary_samples"):
        hibernate(canary_inputs=np.zeros((0, 1, 8, 8), np.float32))


def test_a_preprocessing_that_no_bundle_can_apply_is_refused(hibernate):
    with pytest.raises(ConfigError, match=r"preprocessing.formula"):
        hibernate(preprocessing={"formula": "fft(raw)"})


def test_a_model_that_answers_nan_is_not_put_to_sleep(hibernate):
    with pytest.raises(OverwinterError, match="NaN or infinity"):
        hibernate(canary_inputs=np.full((1, 1, 8, 8), np.nan, np.float32))
