import numpy as np
import pytest
import torch

from overwinter import models, quantization
from overwinter.errors import ConfigError, OverwinterError


def test_an_unknown_method_is_refused_with_the_nearest_name():
    with pytest.raises(ConfigError, match=r"quantize\.methods='int8_statik' is unknown.*Did you mean 'int8_static'"):
        quantization.check_methods(["int8_dynamic", "int8_statik"])


def test_known_methods_pass():
    quantization.check_methods(["int8_static", "int8_dynamic"])


@pytest.mark.parametrize("method", ["int8_static", "int8_dynamic"])
def test_no_calibration_samples_are_refused(quantize, save, convnet, calibration, method):
    with pytest.raises(ConfigError, match="no calibration samples"):
        quantize(method, save(convnet), calibration[:0])


def test_calibration_samples_of_another_shape_are_refused(quantize, save, convnet):
    with pytest.raises(ConfigError, match=r"samples: input: float32 \[4, 1, 9, 9\]; the model takes"):
        quantize("int8_static", save(convnet), np.zeros((4, 1, 9, 9), np.float32))


def test_nan_in_calibration_samples_is_refused(quantize, save, convnet, calibration):
    calibration[3, 0, 0, 0] = np.nan
    with pytest.raises(OverwinterError, match="Calibration samples hold NaN or infinite values in 'input'"):
        quantize("int8_static", save(convnet), calibration)


def test_nan_in_a_weight_is_refused(quantize, save, convnet, monkeypatch):
    folder = save(convnet)
    with torch.no_grad():
        convnet.head.bias[1] = torch.nan
    monkeypatch.setattr("overwinter.quantization.registry.load_model", lambda *_, **__: convnet)
    with pytest.raises(OverwinterError, match=r"tensor head\.bias holds NaN"):
        quantize("int8_static", folder)


def test_an_overflowing_layer_is_named(quantize, save_own):
    with pytest.raises(OverwinterError, match="layer first outputs NaN or infinity"):
        quantize("int8_static", save_own("Overflowing"))


def test_a_pattern_that_fits_no_layer_is_refused(quantize, save, convnet):
    with pytest.raises(ConfigError, match=r"'heads', which fits no layer.*Did you mean 'head'"):
        quantize("int8_static", save(convnet), skip=["heads"])


def test_a_quantized_model_is_not_quantized_again(quantize, save, convnet, tmp_path):
    quantize("int8_static", save(convnet))
    with pytest.raises(ConfigError, match="quantized already"):
        quantize("int8_dynamic", tmp_path / "int8_static")


def test_third_parties_add_quantizers(quantize, save, convnet, monkeypatch):
    report = quantization.QuantizationReport(
        quantized=("head",), left_in_float={}, zeros_before=0, zeros_after=0, size_bytes=1, float_size_bytes=4
    )

    class Own:
        def quantize(self, request):
            models.save_model(
                request.out,
                request.model,
                variant="own",
                model_config=request.description["model"],
                signature=models.signature_of(request.description),
                lineage={},
                quantization={"layers": {}},
            )
            return report

    class Point:
        name = "own"

        def load(self):
            return Own

    monkeypatch.setattr("importlib.metadata.entry_points", lambda group, name="own": [Point()])
    metrics = quantize("own", save(convnet)).to_metrics()
    assert (metrics["size_ratio"], metrics["agreement"]) == (4, 1.0)
