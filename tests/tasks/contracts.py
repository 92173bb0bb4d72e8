"""One example of every task: the task, outputs of a model, and targets."""

import numpy as np

from overwinter import tasks

LABELS = ("cat", "dog", "owl")
RANDOM = np.random.default_rng(0)


def logits(*shape):
    return RANDOM.normal(size=shape).astype(np.float32)


def classes(*shape):
    return RANDOM.integers(0, len(LABELS), size=shape)


CONTRACTS = {
    "classification": (tasks.Classification(LABELS), logits(8, 3), classes(8)),
    "multilabel": (tasks.Multilabel(LABELS), logits(8, 3), RANDOM.integers(0, 2, size=(8, 3)).astype(np.float32)),
    "regression": (tasks.Regression(["price"], unit="USD"), logits(8, 1), logits(8)),
    "token_classification": (tasks.TokenClassification(LABELS), logits(8, 5, 3), classes(8, 5)),
    "segmentation": (tasks.Segmentation(LABELS), logits(8, 3, 4, 6), classes(8, 4, 6)),
    "forecasting": (tasks.Forecasting(["co2"]), logits(8, 12), logits(8, 12)),
    "embeddings": (tasks.Embeddings(()), logits(8, 5), logits(8, 5)),
    "language_modeling": (tasks.LanguageModeling(), logits(8, 5, 7), RANDOM.integers(0, 7, size=(8, 5))),
}


def measured(task, outputs, targets):
    return task.measure(task.rows(outputs, targets))
