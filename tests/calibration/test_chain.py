"""Whether blocks are found however they are called, and left together where they cannot be run one by one."""

import pytest
import torch
from torch import nn

from overwinter.calibration.chain import call_block, open_chain
from overwinter.errors import OverwinterError
from overwinter.models.adapting import adapt
from tests.support.decoders import decoder, tokens

WALKED = ["cohere2", "gemma2", "gemma3_text", "gpt2", "gpt_oss", "llama", "mistral", "mixtral", "opt", "phi", "qwen2"]


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.enter, self.leave = nn.Linear(8, 16), nn.Linear(16, 8)

    def forward(self, states, mask=None, cache=None):
        return (states + mask * self.leave(torch.relu(self.enter(states))),)


class Text(nn.Module):
    """A stack of blocks that takes tokens and a mask by name."""

    def __init__(self):
        super().__init__()
        self.embedding, self.head = nn.Embedding(20, 8), nn.Linear(8, 3)
        self.blocks = nn.ModuleList(Block() for _ in range(3))

    def forward(self, input_ids, attention_mask):
        states, mask = self.embedding(input_ids), attention_mask[:, :, None].float()
        for number, block in enumerate(self.blocks):
            (states,) = self.call(number, block, states, mask)
        return {"logits": self.head(states)}

    def call(self, number, block, states, mask):
        return block(states, mask)


class ByKeyword(Text):
    def call(self, number, block, states, mask):
        return block(mask=mask, states=states) if number < 0 else block(states=states, mask=mask)


class OtherMasks(Text):
    def call(self, number, block, states, mask):
        return block(states, mask * (number + 1))


class WithCache(Text):
    def call(self, number, block, states, mask):
        return block(states, mask, cache=self.embedding)


class InPlace(Text):
    """Blocks that write into what they are given."""

    def call(self, number, block, states, mask):
        return block(states.mul_(1.5), mask)


class Counting(Text):
    """Blocks that answer by how often they were called before."""

    def call(self, number, block, states, mask):
        self.calls = getattr(self, "calls", 0) + 1
        return block(states * self.calls, mask)


def batch(count, length):
    tokens = torch.randint(0, 20, (count, length), generator=torch.Generator().manual_seed(length))
    return {"input_ids": tokens, "attention_mask": torch.ones(count, length)}


def walked(chain, index):
    """What the last block gives for a calibration batch, when the blocks are called one by one."""
    states = chain.inputs[index]
    for prefix, block in chain.blocks.items():
        states = call_block(block, states, chain.rest[prefix][index], "cpu")
    return states


@pytest.mark.parametrize("kind", [Text, ByKeyword, OtherMasks])
@torch.no_grad()
def test_blocks_one_by_one_give_what_the_whole_gives_for_batches_of_other_lengths(kind):
    torch.manual_seed(0)
    model, batches = adapt(kind().eval()), [batch(2, 5), batch(3, 7)]
    chain = open_chain(model, batches)
    assert list(chain.blocks) == ["blocks.0.", "blocks.1.", "blocks.2."]
    for index, inputs in enumerate(batches):
        assert torch.equal(model.head(walked(chain, index)), model(inputs))


@pytest.mark.parametrize("kind", [WithCache, InPlace])
@torch.no_grad()
def test_blocks_with_a_cache_or_that_overwrite_their_input_stay_together(kind):
    model, batches = adapt(kind().eval()), [batch(2, 5)]
    chain = open_chain(model, batches)
    assert list(chain.blocks) == [""]
    assert torch.equal(walked(chain, 0), model(batches[0]))


def test_a_model_that_answers_the_same_sample_in_two_ways_is_refused():
    with pytest.raises(OverwinterError, match="other outputs when it is called again"):
        open_chain(adapt(Counting().eval()), [batch(2, 5)])


@pytest.mark.parametrize("family", WALKED)
@torch.no_grad()
def test_the_blocks_of_every_family_one_by_one_give_the_very_logits_of_the_whole(family):
    model, batches = decoder(family), [tokens(3, 9), tokens(2, 30)]
    chain = open_chain(model, batches)
    assert len(chain.blocks) == 4
    last = list(chain.blocks.values())[-1]
    for index, inputs in enumerate(batches):
        wanted = []
        handle = last.register_forward_hook(lambda *call, kept=wanted: kept.append(call[2]))
        model(inputs)
        handle.remove()
        output = wanted[0] if isinstance(wanted[0], torch.Tensor) else wanted[0][0]
        assert torch.equal(walked(chain, index), output)


@pytest.mark.parametrize("family", ["gemma2", "gemma3_text", "cohere2", "gpt_oss"])
@torch.no_grad()
def test_each_block_keeps_its_own_mask_and_rotary_base(family):
    chain = open_chain(decoder(family), [tokens(2, 30)])
    sliding, full, *_ = (each[0].keywords for each in chain.rest.values())
    assert sliding["attention_mask"] is not full["attention_mask"]
    alike = all(map(torch.equal, sliding["position_embeddings"], full["position_embeddings"]))
    assert alike is (family != "gemma3_text")
