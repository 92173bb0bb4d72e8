import math

import pytest
import torch
from torch import nn

from overwinter.calibration.following import AdamFit, descend, draw_batches
from overwinter.errors import ConfigError, OverwinterError


def fit(**changes):
    return AdamFit(**({"steps": 6, "learning_rate": 0.1, "batch_size": 4} | changes))


def test_every_sample_is_drawn_once_before_any_is_drawn_again():
    calibration = [torch.zeros(6, 3), torch.zeros(3, 5)]
    draws = draw_batches(calibration, fit(steps=6))
    for round_ in (draws[:3], draws[3:]):
        seen = sorted((draw.which, sample) for draw in round_ for sample in draw.samples)
        assert seen == [(0, sample) for sample in range(6)] + [(1, sample) for sample in range(3)]
    assert draws == draw_batches(calibration, fit(steps=6))
    assert draws != draw_batches(calibration, fit(steps=6, seed=1))


def test_nothing_to_draw_from_is_refused():
    with pytest.raises(ConfigError, match="at least one calibration sample"):
        draw_batches([torch.zeros(0, 3)], fit())


def test_the_learning_rate_falls_to_zero_along_a_cosine_and_only_the_asked_tensors_move():
    moving, still = (nn.Parameter(torch.ones(2)) for _ in range(2))
    optimizer = torch.optim.SGD([moving], lr=1.0)
    rates = []

    def loss_at(_step):
        rates.append(optimizer.param_groups[0]["lr"])
        return (moving.square() * still).sum()

    losses = descend(loss_at, optimizer, 4, key="group.key")
    assert rates == pytest.approx([0.5 + 0.5 * math.cos(math.pi * step / 4) for step in range(4)])
    assert len(losses) == 4
    assert torch.equal(still, torch.ones(2))
    assert still.grad is None
    assert moving.grad is None


def test_a_loss_that_is_no_number_stops_before_the_step():
    moving = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([moving], lr=0.1)
    with pytest.raises(OverwinterError, match=r"diverged at step 1.*group\.key\.learning_rate"):
        descend(lambda _step: moving.sum() * math.nan, optimizer, 3, key="group.key")
    assert torch.equal(moving.detach(), torch.ones(2))
