"""Every task is looked at ahead, fitted, interrupted, taken up and evaluated in the same way."""

import numpy as np
import pytest
import torch
from torch import nn

from overwinter import training
from overwinter.data import Batches, InMemory, Split
from overwinter.data.collation import Collation
from overwinter.errors import ConfigError
from overwinter.models import adapt, own_models
from overwinter.tasks import (
    Classification,
    Forecasting,
    LanguageModeling,
    Multilabel,
    Regression,
    Segmentation,
    TokenClassification,
)
from tests.support.settings import fit_settings
from tests.training.test_loop import Dies, same_bits, weights

CPU = torch.device("cpu")
COUNT, LENGTH, WIDTH, WORDS = 24, 6, 4, 11


class Dense(nn.Module):
    def __init__(self, outputs=1):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(WIDTH, 8), nn.ReLU(), nn.Linear(8, outputs))

    def forward(self, numbers):
        return self.layers(numbers)


class Pixels(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 3, 1)

    def forward(self, image):
        return {"out": self.second(self.first(image).relu()), "aux": image}


class Words(nn.Module):
    """Tokens and a mask by name; a class for each token, or for the text."""

    def __init__(self, outputs=WORDS, pooled=False, positions=LENGTH):
        super().__init__()
        self.words, self.places = nn.Embedding(WORDS, 8), nn.Embedding(positions, 8)
        self.head, self.pooled = nn.Linear(8, outputs), pooled

    def forward(self, input_ids, attention_mask=None):
        hidden = self.words(input_ids) + self.places(torch.arange(input_ids.shape[1]))  # (n, length, width)
        if self.pooled:
            mask = attention_mask[..., None].float()
            hidden = (hidden * mask).sum(1) / mask.sum(1).clamp_min(1.0)
        return SimpleOutput(logits=self.head(hidden), hidden_states=hidden)


class SimpleOutput(dict):
    """A ModelOutput, as far as it matters."""


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(2 * WIDTH, 2)

    def forward(self, left, right):
        return self.head(torch.cat([left, right], dim=1))


def drawn(*shape):
    return torch.randn(COUNT, *shape, generator=torch.Generator().manual_seed(0))


def tokens(count=COUNT):
    return torch.randint(WORDS, (count, LENGTH), generator=torch.Generator().manual_seed(0))


def texts():
    """Texts of different lengths, as dicts."""
    rows = tokens().tolist()
    return [
        {"input_ids": row[: 2 + at % 5], "attention_mask": [1] * (2 + at % 5), "labels": at % 2}
        for at, row in enumerate(rows)
    ]


PADDED = Collation(pad={"input_ids": 0, "attention_mask": 0})
CASES = {
    "regression": (Regression(["price"]), Dense, {}, Split(InMemory(drawn(WIDTH), drawn(WIDTH).sum(1)))),
    "regression of shape (n, 1)": (
        Regression(["price"]),
        Dense,
        {},
        Split([(row.numpy().astype(np.float64), [float(row.sum())]) for row in drawn(WIDTH)]),
    ),
    "multilabel": (
        Multilabel(["a", "b"]),
        Dense,
        {"outputs": 2},
        Split(InMemory(drawn(WIDTH), drawn(WIDTH)[:, :2] > 0)),
    ),
    "forecasting": (Forecasting(["x"]), Dense, {"outputs": 3}, Split(InMemory(drawn(WIDTH), drawn(WIDTH)[:, :3]))),
    "segmentation": (
        Segmentation(["a", "b", "c"]),
        Pixels,
        {},
        Split(InMemory(drawn(1, 5, 5), torch.arange(COUNT * 25).reshape(COUNT, 5, 5) % 3)),
    ),
    "token classification": (
        TokenClassification(["a", "b"]),
        Words,
        {"outputs": 2},
        Split(InMemory(tokens(), tokens() % 2)),
    ),
    "language modeling": (LanguageModeling(), Words, {}, Split(InMemory(tokens(), tokens().roll(-1, 1)))),
    "texts of different lengths": (
        Classification(["even", "odd"]),
        Words,
        {"outputs": 2, "pooled": True},
        Split(texts(), collation=PADDED),
    ),
    "two inputs": (
        Classification(["even", "odd"]),
        Pair,
        {},
        Split([((row, row * 2), at % 2) for at, row in enumerate(drawn(WIDTH))]),
    ),
}


