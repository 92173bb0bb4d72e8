"""The embedding and the head of language models, tied and not, of several families."""

import numpy as np
import pytest
import torch

from overwinter.errors import ConfigError
from overwinter.models import (
    Grid,
    IntegerEmbedding,
    integer_layers,
    load_description,
    load_model,
    stored_bytes,
)
from overwinter.quantization.settings import GridConfig, MixedConfig, ScaleDistillationConfig
from overwinter.quantization.vocabulary import tied_head
from tests.support.decoders import decoder
from tests.support.networks import LLAMA, WIDE_LLAMA, language_model, save_language_model

pytest.importorskip("transformers", reason="the extra llm is not installed")

TOKENS = np.random.default_rng(0).integers(32, size=(12, 10))
EMBEDDING, HEAD = "network.model.embed_tokens", "network.lm_head"
EIGHT = Grid(bits=8, group_size=32, compact=True)


def made(quantize, folder, method="int4_nearest", *, model=None, **settings):
    """Quantize a tied Llama, or another model; return the report, the description and the module."""
    save_language_model(folder / "dense", model or language_model(WIDE_LLAMA), length=10)
    report = quantize(method, folder / "dense", TOKENS, **settings)
    return report, load_description(folder / method), load_model(folder / method, trusted=[])


@pytest.mark.parametrize("method", ["int8_weight_only", "int4_nearest", "int4_gptq", "int8_smooth", "int8_grouped"])
def test_an_embedding_is_in_8_bits_and_a_tied_head_has_its_codes(quantize, tmp_path, method):
    report, saved, model = made(quantize, tmp_path, method)
    layers = integer_layers(model)
    assert layers[EMBEDDING].grid == layers[HEAD].grid == EIGHT
    assert layers[HEAD].codes is layers[EMBEDDING].codes
    assert layers[HEAD].activations is None
    assert {EMBEDDING, HEAD} < set(report.quantized)
    assert report.untied == ()
    assert report.agreement > 0.8
    assert [name for name in saved["tensors"] if "lm_head" in name] == []
    assert EMBEDDING not in report.left_in_float


@pytest.mark.parametrize("embedding", ["int8", "float"])
@pytest.mark.parametrize("tied", [True, False])
def test_a_head_goes_with_the_embedding_or_with_the_layers(quantize, tmp_path, embedding, tied):
    net = language_model(WIDE_LLAMA | {"tie_word_embeddings": tied})
    report, _, model = made(quantize, tmp_path, model=net, embedding=embedding)
    layers = integer_layers(model)
    assert (EMBEDDING in layers) == (HEAD in layers) == (embedding == "int8")
    if embedding == "int8":
        assert (layers[HEAD].source is None) == (not tied)
        assert layers[HEAD].grid == EIGHT
    else:
        assert report.left_in_float[HEAD] == report.left_in_float[EMBEDDING] == "quantize.embedding=float"
        assert (tied_head(model) == HEAD) == tied
    report, _, model = made(quantize, tmp_path, model=net, embedding=embedding, head="as_layers")
    layers = integer_layers(model)
    assert (EMBEDDING in layers) == (embedding == "int8")
    assert layers[HEAD].grid.bits == 4
    assert report.untied == ((HEAD,) if tied else ())


def test_skipping_a_tied_one_leaves_both_and_an_override_is_of_both(quantize, tmp_path):
    report, _, model = made(quantize, tmp_path, skip=["*lm_head"])
    assert report.left_in_float[HEAD] == "quantize.skip names '*lm_head'"
    assert report.left_in_float[EMBEDDING] == f"it is tied to {HEAD}: quantize.skip names '*lm_head'"
    assert model.network.lm_head.weight is model.network.model.embed_tokens.weight
    grid = GridConfig(bits=6, group_size=16, symmetric=False)
    _, _, model = made(quantize, tmp_path, overrides={EMBEDDING: grid})
    layers = integer_layers(model)
    assert layers[HEAD].grid == layers[EMBEDDING].grid == Grid(bits=6, group_size=16, symmetric=False, compact=True)
    with pytest.raises(ConfigError, match=r"quantize.skip names '\*embed_token'"):
        made(quantize, tmp_path, skip=["*embed_token"])


@pytest.mark.parametrize("family", ["qwen2", "gemma2", "gemma3_text", "cohere2", "phi", "opt", "gpt_oss"])
def test_embeddings_of_many_families(quantize, tmp_path, family):
    net = decoder(family)
    report, _, model = made(quantize, tmp_path, "int8_weight_only", model=net)
    embeddings = [each for each in integer_layers(model).values() if isinstance(each, IntegerEmbedding)]
    assert len(embeddings) == 1
    assert embeddings[0].factor == pytest.approx(32**0.5 if family.startswith("gemma") else 1.0)
    tokens = torch.from_numpy(TOKENS)
    with torch.inference_mode():
        error = (model(tokens) - net(tokens)).norm() / net(tokens).norm()
    assert 0 < float(error) < 0.05
    assert report.untied == ()


def test_distilling_and_mixing_leave_the_embedding_as_it_is(quantize, tmp_path):
    distilled = ScaleDistillationConfig(steps=2, learning_rate=0.01, batch_size=4, zeros=False)
    _, saved, model = made(quantize, tmp_path, scale_distillation=distilled, sensitivity_samples=4)
    plain = language_model(WIDE_LLAMA).network.model.embed_tokens.weight.detach()
    found = integer_layers(model)[EMBEDDING].get_codes()
    assert torch.equal(found.scale, EIGHT.nearest(plain).scale)
    assert {EMBEDDING, HEAD} < set(saved["quantization"]["sensitivity"])
    mixed = MixedConfig(max_size_ratio=0.3, max_divergence=None)
    report, saved, model = made(quantize, tmp_path, "mixed", mixed=mixed, sensitivity_samples=4)
    assert integer_layers(model)[EMBEDDING].grid == EIGHT
    assert stored_bytes(saved) <= 0.3 * report.float_size_bytes


def test_other_models_keep_their_embeddings_and_untied_layers_their_own_zeros(quantize, tmp_path):
    net = language_model(LLAMA)
    with torch.no_grad():
        net.network.model.embed_tokens.weight[3:5] = 0.0
    report, _, model = made(quantize, tmp_path, "int8_weight_only", model=net)
    assert report.zeros_after >= report.zeros_before >= 2 * 16
    assert bool((model.network.model.embed_tokens(torch.tensor([3, 4])) == 0).all())
