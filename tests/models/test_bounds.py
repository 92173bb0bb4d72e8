import copy
import resource

import pytest
import torch
from torch import nn

from overwinter.errors import IntegrityError
from overwinter.models.bounds import Bounded, bounded


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


@pytest.mark.parametrize("key", ["num_layers", "num_hidden_layers", "n_layer"])
def test_more_layers_than_any_model_has_are_refused_however_deep(key):
    with pytest.raises(IntegrityError, match=f"{key}=10001 is above 10000"), bounded({"of": {key: 10_001}}, 1000, 2):
        pytest.fail("it was built")
    with bounded({key: 10_000, "layers": ["full"]}, 1000, 2):
        pass


@pytest.mark.parametrize(
    "make",
    [lambda: [None] * 2**32, lambda: bytearray(2**34), lambda: [bytes(2**20) for _ in range(2**14)]],
    ids=["list", "bytes", "many"],
)
def test_what_is_no_tensor_takes_no_more_memory_either(make):
    before = resource.getrlimit(resource.RLIMIT_DATA)
    with pytest.raises(IntegrityError, match="would take more than 1024 MiB"), bounded({}, 1000, 2):
        make()
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


def test_copies_of_a_layer_take_no_more_memory_either():
    layer = nn.Linear(8192, 8192)  # 256 MiB
    with pytest.raises((IntegrityError, RuntimeError), match=r"would take|can't allocate"), bounded({}, 1000, 2):
        [copy.deepcopy(layer) for _ in range(100)]
