"""vLLM's folders with integer weights, read back by our own reader and by the package compressed-tensors' loader."""

import json

import pytest
import torch
from safetensors.torch import load_file

from overwinter.errors import ConfigError
from overwinter.formats.compressed_tensors import (
    pack_words,
    read_compressed_tensors,
    refusal,
    unpack_words,
    write_compressed_tensors,
)
from overwinter.models import Grid, IntegerEmbedding, IntegerLinear, integer_layers, load_description, replace_layer
from tests.support.networks import WIDE_LLAMA, language_model, save_language_model

pytest.importorskip("transformers", reason="the extra llm is not installed")

INT4 = Grid(bits=4, group_size=32, symmetric=False)
GRIDS = {
    "int4": INT4,
    "int4 symmetric": Grid(bits=4, group_size=32),
    "int8": Grid(bits=8, group_size=32),
    "int8 asymmetric": Grid(bits=8, group_size=32, symmetric=False),
    "int8 by channel": Grid(bits=8),
}
TOKENS = torch.arange(12)[None] * 3 % 48


def quantized(grids, *, sizes=WIDE_LLAMA, **options):
    """Return a language model whose blocks' layers are on grids, given in turn."""
    model = language_model(sizes)
    linear = [name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
    for place, name in enumerate(name for name in linear if "layers" in name):
        grid = grids[place % len(grids)]
        replace_layer(model, name, IntegerLinear.from_float(model.get_submodule(name), grid, **options))
    return model


@pytest.fixture
def written(tmp_path):
    def written(model):
        saved, out = save_language_model(tmp_path / "saved", model), tmp_path / "out"
        out.mkdir()
        assert refusal(load_description(saved)) is None
        return out, write_compressed_tensors(saved, out)

    return written


def expected(model):
    """Return the logits of a model whose scales and floats are rounded to float16, as in the file."""
    for layer in integer_layers(model).values():
        layer.scale.copy_(layer.scale.half())
    for parameter in model.parameters():
        parameter.data = parameter.data.half().float()
    with torch.inference_mode():
        return model(TOKENS)


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS.keys())
def test_what_is_written_computes_as_the_saved_model(written, grid):
    model = quantized([grid])
    folder, notes = written(model)
    with torch.inference_mode():
        found = read_compressed_tensors(folder)(TOKENS)
    torch.testing.assert_close(found, expected(model), rtol=1e-5, atol=1e-6)
    assert notes == []


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS.keys())
def test_the_packages_own_decompressor_reads_it(written, grid):
    """And its compressor makes the very same tensors of the values."""
    pytest.importorskip("compressed_tensors", reason="the package compressed-tensors is not installed")
    from compressed_tensors.compressors import PackedQuantizationCompressor
    from compressed_tensors.quantization import QuantizationConfig

    model = quantized([grid])
    folder, _ = written(model)
    config = json.loads((folder / "config.json").read_text())["quantization_config"]
    (scheme,) = QuantizationConfig.model_validate(config).config_groups.values()
    stored = load_file(folder / "model.safetensors")
    expected(model)
    for name, layer in integer_layers(model).items():
        start = name.removeprefix("network.") + "."
        parts = {key.removeprefix(start): value for key, value in stored.items() if key.startswith(start)}
        parts["weight_scale"] = parts["weight_scale"].float()
        read = PackedQuantizationCompressor.decompress(parts, scheme)
        torch.testing.assert_close(read["weight"], layer.weight(), rtol=1e-6, atol=0)
        again = PackedQuantizationCompressor.compress(read, scheme)
        assert again.keys() == parts.keys()
        assert all(torch.equal(again[key], parts[key]) for key in parts)


@pytest.mark.parametrize("grid", [grid for grid in GRIDS.values() if grid.symmetric], ids=str)
def test_transformers_loads_it_through_the_package(written, grid):
    # Packed zero points do not load there: on the meta device compressed-tensors 0.20.1 expects them unpacked.
    pytest.importorskip("compressed_tensors", reason="the package compressed-tensors is not installed")
    from transformers import AutoModelForCausalLM

    model = quantized([grid, GRIDS["int8"]], sizes=WIDE_LLAMA | {"tie_word_embeddings": False})
    folder, _ = written(model)
    loaded = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        found = loaded(TOKENS).logits
    torch.testing.assert_close(found, expected(model), rtol=1e-3, atol=1e-4)  # its dequantization is in float16