def look(task, model, arguments, split):
    with own_models():
        training.look_ahead(
            {"_target_": f"{__name__}.{model.__name__}", **arguments},
            split,
            {"train": fit_settings()},
            task=task,
            trusted=[__name__],
            seed=1,
            device=CPU,
        )


@pytest.mark.parametrize("name", CASES)
def test_every_task_passes_the_look_ahead_and_is_fitted_and_taken_up(name, tmp_path):
    task, kind, arguments, split = CASES[name]
    look(task, kind, arguments, split)

    def fit(**changes):
        torch.manual_seed(0)
        model = adapt(kind(**arguments))
        return training.fit(model, split, split, fit_settings(), task=task, seed=0, device=CPU, threads=1, **changes)

    undisturbed = fit()
    assert undisturbed.measures.keys() == task.measures.keys()
    assert undisturbed.history[-1].validation_loss < undisturbed.history[0].validation_loss
    assert training.evaluate(undisturbed.model, split, task).loss == pytest.approx(undisturbed.best_validation_loss)
    with pytest.raises(Dies.Killed):
        fit(checkpoints=tmp_path, loss=Dies(5, training.TaskLoss(task)))
    resumed = fit(checkpoints=tmp_path)
    assert resumed.resumed
    assert same_bits(weights(resumed), weights(undisturbed))


@pytest.mark.parametrize(
    "name", ["regression", "forecasting", "segmentation", "texts of different lengths", "two inputs"]
)
def test_every_task_can_be_distilled(name):
    task, kind, arguments, split = CASES[name]
    loss = training.DistillationLoss(task, adapt(kind(**arguments)), weight=0.5, temperature=2.0)
    result = training.fit(
        adapt(kind(**arguments)), split, split, fit_settings(epochs=1), task=task, seed=0, device=CPU, loss=loss
    )
    assert np.isfinite(result.history[0].training_loss)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("regression", {"outputs": 2}, r"In training mode: The model returns \[8, 2\]"),
        ("multilabel", {"outputs": 3}, r"In training mode: The model returns \[8, 3\]"),
        ("language modeling", {"outputs": 5}, "There is the token 10, and the model knows 5"),
        ("texts of different lengths", {"positions": 5}, r"IndexError.*input_ids: int64 \[8, 6\], attention_mask"),
    ],
)
def test_a_model_that_does_not_fit_the_task_or_the_data_is_refused(name, changes, message):
    task, kind, arguments, split = CASES[name]
    with pytest.raises(ConfigError, match=f"(?s){message}"):
        look(task, kind, arguments | changes, split)


def test_a_sample_longer_than_the_model_is_found_beyond_the_first_batch():
    numbered = Split(InMemory(torch.arange(COUNT), torch.arange(COUNT)))
    seen = next(Batches(numbered, batch_size=8, seed=1, device=CPU).epoch(0))[1].tolist()
    unseen = next(number for number in range(COUNT) if number not in seen)
    samples = [{"input_ids": [1] * (6 if at == unseen else 2 + at % 2), "label": at % 2} for at in range(COUNT)]
    split = Split([each | {"attention_mask": [1] * len(each["input_ids"])} for each in samples], collation=PADDED)
    task, kind, arguments, _ = CASES["texts of different lengths"]
    with pytest.raises(ConfigError, match="evaluation of the longest of 64 samples: IndexError"):
        look(task, kind, arguments | {"positions": 5}, split)


def test_a_changed_input_is_named():
    class Scales(Pair):
        def forward(self, left, right):
            right *= 2
            return super().forward(left, right)

    globals()["Scales"] = Scales
    task, _, _, split = CASES["two inputs"]
    with pytest.raises(ConfigError, match="changes its input '1' in place"):
        look(task, Scales, {}, split)


def test_whole_numbers_of_a_picture_are_explained():
    split = Split([(torch.full((1, 5, 5), 7, dtype=torch.uint8), torch.zeros(5, 5, dtype=torch.int64))] * 8)
    with pytest.raises(ConfigError, match=r"(?s)int64 \[8, 1, 5, 5\].*x.float\(\) / 255"):
        look(Segmentation(["a", "b", "c"]), Pixels, {}, split)
