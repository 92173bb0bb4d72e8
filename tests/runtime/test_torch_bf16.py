import pytest
import torch

from overwinter import models, runtime
from overwinter.errors import ConfigError
from overwinter.models import Grid, IntegerEmbedding, IntegerLinear, load_description, save_model
from overwinter.registries import RUNTIMES
from overwinter.runtime.packed_layers import PackedEmbedding, PackedLinear
from overwinter.runtime.served_layers import in_bfloat16, in_float32
from overwinter.signature import Signature
from tests.support.building import build, drawn
from tests.support.networks import WIDE_LLAMA, language_model

pytest.importorskip("transformers", reason="the extra llm is not installed")

TOKENS = torch.randint(48, (1, 20), generator=torch.Generator().manual_seed(1))


def made():
    return language_model(WIDE_LLAMA)


def quantized(grid, **arguments):
    """All projections that read the hidden state, as a model would be after `quantize`."""
    model = made()
    for name, layer in list(model.named_modules()):
        if isinstance(layer, torch.nn.Linear) and layer.in_features == 64 and "lm_head" not in name:
            models.replace_layer(model, name, IntegerLinear.from_float(layer, grid, **arguments))
    return model


def saved(model, folder, variant):
    save_model(
        folder,
        model,
        variant=variant,
        model_config=model.saved_as(),
        signature=Signature.of_one([20], dtype="int64"),
        lineage={},
    )
    return folder


def close(output, expected, share=0.03):
    return float((output - expected).abs().max() / expected.abs().max()) < share


def test_weight_only_layers_are_served_dequantized_with_the_same_bits():
    model = quantized(Grid(bits=8))
    dynamic = "network.model.layers.1.mlp.up_proj"
    plain = made().get_submodule(dynamic)
    models.replace_layer(model, dynamic, IntegerLinear.from_float(plain, Grid(bits=8), activations="dynamic"))
    with torch.inference_mode():
        before = model(TOKENS)
        assert torch.equal(in_float32(model)(TOKENS), before)
    assert list(models.integer_layers(model)) == [dynamic]


@pytest.mark.parametrize("grid", [None, Grid(bits=4, group_size=32, symmetric=False), Grid(bits=8, group_size=32)])
def test_whole_models_response_as_in_float32_at_once_and_step_by_step(grid):
    model = made() if grid is None else quantized(grid)
    with torch.inference_mode():
        expected = model(TOKENS)
        served = in_bfloat16(model)
        assert {each.dtype for each in served.parameters()} == {torch.bfloat16}
        assert any(isinstance(each, PackedLinear) for each in served.modules()) == (grid is not None)
        head, embedding = served.network.get_output_embeddings(), served.network.get_input_embeddings()
        assert head.weight is embedding.weight
        assert close(served(TOKENS), expected)
        kept = None
        for at in range(TOKENS.shape[1]):
            logits, kept = served.step(TOKENS[:, at : at + 1], kept)
        assert logits.dtype == torch.float32
        assert close(logits, expected[:, -1])


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("name", ["torch", "torch-bf16"])
def test_a_tied_head_and_its_embedding_are_in_memory_once(tmp_path, name, bits):
    model, grid = quantized(Grid(bits=bits, group_size=32, compact=True)), Grid(bits=8, group_size=32, compact=True)
    embedding = IntegerEmbedding.from_float(model.network.model.embed_tokens, grid)
    head = IntegerLinear.from_float(model.network.lm_head, grid)
    head.share_codes(embedding)
    model.network.model.embed_tokens, model.network.lm_head = embedding, head
    expected = model(TOKENS)
    served = RUNTIMES.find(name)().load(saved(model, tmp_path / "tied", "int"), trusted=[])
    with torch.inference_mode():
        assert close(served(TOKENS), expected)
        assert close(served.step(TOKENS)[0], expected[:, -1])
    tensors = {each.data_ptr(): each.nbytes for each in (*served.parameters(), *served.buffers())}
    if name == "torch":
        assert torch.equal(served(TOKENS), expected)
        assert served.network.lm_head.weight is served.network.model.embed_tokens.weight
    else:
        assert isinstance(served.network.model.embed_tokens, PackedEmbedding)
        dense = sum(each.nbytes for each in in_bfloat16(made()).parameters())
        assert sum(tensors.values()) < 0.9 * dense  # its down_proj stay in floating point


@pytest.mark.parametrize("name", ["torch", "torch-bf16"])
def test_an_embedding_without_a_tied_head_is_served_too(tmp_path, name):
    model = language_model(WIDE_LLAMA | {"tie_word_embeddings": False})
    grid = Grid(bits=8, group_size=32, compact=True)
    model.network.model.embed_tokens = IntegerEmbedding.from_float(model.network.model.embed_tokens, grid)
    expected = model(TOKENS)
    served = RUNTIMES.find(name)().load(saved(model, tmp_path / "untied", "int"), trusted=[])
    with torch.inference_mode():
        assert close(served(TOKENS), expected)


@pytest.mark.parametrize("name", ["torch", "torch-bf16"])
def test_served_weights_are_aligned_and_tied_ones_stay_tied(tmp_path, name):
    model = RUNTIMES.find(name)().load(saved(made(), tmp_path / "dense", "dense"), trusted=[])
    assert all(each.data_ptr() % 64 == 0 for each in model.parameters())
    assert model.network.get_output_embeddings().weight is model.network.get_input_embeddings().weight


def test_it_is_built_and_loaded_and_says_what_it_cannot_run(tmp_path):
    four = saved(quantized(Grid(bits=4, group_size=32)), tmp_path / "four", "int4")
    dynamic = saved(quantized(Grid(bits=8), activations="dynamic"), tmp_path / "dynamic", "int8")
    build(four, "torch-bf16", tmp_path / "built", trusted=[])
    for folder in (four, tmp_path / "built"):
        model = RUNTIMES.find("torch-bf16")().load(folder, trusted=[])
        assert any(isinstance(each, PackedLinear) for each in model.modules())
    assert "quantizes its input" in (runtime.refusal(dynamic, "torch-bf16") or "")
    assert runtime.refusal(four, "torch-compile") == "it runs no language models"
    with pytest.raises(ConfigError, match=r"'torch-compile' cannot serve .* it runs no language models"):
        runtime.open_language(four, "torch-compile", 1)


def test_it_runs_networks_with_normalisation_and_tensors_of_their_own(saved, tmp_path):
    build(saved, "torch-bf16", tmp_path / "built", trusted=[])
    inputs = drawn([1, 8, 8], 5)
    session = runtime.open_session(tmp_path / "built", "torch-bf16", 1)
    with torch.inference_mode():
        expected = models.load_model(saved, trusted=[])(torch.from_numpy(inputs)).numpy()
    assert 0 < runtime.largest_difference(session.run(inputs), expected) < 0.03


@pytest.mark.parametrize(
    ("quantization", "reason"),
    [
        ({"method": "int8_dynamic"}, "torchao quantized it"),
        (
            {"layers": {"head": {"activations": "static", "smoothed": False, "shape": [3, 8]}}},
            "head quantizes its input",
        ),
        (
            {"layers": {"stem": {"activations": None, "smoothed": False, "shape": [3, 8, 1, 1]}}},
            "stem is a convolution",
        ),
    ],
)
def test_where_bfloat16_makes_no_sense_it_says_why(saved, quantization, reason):
    description = load_description(saved) | {"quantization": quantization}
    assert reason in runtime.find_runtime("torch-bf16").refusal(description)
