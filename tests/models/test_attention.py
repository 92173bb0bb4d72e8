"""torch's attention with heads removed answers as the whole one whose same heads are silent."""

import copy

import pytest
import torch
from torch import nn

from overwinter.models import replace_tensors
from overwinter.models.attention import FewerHeads, declare_heads

HEADS, WIDTH, LEFT = 4, 8, [0, 3]
ENTRIES = torch.tensor([head * 2 + part for head in LEFT for part in range(2)])  # of the two heads that stay


def whole_and_fewer(**options):
    torch.manual_seed(0)
    whole = nn.MultiheadAttention(WIDTH, HEADS, **options).eval()
    whole.requires_grad_(False)
    if whole.in_proj_bias is not None:
        whole.in_proj_bias.normal_()
    fewer = copy.deepcopy(whole)
    rows = torch.cat([ENTRIES, WIDTH + ENTRIES, 2 * WIDTH + ENTRIES])
    own = {
        name: getattr(whole, name)[rows]
        for name in ("in_proj_weight", "in_proj_bias")
        if getattr(whole, name) is not None
    }
    replace_tensors(fewer, own)
    replace_tensors(fewer.out_proj, {"weight": whole.out_proj.weight[:, ENTRIES]})
    silent = torch.tensor([entry for entry in range(WIDTH) if entry not in ENTRIES])
    whole.out_proj.weight[:, silent] = 0.0
    return whole, fewer


MASKS = {
    "none": {},
    "causal": {"attn_mask": torch.ones(3, 3, dtype=torch.bool).triu(1), "is_causal": True},
    "padding": {"key_padding_mask": torch.tensor([[False, False, True], [False, False, False]])},
    "both, as numbers": {"attn_mask": torch.tensor([0.5, -1.0, 2.0]).expand(3, 3),
                         "key_padding_mask": torch.tensor([[0.0, 1.0, 0.5], [0.0, 0.0, -1.0]])},
}  # fmt: skip


@pytest.mark.parametrize("masks", MASKS)
@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_the_heads_that_are_left_read_what_they_read_before(bias, batch_first, need_weights, masks):
    whole, fewer = whole_and_fewer(bias=bias, batch_first=batch_first)
    states = torch.randn(2, 3, WIDTH).transpose(0, 0 if batch_first else 1)
    options = {"need_weights": need_weights, "average_attn_weights": False, **MASKS[masks]}
    for others in (states, torch.randn_like(states)):
        expected, expected_weights = whole(states, others, others, **options)
        read, weights = fewer(states, others, others, **options)
        torch.testing.assert_close(read, expected)
        if need_weights:
            torch.testing.assert_close(weights, expected_weights[:, LEFT])
        else:
            assert weights is None
    assert isinstance(fewer, FewerHeads)
    assert (fewer.num_heads, fewer.embed_dim) == (2, WIDTH)


def test_a_single_sequence_a_mask_for_each_head_and_averages():
    whole, fewer = whole_and_fewer()
    tokens = torch.randn(3, WIDTH)
    mask = torch.rand(HEADS, 3, 3)
    torch.testing.assert_close(
        fewer(tokens, tokens, tokens, attn_mask=mask[LEFT])[0], whole(tokens, tokens, tokens, attn_mask=mask)[0]
    )
    assert fewer(tokens, tokens, tokens)[1].shape == (3, 3)
    batch = torch.randn(3, 2, WIDTH)
    masks = torch.rand(2, HEADS, 3, 3)
    expected = whole(batch, batch, batch, attn_mask=masks.flatten(0, 1))[0]
    read, weights = fewer(batch, batch, batch, attn_mask=masks[:, LEFT].flatten(0, 1))
    torch.testing.assert_close(read, expected)
    assert weights.shape == (2, 3, 3)


def test_causal_without_its_mask_is_refused_as_by_torch():
    _, fewer = whole_and_fewer()
    states = torch.randn(3, 2, WIDTH)
    with pytest.raises(ValueError, match="there is no attn_mask"):
        fewer(states, states, states, is_causal=True)


def test_attention_is_dropped_while_training_only():
    _, fewer = whole_and_fewer(dropout=0.9)
    states = torch.randn(3, 2, WIDTH)
    assert torch.equal(fewer(states, states, states)[0], fewer(states, states, states)[0])
    assert (fewer.train()(states, states, states)[1] == 0).any()


@pytest.mark.parametrize("other", [nn.MultiheadAttention(8, 2, kdim=4), nn.MultiheadAttention(8, 2), nn.Linear(2, 2)])
def test_a_layer_whose_heads_are_all_there_stays_what_it_is(other):
    kind = type(other)
    declare_heads(other)
    assert type(other) is kind
