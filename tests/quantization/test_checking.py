import dataclasses

import numpy as np
import pytest
import torch

from overwinter import quantization
from overwinter.errors import ConfigError
from overwinter.quantization.checking import _batch_size
from overwinter.quantization.settings import GridConfig, ScaleDistillationConfig
from tests.support.decoders import decoder
from tests.support.settings import quantize_settings

HEAD = {"head": GridConfig(bits=8, group_size=None, symmetric=True)}
STEPS = ScaleDistillationConfig(steps=1, learning_rate=0.001, batch_size=4, zeros=False)


@pytest.mark.parametrize("method", ["int8_dynamic", "int8_static"])
@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("overrides", {"overrides": HEAD}),
        (r"scale_distillation\.steps", {"scale_distillation": STEPS}),
        ("sensitivity_samples", {"sensitivity_samples": 1}),
    ],
)
def test_settings_of_integer_layers_are_refused_elsewhere(quantize, save, convnet, method, key, change):
    with pytest.raises(ConfigError, match=f"quantize.{key} is for variants of integer layers.*not for {method}"):
        quantize(method, save(convnet), **change)


@pytest.mark.parametrize(
    ("key", "change"), [("skip", {"skip": ["nothing.*"]}), ("overrides", {"overrides": {"nothing.*": HEAD["head"]}})]
)
def test_patterns_that_fit_no_layer_are_found_before_training(convnet, key, change):
    quantization.check_layer_names(
        convnet, quantize_settings("int4_nearest", skip=["head"], overrides={"features.*": HEAD})
    )
    with pytest.raises(ConfigError, match=rf"quantize\.{key} names 'nothing\.\*', which fits no layer. Layers: feat"):
        quantization.check_layer_names(convnet, quantize_settings("int4_nearest", **change))


def test_a_graph_without_a_cache_is_nothing_for_models_that_write_text(quantize, save_own):
    with pytest.raises(ConfigError, match="int8_static is not for models that write text"):
        quantize("int8_static", save_own("Reader"), np.zeros((4, 6), np.int64))


def test_long_answers_are_asked_for_one_by_one():
    assert _batch_size(torch.empty(1, 10)) == 256
    assert _batch_size(torch.empty(1, 512, 49152, device="meta")) == 2
    assert _batch_size(torch.empty(1, 4096, 49152, device="meta")) == 1


def test_a_model_that_writes_no_text_cannot_calibrate_itself(quantize, save, convnet, calibration):
    with pytest.raises(ConfigError, match="ConvNet is not a language model"):
        quantization.calibration_inputs(
            save(convnet), calibration, quantize_settings("int4_gptq", calibration_text="generated"), trusted=[], seed=0
        )


@pytest.mark.parametrize(("text", "windows"), [("data", 2), ("generated", 5), ("both", 4)])
def test_calibration_is_of_the_users_text_and_the_models_own(save_own, text, windows):
    users = np.full((2, 6), 3, np.int64)
    calibration, further = quantization.calibration_inputs(
        save_own("Writer"),
        users,
        quantize_settings("int4_gptq", calibration_text=text, calibration_samples=5),
        trusted=["nets_to_quantize"],
        seed=0,
    )
    assert (len(calibration), len(further)) == (1, text == "both")
    tokens = np.concatenate([*calibration, *further])
    assert tokens.shape == (windows, 6)
    assert tokens.dtype == np.int64
    assert np.array_equal(tokens[:2], users) == (text != "generated")


def test_text_that_the_model_writes_has_a_mask_where_the_users_has_one(save_own):
    users = {"input_ids": np.full((2, 6), 3, np.int64), "attention_mask": np.zeros((2, 6), np.int64)}
    settings = quantize_settings("int4_gptq", calibration_text="generated", calibration_samples=5)
    (written,), _ = quantization.calibration_inputs(
        save_own("Writer"), users, settings, trusted=["nets_to_quantize"], seed=0
    )
    assert written["input_ids"].shape == (5, 6)
    assert written["attention_mask"].all()


@pytest.mark.parametrize(("family", "kind"), [("gpt2", "Conv1D"), ("falcon", "FalconLinear")])
@pytest.mark.parametrize("method", ["int4_gptq", "int8_dynamic"])
def test_blocks_of_layers_that_no_method_serves_are_refused_before_the_work(family, kind, method):
    pytest.importorskip("transformers", reason="the extra llm is not installed")
    model = decoder(family)
    with pytest.raises(ConfigError, match=rf"serve Linear layers, and the blocks of \w+ have none.* in {kind}"):
        quantization.check_layer_names(model, quantize_settings(method))
    quantization.check_layer_names(model, dataclasses.replace(quantize_settings(method), methods=[]))


@pytest.mark.parametrize("family", ["llama", "mixtral", "jamba"])
def test_blocks_with_linear_layers_are_not_refused(family):
    pytest.importorskip("transformers", reason="the extra llm is not installed")
    quantization.check_layer_names(decoder(family), quantize_settings("int4_gptq"))
