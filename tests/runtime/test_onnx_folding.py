import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from overwinter.models import Grid, IntegerConv2d, replace_layer
from overwinter.runtime import OnnxSession
from overwinter.runtime.onnx_export import export_onnx
from overwinter.runtime.onnx_graph import initializers
from overwinter.runtime.onnx_integer import with_stand_ins
from overwinter.signature import Signature

IMAGES = torch.randn(4, 3, 6, 6, generator=torch.Generator().manual_seed(0))
SIGNATURE = Signature.of_one([3, 6, 6])
# Among the factors of the channels: negative ones, and one of zero.
FACTORS = [1.5, -0.7, 0.0, -2.0, 0.2]


class Twice(nn.Module):
    """One convolution, called before and after a normalisation."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def forward(self, images):
        return self.conv(self.norm(self.conv(images))).flatten(1)


def normalisation(channels):
    made = nn.BatchNorm2d(channels)
    with torch.no_grad():
        made.weight.copy_(torch.tensor(FACTORS[:channels]))
        for values in (made.bias, made.running_mean, made.running_var):
            values.copy_(torch.rand(channels) + 0.5)
    return made


def network(*, bias=True):
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(3, 5, 3, padding=1, bias=bias), normalisation(5), nn.Flatten()).eval()


def integer(model, name, grid, *, lowest=None):
    layer = IntegerConv2d.from_float(model.get_submodule(name), grid, activations="static")
    layer.activation_scale.fill_(0.03)
    layer.activation_zero.fill_(128)
    if lowest is not None:
        layer.codes[lowest] = 0
    replace_layer(model, name, layer)
    return model


def exported(model, tmp_path):
    graph = export_onnx(
        with_stand_ins(model, batch_ranges=False, products=True), IMAGES.numpy(), SIGNATURE, integers=True
    )
    (tmp_path / "model.onnx").write_bytes(graph.SerializeToString())
    return graph.graph, OnnxSession(tmp_path / "model.onnx", threads=1).run(IMAGES.numpy())


def operators(graph):
    return [node.op_type for node in graph.node]


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("bias", [True, False])
def test_factors_of_any_sign_go_into_scales_and_codes(bits, bias, tmp_path, monkeypatch):
    monkeypatch.setattr("overwinter.runtime.onnx_export.products_saturate", lambda: False)  # codes stay signed
    model = integer(network(bias=bias), "0", Grid(bits=bits))
    codes = model[0].get_codes().codes.reshape(5, 3, 3, 3).short() - Grid(bits=bits).middle
    graph, outputs = exported(model, tmp_path)
    with torch.inference_mode():
        np.testing.assert_allclose(outputs, model(IMAGES).numpy(), atol=2e-5)
    assert "BatchNormalization" not in operators(graph)
    stored = next(value for value in initializers(graph).values() if value.dtype == np.int8 and value.ndim == 4)
    signs = np.sign(FACTORS).reshape(-1, 1, 1, 1).astype(np.int8)
    np.testing.assert_array_equal(stored, codes.numpy() * signs)


def test_a_code_without_counterpart_keeps_the_normalisation(tmp_path):
    negative, positive = (integer(network(), "0", Grid(bits=8), lowest=channel) for channel in (1, 0))
    for model, kept in ((negative, True), (positive, False)):
        graph, outputs = exported(model, tmp_path)
        with torch.inference_mode():
            np.testing.assert_allclose(outputs, model(IMAGES).numpy(), rtol=1e-4, atol=2e-5)
        assert ("BatchNormalization" in operators(graph)) == kept


def test_a_convolution_that_is_used_elsewhere_too_is_left_alone(tmp_path):
    torch.manual_seed(2)
    model = integer(Twice().eval(), "conv", Grid(bits=8))
    graph, outputs = exported(model, tmp_path)
    with torch.inference_mode():
        np.testing.assert_allclose(outputs, model(IMAGES).numpy(), atol=2e-5)
    assert "BatchNormalization" in operators(graph)


def averaged(*, static=True):
    """A convolution before a pooled average, as the last of many networks."""
    torch.manual_seed(3)
    model = nn.Sequential(
        nn.Conv2d(3, 5, 3, padding=1),
        nn.BatchNorm2d(5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )
    for _ in range(60):
        model(torch.randn(64, 3, 6, 6))  # the statistics are of inputs like the images
    model.eval()
    if static:
        return integer(model, "0", Grid(bits=8))
    replace_layer(model, "0", IntegerConv2d.from_float(model[0], Grid(bits=8)))
    return model


def test_where_no_grid_follows_one_is_made_of_the_normalisations_deviations(tmp_path):
    model = averaged()
    graph, outputs = exported(model, tmp_path)
    with torch.inference_mode():
        expected = model(IMAGES).numpy()
    np.testing.assert_allclose(outputs, expected, atol=0.02 * expected.max())
    assert operators(graph).count("QuantizeLinear") == 2
    relu = next(node for node in graph.node if node.op_type == "Relu")
    top = 255 * next(value for name, value in initializers(graph).items() if name == f"{relu.output[0]}_scale")
    assert top == pytest.approx(6.0, abs=0.01)  # factors of 1, biases of 0
    optimized = onnxruntime.SessionOptions()
    optimized.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    optimized.log_severity_level = 3
    onnxruntime.InferenceSession(tmp_path / "model.onnx", optimized, providers=["CPUExecutionProvider"])
    assert "QLinearConv" in operators(onnx.load(tmp_path / "optimized.onnx").graph)


def test_no_grid_is_made_where_one_follows_or_the_input_is_on_none(tmp_path):
    graph, _ = exported(averaged(static=False), tmp_path)
    assert "QuantizeLinear" not in operators(graph)
    torch.manual_seed(4)
    model = nn.Sequential(*network()[:2], nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(5, 2, 1), nn.Flatten()).eval()
    graph, _ = exported(integer(integer(model, "0", Grid(bits=8)), "4", Grid(bits=8)), tmp_path)
    assert operators(graph).count("QuantizeLinear") == 2


def test_what_integer_layers_do_not_touch_stays_torchs_business(tmp_path):
    graph, outputs = exported(network(), tmp_path)
    with torch.inference_mode():
        np.testing.assert_allclose(outputs, network()(IMAGES).numpy(), atol=2e-5)
    assert operators(graph).count("Conv") == 1
