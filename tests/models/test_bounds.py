import pytest
import torch
from torch import nn

from overwinter.errors import IntegrityError
from overwinter.models.bounds import Bounded


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.empty(10**6, 10**6),
        lambda: torch.zeros((10**6, 10**6)),
        lambda: torch.ones(size=(2**40,)),
        lambda: torch.arange(2**40),
        lambda: torch.eye(10**6),
        lambda: torch.full((2**40,), 1.0),
        lambda: nn.Linear(10**6, 10**6),
        lambda: [torch.empty(1) for _ in range(10**5)],
        lambda: [nn.Linear(8, 8) for _ in range(10**5)],
    ],
)
def test_what_the_weights_do_not_account_for_is_refused_before_memory_is_taken(make):
    with pytest.raises(IntegrityError, match="would take more than 1024 MiB or 4064 steps"), Bounded(1000, 2):
        make()


def test_what_they_account_for_is_made():
    with Bounded(1 << 26, 2):
        assert torch.empty(1 << 29, device="meta").numel() == 1 << 29
    with Bounded(100, 1):
        assert nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.LSTM(4, 4)).training
