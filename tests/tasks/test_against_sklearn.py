"""The measures are those of scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from overwinter import tasks
from tests.tasks.contracts import measured

LABELS = tuple("abcdefg")
SEEDS = st.integers(0, 2**32 - 1)
quick = settings(max_examples=25, deadline=None)


@quick
@given(seed=SEEDS, classes=st.integers(2, 7), samples=st.integers(1, 40))
def test_classification(seed, classes, samples):
    random = np.random.default_rng(seed)
    logits, targets = random.normal(size=(samples, classes)), random.integers(0, classes, samples)
    found = measured(tasks.Classification(LABELS[:classes]), logits, targets)
    predicted = logits.argmax(axis=1)
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(targets, predicted))
    assert found["f1_macro"] == pytest.approx(metrics.f1_score(targets, predicted, average="macro", zero_division=0))
    recalls = metrics.recall_score(targets, predicted, average=None, labels=np.unique(targets), zero_division=0)
    assert found["worst_class_accuracy"] == pytest.approx(recalls.min())
    if classes > 5:
        top = metrics.top_k_accuracy_score(targets, logits, k=5, labels=range(classes))
        assert found["top5_accuracy"] == pytest.approx(top)


@quick
@given(seed=SEEDS, labels=st.integers(2, 5))  # of one, scikit-learn has the figures of a binary class
def test_multilabel(seed, labels):
    random = np.random.default_rng(seed)
    logits = np.round(random.normal(size=(40, labels)), 1)  # with equal scores
    targets = (random.random((40, labels)) < 0.4).astype(np.float32)
    targets[:2] = [[0], [1]]  # each label with and without
    found = measured(tasks.Multilabel(LABELS[:labels]), logits, targets)
    predicted = (logits >= 0).astype(int)
    assert found["f1_micro"] == pytest.approx(metrics.f1_score(targets, predicted, average="micro", zero_division=0))
    per_label = [metrics.f1_score(targets[:, each], predicted[:, each], zero_division=0) for each in range(labels)]
    assert found["f1_macro"] == pytest.approx(np.mean(per_label))
    assert found["exact_match"] == pytest.approx(metrics.accuracy_score(targets, predicted))
    assert found["roc_auc"] == pytest.approx(metrics.roc_auc_score(targets, logits, average="macro"))


@quick
@given(seed=SEEDS, values=st.integers(1, 3))
def test_regression(seed, values):
    random = np.random.default_rng(seed)
    outputs, targets = random.normal(size=(20, values)), random.normal(size=(20, values))
    found = measured(tasks.Regression(LABELS[:values]), outputs, targets)
    assert found["r2"] == pytest.approx(metrics.r2_score(targets, outputs))
    assert found["mae"] == pytest.approx(metrics.mean_absolute_error(targets, outputs))
    assert found["rmse"] == pytest.approx(np.sqrt(metrics.mean_squared_error(targets, outputs)))


@quick
@given(seed=SEEDS)
def test_segmentation(seed):
    random = np.random.default_rng(seed)
    logits, targets = random.normal(size=(3, 4, 5, 6)), random.integers(0, 4, (3, 5, 6))
    found = measured(tasks.Segmentation(LABELS[:4]), logits, targets)
    predicted = logits.argmax(axis=1).ravel()
    assert found["mean_iou"] == pytest.approx(metrics.jaccard_score(targets.ravel(), predicted, average="macro"))
    assert found["pixel_accuracy"] == pytest.approx(metrics.accuracy_score(targets.ravel(), predicted))


@quick
@given(seed=SEEDS)
def test_token_classification(seed):
    random = np.random.default_rng(seed)
    logits, targets = random.normal(size=(3, 6, 4)), random.integers(0, 4, (3, 6))
    targets[:, 4:] = -100
    found = measured(tasks.TokenClassification(LABELS[:4]), logits, targets)
    truth, predicted = targets[:, :4].ravel(), logits.argmax(axis=-1)[:, :4].ravel()
    assert found["f1_macro"] == pytest.approx(metrics.f1_score(truth, predicted, average="macro", zero_division=0))


@quick
@given(seed=SEEDS)
def test_perplexity_is_the_exponential_of_the_mean_log_loss(seed):
    random = np.random.default_rng(seed)
    logits, targets = random.normal(size=(3, 6, 4)), random.integers(0, 4, (3, 6))
    found = measured(tasks.LanguageModeling(), logits, targets)
    odds = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    mean_nats = metrics.log_loss(targets.ravel(), odds.reshape(-1, 4), labels=range(4))
    assert found["perplexity"] == pytest.approx(np.exp(mean_nats))


def test_a_constant_that_is_missed_has_no_explained_variance():
    found = measured(tasks.Regression(["x"]), np.array([1.0, 2.0]), np.array([1.0, 1.0]))
    assert found["r2"] == metrics.r2_score([1.0, 1.0], [1.0, 2.0])
