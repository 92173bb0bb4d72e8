import numpy as np
import onnx
import pytest

from overwinter import models, runtime
from overwinter.errors import ConfigError
from overwinter.runtime import initializers
from tests.support.building import build


def _outputs(folder, variant_runtime, tmp_path, inputs):
    out = tmp_path / f"built-{folder.name}-{variant_runtime}"
    build(folder, variant_runtime, out, trusted=["nets_to_quantize"])
    return runtime.open_session(out, variant_runtime, 1, trusted=["nets_to_quantize"]).run(inputs)


@pytest.mark.parametrize("method", ["minmax", "percentile", "entropy"])
def test_answers_stay_close_to_the_float_model(quantize, save, convnet, tmp_path, calibration, method, capfd):
    folder = save(convnet)
    report = quantize("int8_static", folder, calibration_method=method)
    assert capfd.readouterr() == ("", "")
    dense = _outputs(folder, "torch", tmp_path, calibration)
    integer = _outputs(tmp_path / "int8_static", "onnxruntime", tmp_path, calibration)
    assert report.quantized == ("features.0.0", "features.2.0", "head")
    assert report.left_in_float == {}
    assert np.abs(integer - dense).mean() < 0.05 * np.abs(dense).max()
    assert np.abs(integer - dense).max() > 0, "an exact match would mean that nothing was quantized"


def test_the_weights_are_integers_per_output_channel(quantize, save, convnet, tmp_path):
    quantize("int8_static", save(convnet))
    constants = initializers(onnx.load(tmp_path / "int8_static" / "model.onnx").graph)
    weights = {name: value for name, value in constants.items() if value.ndim >= 2}
    assert {value.dtype for value in weights.values()} == {np.dtype(np.int8)}
    scales = [value for name, value in constants.items() if "scale" in name and value.shape == (12,)]
    assert scales, "one scale per output channel of the second convolution"


def test_zero_weights_stay_zero(quantize, save, sparse_convnet, tmp_path):
    folder = save(sparse_convnet, variant="sparse")
    report = quantize("int8_static", folder)
    assert report.zeros_before == sum(int((w == 0).sum()) for w in models.prunable_weights(sparse_convnet).values())
    assert report.zeros_after >= report.zeros_before > 0
    assert models.load_description(tmp_path / "int8_static")["sparsity"] >= 0.5


def test_arithmetic_on_inputs_and_outputs_stays_in_floating_point(quantize, save_own, tmp_path, calibration):
    folder = save_own("AroundALevel")
    report = quantize("int8_static", folder)
    assert report.quantized == ("body", "head")
    off = _outputs(tmp_path / "int8_static", "onnxruntime", tmp_path, calibration) - _outputs(
        folder, "torch", tmp_path, calibration
    )
    assert 0 < np.abs(off).max() < 0.1, "340 / 255 is more than one"


def test_skipped_and_unserved_layers_are_listed_with_the_reason(quantize, save_own):
    report = quantize("int8_static", save_own("Upsampling"), skip=["he*"])
    assert report.quantized == ("conv",)
    assert report.left_in_float == {
        "head": "quantize.skip names 'he*'",
        "up": "int8_static serves Conv, Gemm, MatMul, not ConvTranspose",
    }


def test_skipped_layers_keep_their_float_weights(quantize, save, convnet, tmp_path):
    quantize("int8_static", save(convnet), skip=["head"])
    constants = initializers(onnx.load(tmp_path / "int8_static" / "model.onnx").graph)
    np.testing.assert_array_equal(constants["head.weight"], convnet.head.weight.detach().numpy())


def test_serving_no_layer_is_refused(quantize, save, convnet):
    with pytest.raises(ConfigError, match=r"serves none of the model's layers: features\.0\.0: quantize\.skip"):
        quantize("int8_static", save(convnet), skip=["*"])


def test_two_processes_make_the_same_bytes_in_silence(quantize_twice, save, convnet):
    first, second = quantize_twice("int8_static", save(convnet))
    assert set(first) == {"model.json", "model.onnx"}
    assert first == second


def test_reduced_range_keeps_weights_within_seven_bits(quantize, save, convnet, tmp_path, monkeypatch):
    monkeypatch.setattr("overwinter.quantization.int8_static.products_saturate", lambda: True)
    quantize("int8_static", save(convnet))
    constants = initializers(onnx.load(tmp_path / "int8_static" / "model.onnx").graph)
    assert max(np.abs(value.astype(int)).max() for value in constants.values() if value.ndim >= 2) <= 64
    assert models.load_description(tmp_path / "int8_static")["quantization"]["reduce_range"] is True


def test_what_onnx_runtime_cannot_quantize_is_refused_with_its_reason(quantize, save, convnet, monkeypatch):
    def fail(*_arguments, **_options):
        raise ValueError("no such shape\nin the graph")

    monkeypatch.setattr("overwinter.quantization.int8_static.quantize_static", fail)
    with pytest.raises(ConfigError, match="cannot quantize the exported graph: no such shape\nTake int8_static out"):
        quantize("int8_static", save(convnet))


def test_a_transformer_rounds_nothing_but_the_inputs_of_products(quantize, save_own, tmp_path):
    quantize("int8_static", save_own("Loud"))
    graph = onnx.load(tmp_path / "int8_static" / "model.onnx").graph
    rounded = {node.output[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    readers = {node.op_type for node in graph.node if rounded & set(node.input)}
    assert readers <= {"MatMul", "Gemm"}
    assert models.load_description(tmp_path / "int8_static")["quantization"]["outlier_channels"] == {"up": 1}


def test_outlier_channels_cost_no_agreement(quantize, save_own, tmp_path, calibration):
    folder = save_own("Loud")
    quantize("int8_static", folder)
    dense = _outputs(folder, "torch", tmp_path, calibration)
    integer = _outputs(tmp_path / "int8_static", "onnxruntime", tmp_path, calibration)
    assert 0 < np.abs(integer - dense).max() < 0.02 * np.abs(dense).max()