def test_layers_on_several_grids_are_named(written):
    model = quantized([INT4, GRIDS["int8"]])
    folder, _ = written(model)
    config = json.loads((folder / "config.json").read_text())["quantization_config"]
    targets = [name for group in config["config_groups"].values() for name in group["targets"]]
    assert sorted(targets) == sorted(name.removeprefix("network.") for name in integer_layers(model))
    assert config["ignore"] == ["lm_head"]
    with torch.inference_mode():
        found = read_compressed_tensors(folder)(TOKENS)
    torch.testing.assert_close(found, expected(model), rtol=1e-5, atol=1e-6)


def test_a_head_of_integers_is_written_in_float16_and_said(written):
    model = quantized([INT4], sizes=WIDE_LLAMA | {"tie_word_embeddings": False})
    head = IntegerLinear.from_float(model.network.lm_head, GRIDS["int8"])
    replace_layer(model, "network.lm_head", head)
    folder, notes = written(model)
    assert notes == ["written as float16, since the format's readers have no integer embedding or head: 8-bit lm_head"]
    assert load_file(folder / "model.safetensors")["lm_head.weight"].dtype == torch.float16
    with torch.inference_mode():
        found = read_compressed_tensors(folder)(TOKENS)
    torch.testing.assert_close(found, expected(model), rtol=1e-3, atol=1e-4)


def test_a_tied_embedding_of_integers_is_written_once_in_float16(written):
    model = quantized([INT4])
    embedding = IntegerEmbedding.from_float(model.network.model.embed_tokens, GRIDS["int8"])
    head = IntegerLinear.from_float(model.network.lm_head, GRIDS["int8"])
    head.share_codes(embedding)
    replace_layer(model, "network.model.embed_tokens", embedding)
    replace_layer(model, "network.lm_head", head)
    folder, notes = written(model)
    assert notes[0].endswith("8-bit lm_head and 8-bit model.embed_tokens")
    stored = load_file(folder / "model.safetensors")
    assert stored["model.embed_tokens.weight"].dtype == torch.float16
    assert "lm_head.weight" not in stored
    with torch.inference_mode():
        found = read_compressed_tensors(folder)(TOKENS)
    torch.testing.assert_close(found, expected(model), rtol=1e-3, atol=5e-4)  # of values rounded to float16


REFUSED = {
    "has 3": (Grid(bits=3, group_size=32), {}),
    "are 40 of 64 columns": (Grid(bits=4, group_size=40), {}),
    "have 8 bits": (Grid(bits=8), {"activations": "dynamic"}),
    "SmoothQuant": (Grid(bits=8), {"smoothing": torch.ones(64)}),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_the_format_cannot_hold_is_refused_with_the_layer(reason, tmp_path):
    grid, options = REFUSED[reason]
    model = language_model(WIDE_LLAMA)
    name = "network.model.layers.0.self_attn.q_proj"
    replace_layer(model, name, IntegerLinear.from_float(model.get_submodule(name), grid, **options))
    found = refusal(load_description(save_language_model(tmp_path / "saved", model)))
    assert reason in found
    assert "model.layers.0.self_attn.q_proj" in found


def test_a_float_variant_is_refused(tmp_path):
    saved = save_language_model(tmp_path / "saved", language_model())
    assert "'dense' has none" in refusal(load_description(saved))


def test_a_value_beyond_float16_is_refused(written):
    model = quantized([INT4])
    model.network.model.norm.weight.data[0] = 1e5
    with pytest.raises(ConfigError, match=r"model\.norm\.weight has values beyond float16"):
        written(model)


def test_a_model_whose_configuration_cannot_name_what_is_left_is_refused(written):
    model = quantized([INT4])
    model.config["intermediate_size"] *= 2
    with pytest.raises(ConfigError, match="which cannot name the heads or hidden units that are left"):
        written(model)


@pytest.mark.parametrize("bits", [4, 8])
def test_packing_is_the_packages(bits):
    codes = torch.randint(0, 1 << bits, (3, 21), dtype=torch.uint8)
    assert torch.equal(unpack_words(pack_words(codes, bits), bits, 21), codes)
    package = pytest.importorskip("compressed_tensors.compressors.pack_quantized.helpers", reason="not installed")
    signed = (codes.int() - (1 << (bits - 1))).to(torch.int8)
    assert torch.equal(pack_words(codes, bits), package.pack_to_int32(signed, bits))
