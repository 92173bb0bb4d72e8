"""Data sets larger than memory: whatever is done with them, a few batches of their samples are held at a time."""

import weakref

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset, IterableDataset

from overwinter import training
from overwinter.data import Data, check_splits
from overwinter.tasks import Classification
from tests.support.settings import fit_settings

SAMPLES, AT_ONCE = 3000, 256 + 32  # a batch that is evaluated, and one that was trained on


class Held:
    """How many samples are held, and how many there were at most."""

    now = most = 0

    def sample(self, number):
        self.now += 1
        self.most = max(self.most, self.now)
        made = torch.full((4,), float(number % 2)) + 0.001 * number
        weakref.finalize(made, self.let_go)
        return made, number % 2

    def let_go(self):
        self.now -= 1


class MapStyle(Dataset):
    def __init__(self, held, start):
        self.held, self.start = held, start

    def __len__(self):
        return SAMPLES

    def __getitem__(self, index):
        return self.held.sample(self.start + index)


class Stream(IterableDataset):
    def __init__(self, held, start):
        self.samples = MapStyle(held, start)

    def __iter__(self):
        return (self.samples[index] for index in range(SAMPLES))


class Source:
    labels, preprocessing = ("even", "odd"), {}

    def __init__(self, kind, held):
        self.splits = {name: kind(held, SAMPLES * place) for place, name in enumerate(("train", "validation", "test"))}

    def split(self, name):
        return self.splits[name]


@pytest.mark.parametrize("kind", [MapStyle, Stream])
def test_no_more_than_a_few_batches_are_held(kind):
    held, task = Held(), Classification(Source.labels)
    data = Data(Source(kind, held)).use(task)
    assert check_splits(data) == ()
    train, validation = data.split("train"), data.split("validation")
    settings, model = fit_settings(batch_size=32, epochs=1), nn.Linear(4, 2)
    fitted = training.fit(model, train, validation, settings, task=task, seed=0, device=torch.device("cpu"))
    training.evaluate(fitted.model, data.split("test"), task)
    train.spread(64, seed=0)
    assert held.most <= AT_ONCE
    assert held.now == 0
