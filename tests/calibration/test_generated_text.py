from typing import ClassVar

import pytest
import torch
from torch import nn

from overwinter.calibration import generated_text as generation
from overwinter.calibration.precision import is_quick
from overwinter.errors import ConfigError
from overwinter.quantization import generate_text


class Counting:
    """Model that predicts the next number, almost surely."""

    def __init__(self) -> None:
        self.longest = 0

    def step(self, tokens, kept=0):
        kept = (kept or 0) + tokens.shape[1]
        self.longest = max(self.longest, kept)
        return 50.0 * nn.functional.one_hot((tokens[:, -1] + 1) % 11, 11).float(), kept


def test_windows_follow_the_models_own_odds_and_are_joined_from_short_pieces():
    model = Counting()
    text = generate_text(model, 3, 600, seed=0)
    assert text.shape == (3, 600)
    assert text.dtype == torch.int64
    jumps = ((text[:, 1:] - text[:, :-1]) % 11 != 1).sum(1)
    assert int(jumps.max()) <= 2  # only where a piece begins
    assert model.longest < 256


def test_windows_begin_with_the_leading_tokens_and_every_piece_follows_them():
    model = Counting()
    text = generate_text(model, 3, 600, seed=0, leading=[7, 9])
    assert text.shape == (3, 600)
    assert text[:, :2].tolist() == [[7, 9]] * 3
    assert len(set(text[:, 2].tolist())) > 1
    assert model.longest == 2 + 200 - 1  # three pieces of 200, each after both of them; the last token is not read


def test_the_seed_decides():
    first, same, other = (generate_text(Counting(), 20, 4, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    assert len(set(first[:, 0].tolist())) > 3


def test_words_come_as_often_as_their_odds_say():
    odds = torch.tensor([[0.5, 0.0, 0.3, 0.2]]).expand(20_000, 4)
    drawn = generation._drawn(odds, torch.Generator().manual_seed(0))
    shares = torch.bincount(drawn[:, 0], minlength=4) / len(drawn)
    torch.testing.assert_close(shares, odds[0], atol=0.01, rtol=0)
    assert shares[1] == 0


def test_progress_is_reported_token_by_token_over_all_batches():
    seen = []
    generate_text(Counting(), 70, 3, seed=0, progress=lambda done, total: seen.append(done / total))
    assert seen == pytest.approx([1 / 3, 1 / 2, 5 / 6, 1])


def test_what_writes_no_text_is_refused():
    with pytest.raises(ConfigError, match=r"Linear is not a language model.*quantize\.calibration_text=data"):
        generate_text(nn.Linear(2, 2), 1, 4, seed=0)


class Tiny(nn.Module):
    kinds: ClassVar[set[torch.dtype]] = set()

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(11, 11)

    def step(self, tokens, kept=0):
        self.kinds.add(self.head.weight.dtype)
        return self.head(nn.functional.one_hot(tokens[:, -1], 11).to(self.head.weight.dtype)), kept


def test_a_module_writes_in_bfloat16_where_that_is_quick_and_stays_as_it_was():
    model = Tiny()
    generate_text(model, 2, 4, seed=0)
    assert Tiny.kinds == {torch.bfloat16 if is_quick(torch.device("cpu")) else torch.float32}
    assert model.head.weight.dtype == torch.float32
