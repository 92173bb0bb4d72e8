import pytest
import torch

from overwinter import models
from overwinter.errors import ConfigError
from overwinter.models.aware import AwareLayer

CONVNET = {
    "_target_": "overwinter.models.ConvNet",
    "input_shape": [1, 8, 8],
    "classes": 3,
    "channels": [8, 12],
    "pool_after": [1],
}

RECIPES = ["int4_gptq", "int4_hqq", "int4_nearest", "int8_smooth", "int8_weight_only"]


@pytest.mark.parametrize("method", RECIPES)
def test_every_form_answers_like_the_float_model_and_loads_bit_for_bit(
    quantize, save, convnet, tmp_path, calibration, method
):
    report = quantize(method, save(convnet))
    assert report.quantized == ("features.0.0", "features.2.0", "head")
    assert report.size_bytes < report.float_size_bytes
    loaded = models.load_model(tmp_path / method, trusted=[])
    with torch.inference_mode():
        dense, integer = convnet(torch.from_numpy(calibration)), loaded(torch.from_numpy(calibration))
    assert 0 < float((integer - dense).abs().mean()) < 0.1 * float(dense.abs().max())


@pytest.mark.parametrize("method", RECIPES)
def test_zero_weights_stay_zero(quantize, save, sparse_convnet, method):
    before = sum(int((weight == 0).sum()) for weight in models.prunable_weights(sparse_convnet).values())
    report = quantize(method, save(sparse_convnet, form="sparse"))
    assert report.zeros_after >= report.zeros_before == before > 0


def test_what_is_left_in_float_has_its_reason(quantize, save_own):
    report = quantize("int8_weight_only", save_own("Upsampling"), skip=["he*"])
    assert report.left_in_float == {
        "up": "int8_weight_only serves Linear and Conv2d, not ConvTranspose2d",
        "head": "quantize.skip names 'he*'",
    }


def test_untied_layers_are_named(quantize, save_own, tmp_path):
    quantize("int8_weight_only", save_own("Tied"))
    assert models.load_description(tmp_path / "int8_weight_only")["quantization"]["untied"] == ["enter", "leave"]


def test_serving_no_layer_is_refused(quantize, save, convnet):
    with pytest.raises(ConfigError, match="serves none of the model's layers"):
        quantize("int4_gptq", save(convnet), skip=["*"])


def test_a_model_without_trained_grids_is_refused(quantize, save, convnet):
    with pytest.raises(ConfigError, match="qat needs a model trained for its grids"):
        quantize("qat", save(convnet))


def test_trained_grids_give_the_very_answers_of_the_trained_model(quantize, convnet, tmp_path, calibration):
    grid = models.Grid(bits=4)
    codes = grid.nearest(convnet.head.weight.detach())
    with torch.no_grad():
        convnet.head.weight.copy_(grid.decode(codes))
    aware = AwareLayer(
        grid=grid, scale=codes.scale, zero=None, activation_bits=None, activation_scale=None, activation_zero=None
    )
    models.save_model(
        tmp_path / "float",
        convnet,
        form="dense",
        model_config=CONVNET,
        input_shape=[1, 8, 8],
        lineage={},
        quantization_aware={"head": aware.to_json()},
    )
    report = quantize("qat", tmp_path / "float")
    assert report.quantized == ("head",)
    assert report.left_in_float["features.0.0"] == "it was not trained for a grid"
    inputs = torch.from_numpy(calibration)
    with torch.inference_mode():
        assert torch.equal(models.load_model(tmp_path / "qat", trusted=[])(inputs), convnet(inputs))
