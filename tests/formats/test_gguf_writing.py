import json
import re

import numpy as np
import pytest
import torch

gguf = pytest.importorskip("gguf", reason="the extra llm is not installed")

from overwinter.errors import ConfigError  # noqa: E402
from overwinter.formats import gguf_refusal, write_gguf  # noqa: E402
from overwinter.formats.gguf_writing import write_module  # noqa: E402
from overwinter.models import (  # noqa: E402
    CausalLanguageModel,
    Grid,
    IntegerEmbedding,
    IntegerLinear,
    find_signature,
    integer_layers,
    load_description,
    pretrained,
    pretrained_tokenizer,
    replace_layer,
    save_model,
)
from overwinter.runtime.language_check import divergence  # noqa: E402
from tests.support.decoders import tokens  # noqa: E402

SIZES = {
    "vocab_size": 64,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
FAMILIES = {
    "llama": {},
    "mistral": {"sliding_window": None},
    "qwen2": {},
    "qwen3": {"head_dim": 128},  # transformers reads no other from GGUF
    # transformers reads no other query_pre_attn_scalar from GGUF
    "gemma3_text": {"num_hidden_layers": 6, "sliding_window": 8, "head_dim": 256, "query_pre_attn_scalar": 256},
    "phi3": {},
}


def model_of(family, **changes):
    torch.manual_seed(0)
    config = {"model_type": family, **SIZES, **FAMILIES[family], **changes}
    model = CausalLanguageModel(config=config).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # biases and norms too, so that one that is missing or shifted is seen
            parameter.add_(torch.randn(parameter.shape) / 4)
    return model


def quantized(model, grid):
    for name, layer in list(model.named_modules()):
        if isinstance(layer, torch.nn.Linear) and "lm_head" not in name:
            replace_layer(model, name, IntegerLinear.from_float(layer, grid))
    for layer in integer_layers(model).values():
        layer.scale.copy_(layer.scale.half().float())
    return model


def save(folder, model):
    save_model(
        folder,
        model,
        variant="dense",
        model_config=model.saved_as(),
        signature=find_signature(model, [tokens(1)]),
        lineage={},
    )
    return folder


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_another_reader_predicts_the_same(tmp_path, family, tied):
    model = model_of(family, tie_word_embeddings=tied)
    kinds = write_gguf(save(tmp_path / "saved", model), tmp_path / "model.gguf")
    assert ("output.weight" in kinds) is not tied
    read = pretrained(root=str(tmp_path / "model.gguf"))
    with torch.inference_mode():
        assert divergence(read(tokens()).numpy(), model(tokens()).numpy()) < 1e-4


@pytest.mark.parametrize("family", ["llama", "qwen2"])
@pytest.mark.parametrize(
    ("grid", "kind"),
    [
        (Grid(bits=4, group_size=64, symmetric=False), "Q4_1"),
        (Grid(bits=4, group_size=32, symmetric=False), "Q4_1"),
        (Grid(bits=3, group_size=None, symmetric=True), "Q4_0"),
        (Grid(bits=4, group_size=32, symmetric=True), "Q4_0"),
        (Grid(bits=5, group_size=32, symmetric=False), "Q5_1"),
        (Grid(bits=8, group_size=64, symmetric=True), "Q8_0"),
        (Grid(bits=8, group_size=32, symmetric=False), "F16"),
        (Grid(bits=4, group_size=16, symmetric=True), "F16"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{value.bits}-{value.group_size}-{value.symmetric}",
)
def test_integer_layers_keep_their_values(tmp_path, family, grid, kind):
    model = quantized(model_of(family, intermediate_size=128), grid)
    kinds = write_module(model, tmp_path / "model.gguf")
    assert kinds["blk.1.ffn_down.weight"] == kinds["blk.1.attn_q.weight"] == kind
    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(tmp_path / "model.gguf").tensors}
    for ours, theirs in {"mlp.down_proj": "ffn_down", "self_attn.v_proj": "attn_v"}.items():
        layer = model.get_submodule(f"network.model.layers.1.{ours}")
        found = tensors[f"blk.1.{theirs}.weight"]
        values = gguf.dequantize(found.data, found.tensor_type)
        minima = layer.scale.amax().item() * 15 * 2**-11 if kind in ("Q4_1", "Q5_1") else 0
        rounding = 2**-9 if kind == "F16" else minima * 2
        assert np.abs(values - layer.weight().numpy()).max() <= rounding
    read = pretrained(root=str(tmp_path / "model.gguf"))
    with torch.inference_mode():
        assert divergence(read(tokens()).numpy(), model(tokens()).numpy()) < 1e-4


@pytest.mark.parametrize("family", ["llama", "gemma3_text"])
def test_an_integer_embedding_is_written_once_with_a_tied_head(tmp_path, family):
    model = model_of(family, tie_word_embeddings=True)
    grid = Grid(bits=8, group_size=32, symmetric=True)
    embedding = IntegerEmbedding.from_float(model.network.model.embed_tokens, grid)
    embedding.scale.copy_(embedding.scale.half().float())
    head = IntegerLinear.from_float(model.network.lm_head, grid)
    head.share_codes(embedding)
    replace_layer(model, "network.model.embed_tokens", embedding)
    replace_layer(model, "network.lm_head", head)
    kinds = write_module(model, tmp_path / "model.gguf")
    assert kinds["token_embd.weight"] == "Q8_0"
    assert "output.weight" not in kinds
    read = pretrained(root=str(tmp_path / "model.gguf"))
    assert np.array_equal(read.network.model.embed_tokens.weight.detach().numpy(), embedding.weight().numpy())
    with torch.inference_mode():
        assert divergence(read(tokens()).numpy(), model(tokens()).numpy()) < 1e-4


def test_factors_of_the_input_are_part_of_the_weight(tmp_path):
    model = model_of("llama")
    name = "network.model.layers.0.mlp.up_proj"
    factors = torch.rand(64) + 0.5
    layer = IntegerLinear.from_float(
        model.get_submodule(name), Grid(bits=8, group_size=32, symmetric=True), smoothing=factors
    )
    replace_layer(model, name, layer)
    assert write_module(model, tmp_path / "model.gguf")["blk.0.ffn_up.weight"] == "F16"
    read = pretrained(root=str(tmp_path / "model.gguf"))
    expected = (layer.weight() * factors).numpy()
    assert np.abs(read.get_submodule(name).weight.detach().numpy() - expected).max() < 1e-2


def test_a_scale_beyond_float16_is_refused(tmp_path):
    model = quantized(model_of("llama"), Grid(bits=4, group_size=32, symmetric=True))
    integer_layers(model)["network.model.layers.0.mlp.up_proj"].scale[0, 0] = 1e6
    with pytest.raises(ConfigError, match="too large for GGUF's float16"):
        write_module(model, tmp_path / "model.gguf")


def test_removed_channels_are_refused(tmp_path):
    model = model_of("llama")
    replace_layer(model, "network.model.layers.0.mlp.down_proj", torch.nn.Linear(64, 64, bias=False))
    with pytest.raises(ConfigError, match="channels were removed"):
        write_module(model, tmp_path / "model.gguf")


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"model_type": "opt"}, "the family 'opt'"),
        ({"model_type": "mistral", "sliding_window": 8, "max_position_embeddings": 64}, "sliding window"),
        ({"model_type": "llama", "rope_parameters": {"rope_type": "yarn"}}, "scaled \\(yarn\\)"),
        (
            {
                "model_type": "gemma3_text",
                "max_position_embeddings": 64,
                "layer_types": ["sliding_attention", "full_attention"],
            },
            "every 6th block",
        ),
        ({"model_type": "gemma3_text", "head_dim": 128, "query_pre_attn_scalar": 168}, "query_pre_attn_scalar"),
    ],
)
def test_what_the_format_cannot_hold_is_refused_without_reading_weights(config, reason):
    found = gguf_refusal({"model": {"config": config}})
    assert found
    assert re.search(reason, found)


