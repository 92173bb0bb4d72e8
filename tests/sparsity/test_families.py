"""Channels of models of the transformers library, as the data gives them their inputs: several by name."""

import pytest
import torch

from overwinter.models.adapting import adapt
from overwinter.sparsity import find_channel_groups
from overwinter.sparsity.surgery import keep_channels, silence_channels

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
    "bert": (CLASSES, SMALL, TOKENS, 3),
    "llama": (TEXTS, SMALL | {"num_key_value_heads": 2}, TOKENS, 2),
    "opt": (TEXTS, SMALL | {"ffn_dim": 48, "word_embed_proj_dim": 32}, TOKENS, 2),
    "gpt2": (TEXTS, {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 64, "n_positions": 64}, TOKENS, 0),
    "vit": (PICTURES, SMALL | {"image_size": 32, "patch_size": 8}, IMAGES, 2),
    "convnext": (PICTURES, {"hidden_sizes": [8, 12, 16, 20], "depths": [1, 1, 1, 1]}, IMAGES, 4),
    "resnet": (PICTURES, {"embedding_size": 8, "hidden_sizes": [8, 12], "depths": [1, 1], "layer_type": "basic"},
               IMAGES, 2),
}  # fmt: skip


def built(family):
    task, changes, examples, groups = FAMILIES[family]
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(family, bos_token_id=1, eos_token_id=2, pad_token_id=0, **changes)
    return adapt(getattr(transformers, f"AutoModel{task}").from_config(config).eval()), examples, groups


@pytest.mark.parametrize("family", FAMILIES)
def test_half_of_the_hidden_units_go_and_the_rest_answers_as_if_they_were_silent(family):
    model, examples, expected = built(family)
    smaller, silenced = built(family)[0], built(family)[0]
    groups, left_alone = find_channel_groups(model, examples)
    assert len(groups) == expected
    for group in groups:
        keep = torch.arange(0, group.count, 2)
        keep_channels(smaller, group, keep)
        silence_channels(silenced, group, keep)
    with torch.no_grad():
        torch.testing.assert_close(smaller(examples), silenced(examples), atol=1e-4, rtol=1e-4)
    smaller.train()(examples).sum().backward()
    producers = {name for group in groups for name in group.producers}
    assert not producers.intersection(left_alone)
    assert {n for n, module in model.named_modules() if type(module) is torch.nn.Linear} <= producers | set(left_alone)
