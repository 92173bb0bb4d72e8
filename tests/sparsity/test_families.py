"""Channels of models of the transformers library, as the data gives them their inputs: several by name."""

import pytest
import torch

from overwinter.data import InMemory, Split
from overwinter.models import CausalLanguageModel, load_model, save_model
from overwinter.models.adapting import adapt
from overwinter.signature import Signature
from overwinter.sparsity import Channels, find_channel_groups
from overwinter.sparsity.channels import working_groups
from overwinter.sparsity.surgery import Cut, remove_channels, silence_channels

transformers = pytest.importorskip("transformers", reason="the extra llm is not installed")

TOKENS = {
    "input_ids": torch.randint(1, 60, (4, 9), generator=torch.Generator().manual_seed(0)),
    "attention_mask": torch.ones(4, 9, dtype=torch.int64),
}
IMAGES = {"pixel_values": torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))}
SMALL = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48, "vocab_size": 64,
}  # fmt: skip
TEXTS, CLASSES, PICTURES = "ForCausalLM", "ForSequenceClassification", "ForImageClassification"
FAMILIES = {
    "bert": (CLASSES, SMALL, TOKENS, 5),
    "llama": (TEXTS, SMALL | {"num_key_value_heads": 2}, TOKENS, 4),
    "opt": (TEXTS, SMALL | {"ffn_dim": 48, "word_embed_proj_dim": 32}, TOKENS, 4),
    "gpt2": (TEXTS, {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 64, "n_positions": 64}, TOKENS, 4),
    "vit": (PICTURES, SMALL | {"image_size": 32, "patch_size": 8}, IMAGES, 4),
    "convnext": (PICTURES, {"hidden_sizes": [8, 12, 16, 20], "depths": [1, 1, 1, 1]}, IMAGES, 4),
    "resnet": (PICTURES, {"embedding_size": 8, "hidden_sizes": [8, 12], "depths": [1, 1], "layer_type": "basic"},
               IMAGES, 4),
}  # fmt: skip


def built(family):
    task, changes, examples, groups = FAMILIES[family]
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(family, bos_token_id=1, eos_token_id=2, pad_token_id=0, **changes)
    return adapt(getattr(transformers, f"AutoModel{task}").from_config(config).eval()), examples, groups


@pytest.mark.parametrize("family", FAMILIES)
def test_half_of_what_can_go_goes_and_the_rest_answers_as_if_it_were_silent(family):
    model, examples, expected = built(family)
    smaller, silenced = built(family)[0], built(family)[0]
    groups, left_alone = find_channel_groups(model, examples)
    groups = working_groups(model, groups, examples, left_alone)
    assert len(groups) == expected
    cuts = [Cut(group=group, keep=torch.arange(0, group.count, 2)) for group in groups]
    remove_channels(smaller, cuts)
    silence_channels(silenced, cuts)
    with torch.no_grad():
        torch.testing.assert_close(smaller(examples), silenced(examples), atol=1e-4, rtol=1e-4)
    smaller.train()(examples).sum().backward()
    producers = {name for group in groups for name in group.producers}
    assert not producers.intersection(left_alone)
    assert {n for n, module in model.named_modules() if type(module) is torch.nn.Linear} <= producers | set(left_alone)


@pytest.mark.parametrize("family", ["bert", "llama", "vit"])
def test_heads_go_with_all_queries_that_read_them(family):
    model, examples, _ = built(family)
    heads = [group for group in find_channel_groups(model, examples)[0] if group.kind == "heads"]
    assert [(group.count, len(group.producers)) for group in heads] == [(2 if family == "llama" else 4, 3)] * 2


def test_a_language_models_configuration_names_the_heads_that_are_left(channels_config, tmp_path):
    model = CausalLanguageModel(config={"model_type": "llama", **SMALL, "num_key_value_heads": 2}).eval()
    tokens = TOKENS["input_ids"]
    sparsifier = Channels(channels_config())
    sparsifier.prepare(model, Split(InMemory(tokens, tokens)))
    sizes = {key: model.config[key] for key in ("num_attention_heads", "num_key_value_heads", "head_dim")}
    assert sizes == {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8}
    assert model.config["intermediate_size"] == 24
    signature = Signature.of_one([9])
    save_model(tmp_path, model, variant="sparse", model_config={}, signature=signature, lineage={})
    with torch.no_grad():
        assert torch.equal(load_model(tmp_path, trusted=[])(tokens), model(tokens))


LISTED = {
    "opt": SMALL | {"ffn_dim": 48, "word_embed_proj_dim": 32},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 64, "n_positions": 64},
}


@pytest.mark.parametrize("family", LISTED)
def test_heads_go_where_only_the_tensors_tell_how_many_there_are(family, channels_config, tmp_path):
    config = {"model_type": family, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, **LISTED[family]}
    model = CausalLanguageModel(config=config).eval()
    tokens = TOKENS["input_ids"]
    sparsifier = Channels(channels_config())
    sparsifier.prepare(model, Split(InMemory(tokens, tokens)))
    assert {layer.after / layer.before for layer in sparsifier.report(model).layers} == {0.5}
    signature = Signature.of_one([9])
    save_model(tmp_path, model, variant="sparse", model_config={}, signature=signature, lineage={})
    loaded = load_model(tmp_path, trusted=[])
    with torch.no_grad():
        assert torch.equal(loaded(tokens), model(tokens))
        _, kept = loaded.step(tokens[:, :-1])
        torch.testing.assert_close(loaded.step(tokens[:, -1:], kept)[0], model(tokens)[:, -1], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("family", "width"), [("opt", "ffn_dim"), ("gpt2", "n_inner")])
def test_the_configuration_names_the_hidden_units_that_are_left(family, width, channels_config):
    config = {"model_type": family, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, **LISTED[family]}
    model = CausalLanguageModel(config=config).eval()
    split = Split(InMemory(TOKENS["input_ids"], TOKENS["input_ids"]))
    Channels(channels_config(structures=["neurons"])).prepare(model, split)
    hidden = 24 if family == "opt" else 64
    assert (model.config[width], getattr(model.network.config, width)) == (hidden, hidden)


def test_heads_stay_where_a_language_models_configuration_cannot_name_fewer(channels_config):
    model = CausalLanguageModel(config={"model_type": "llama", **SMALL}).eval()
    sparsifier = Channels(channels_config(skip=["*.layers.0.self_attn.q_proj"]))
    sparsifier.prepare(model, Split(InMemory(TOKENS["input_ids"], TOKENS["input_ids"])))
    report = sparsifier.report(model)
    assert {layer.name.rpartition(".")[2] for layer in report.layers} == {"gate_proj", "up_proj"}
    assert "configuration" in report.left_alone["network.model.layers.1.self_attn.q_proj"]