def test_a_model_of_another_kind_is_refused():
    assert "no language model" in gguf_refusal({"model": {"_target_": "overwinter.models.ConvNet"}})


class TestTokenizer:
    @staticmethod
    def save(folder, *, pre, added=(), **settings):
        """A byte-level tokenizer of 62 tokens."""
        from tokenizers import Tokenizer, decoders, models
        from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence, Split

        ways = {
            "gpt-2": ByteLevel(add_prefix_space=False),
            "smollm": Sequence([Digits(individual_digits=True), ByteLevel(add_prefix_space=False)]),
            "other": Sequence([Split(" ", "removed"), ByteLevel(add_prefix_space=False)]),
        }
        words = ["<unk>", "<bos>", "<eos>", *[chr(ord("!") + place) for place in range(57)], "Ġ", "Ġ!"]
        tokenizer = Tokenizer(
            models.BPE(vocab={word: row for row, word in enumerate(words)}, merges=[("Ġ", "!")], unk_token=None)
        )
        tokenizer.pre_tokenizer, tokenizer.decoder = ways[pre], decoders.ByteLevel()
        tokenizer.add_special_tokens(["<unk>", "<bos>", "<eos>"])
        folder.mkdir()
        tokenizer.save(str(folder / "tokenizer.json"))
        names = {"bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>", **settings}
        (folder / "tokenizer_config.json").write_text(json.dumps(names))
        return folder

    @pytest.mark.parametrize("pre", ["gpt-2", "smollm"])
    def test_another_reader_finds_the_same_tokens(self, tmp_path, pre):
        folder = self.save(tmp_path / "tokenizer", pre=pre, chat_template="{{ messages[0].content }}")
        write_module(model_of("llama"), tmp_path / "model.gguf", tokenizer_folder=folder)
        fields = gguf.GGUFReader(tmp_path / "model.gguf").fields
        assert fields["tokenizer.ggml.pre"].contents() == pre
        assert fields["tokenizer.ggml.tokens"].contents()[-2:] == ["[PAD62]", "[PAD63]"]
        assert fields["tokenizer.ggml.token_type"].contents()[-3:] == [1, 5, 5]
        assert fields["tokenizer.ggml.add_bos_token"].contents() is False
        read = pretrained_tokenizer(str(tmp_path / "model.gguf"))
        assert read("A !B<eos>")["input_ids"] == [35, 61, 36, 2]
        assert read.eos_token == "<eos>"
        assert read.chat_template == "{{ messages[0].content }}"

    def test_splitting_without_a_name_is_refused(self, tmp_path):
        folder = self.save(tmp_path / "tokenizer", pre="other")
        with pytest.raises(ConfigError, match=r"tokenizer\.ggml\.pre"):
            write_module(model_of("llama"), tmp_path / "model.gguf", tokenizer_folder=folder)

    def test_another_models_tokenizer_is_refused(self, tmp_path):
        folder = self.save(tmp_path / "tokenizer", pre="gpt-2")
        with pytest.raises(ConfigError, match="62 tokens and the model's embedding 32 rows"):
            write_module(model_of("llama", vocab_size=32), tmp_path / "model.gguf", tokenizer_folder=folder)

    def test_an_unknown_special_token_is_refused(self, tmp_path):
        folder = self.save(tmp_path / "tokenizer", pre="gpt-2", eos_token="<end>")
        with pytest.raises(ConfigError, match="the eos token '<end>'"):
            write_module(model_of("llama"), tmp_path / "model.gguf", tokenizer_folder=folder)

    def test_a_missing_tokenizer_is_named(self, tmp_path):
        with pytest.raises(ConfigError, match=r"tokenizer\.json is missing"):
            write_module(model_of("llama"), tmp_path / "model.gguf", tokenizer_folder=tmp_path)


def test_a_written_description_is_what_is_refused(tmp_path):
    folder = save(tmp_path / "saved", model_of("llama"))
    assert gguf_refusal(load_description(folder)) is None
