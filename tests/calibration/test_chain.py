"""Whether blocks are found however they are called, and left together where they cannot be run one by one."""

import pytest
import torch
from torch import nn

from overwinter.calibration.chain import call_block, open_chain
from overwinter.models.adapting import adapt


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


def batch(count, length):
    tokens = torch.randint(0, 20, (count, length), generator=torch.Generator().manual_seed(length))
    return {"input_ids": tokens, "attention_mask": torch.ones(count, length)}


@pytest.mark.parametrize("kind", [Text, ByKeyword])
def test_blocks_one_by_one_give_what_the_whole_gives_for_batches_of_other_lengths(kind):
    torch.manual_seed(0)
    model, batches = adapt(kind().eval()), [batch(2, 5), batch(3, 7)]
    chain = open_chain(model, batches)
    assert list(chain.blocks) == ["blocks.0.", "blocks.1.", "blocks.2."]
    with torch.no_grad():
        for index, rest in enumerate(chain.rest):
            states = chain.inputs[index]
            for block in chain.blocks.values():
                states = call_block(block, states, rest, "cpu")
            assert torch.equal(model.head(states), model(batches[index]))


@pytest.mark.parametrize("kind", [OtherMasks, WithCache])
def test_blocks_with_other_arguments_or_a_cache_stay_together(kind):
    model, batches = adapt(kind().eval()), [batch(2, 5)]
    chain = open_chain(model, batches)
    assert list(chain.blocks) == [""]
    with torch.no_grad():
        assert torch.equal(call_block(model, chain.inputs[0], chain.rest[0], "cpu"), model(batches[0]))
