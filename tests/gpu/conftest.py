"""What computes on a GPU. Where there is none, tests/test_gpu.py runs these on the stand-in, in a process apart."""

from pathlib import Path

import pytest
import torch
from torch import nn

from tests.support.networks import CONVNET, seasoned

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip where there is no GPU."""
    if not torch.cuda.is_available():
        skipping = pytest.mark.skip(reason="there is no GPU in this process; tests/test_gpu.py runs it on the stand-in")
        for item in items:
            if HERE in item.path.parents:
                item.add_marker(skipping)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.before, self.enter, self.leave = nn.LayerNorm(16), nn.Linear(16, 16), nn.Linear(16, 16)

    def forward(self, inputs: torch.Tensor, *, turns: tuple[torch.Tensor, None]) -> tuple[torch.Tensor]:
        return (inputs + self.leave(torch.relu(self.enter(self.before(inputs) * turns[0]))),)


class Language(nn.Module):
    """A language model with a tied head, a chain of blocks, and something made of the tokens that all blocks read."""

    def __init__(self, blocks: int = 2) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(20, 16), nn.Linear(16, 20, bias=False)
        self.blocks = nn.ModuleList(Block() for _ in range(blocks))
        self.register_buffer("angles", torch.linspace(0.5, 1.5, 64))
        self.head.weight = self.embedding.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        values, turns = self.embedding(tokens), (self.angles[: tokens.shape[1], None], None)
        for block in self.blocks:
            (values,) = block(values, turns=turns)
        return self.head(values)

    def step(self, tokens: torch.Tensor, kept: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        kept = tokens if kept is None else torch.cat([kept, tokens], 1)
        return self(kept)[:, -1].float(), kept


@pytest.fixture
def language() -> nn.Module:
    torch.manual_seed(0)
    return Language().eval()


@pytest.fixture
def tokens() -> torch.Tensor:
    return torch.randint(0, 20, (12, 6), generator=torch.Generator().manual_seed(0))


@pytest.fixture
def convnet() -> nn.Module:
    """A ConvNet whose batch normalisation has seen data."""
    return seasoned(CONVNET)
