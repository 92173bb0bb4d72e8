"""Every task keeps the contract: its targets, loss, measures, divergence and responses."""

import json

import numpy as np
import pytest
import torch

from overwinter import tasks
from overwinter.errors import ConfigError

LABELS = ("cat", "dog", "owl")
RANDOM = np.random.default_rng(0)


def logits(*shape):
    return RANDOM.normal(size=shape).astype(np.float32)


def classes(*shape):
    return RANDOM.integers(0, len(LABELS), size=shape)


# task, outputs, targets
CONTRACTS = {
    "classification": (tasks.Classification(LABELS), logits(8, 3), classes(8)),
    "multilabel": (tasks.Multilabel(LABELS), logits(8, 3), RANDOM.integers(0, 2, size=(8, 3))),
    "regression": (tasks.Regression(["price"], unit="USD"), logits(8, 1), logits(8)),
    "token_classification": (tasks.TokenClassification(LABELS), logits(8, 5, 3), classes(8, 5)),
    "segmentation": (tasks.Segmentation(LABELS), logits(8, 3, 4, 6), classes(8, 4, 6)),
    "forecasting": (tasks.Forecasting(["co2"]), logits(8, 12), logits(8, 12)),
    "language_modeling": (tasks.LanguageModeling(), logits(8, 5, 7), RANDOM.integers(0, 7, size=(8, 5))),
}


@pytest.fixture(params=sorted(CONTRACTS))
def contract(request):
    return CONTRACTS[request.param]


def perfect(name, outputs, targets):
    if name in ("regression", "forecasting"):
        return targets.reshape(outputs.shape)
    if name == "multilabel":
        return 40.0 * (2 * targets - 1)
    axis = 1 if name == "segmentation" else -1
    return np.moveaxis(40.0 * np.eye(outputs.shape[axis])[targets], -1, axis)


def test_targets_and_outputs_that_fit_are_taken(contract):
    task, outputs, targets = contract
    task.check_targets(targets)
    task.check_outputs(outputs, targets)


def test_the_loss_is_a_finite_scalar_with_a_gradient(contract):
    task, outputs, targets = contract
    leaf = torch.tensor(outputs, requires_grad=True)
    loss = task.loss(leaf, torch.as_tensor(targets))
    loss.backward()
    assert loss.shape == ()
    assert torch.isfinite(loss)
    assert leaf.grad.abs().sum() > 0


@pytest.mark.parametrize("name", sorted(CONTRACTS))
def test_perfect_outputs_are_the_best_by_every_measure_and_by_the_loss(name):
    task, outputs, targets = CONTRACTS[name]
    best = perfect(name, outputs, targets)
    found, others = task.measure(best, targets), task.measure(outputs, targets)
    assert set(found) == set(task.measures)
    assert task.headline.name in found
    for measure in task.measures.values():
        better = found[measure.name] - others[measure.name]
        assert better > 0 if measure.higher_is_better else better < 0, measure.name
    losses = [float(task.loss(torch.as_tensor(each), torch.as_tensor(targets))) for each in (best, outputs)]
    assert losses[0] < losses[1]


def test_divergence_is_zero_from_itself_and_grows_with_the_change(contract):
    task, outputs, _ = contract
    noise = RANDOM.normal(size=outputs.shape)
    same, near, far = (task.divergence(outputs + scale * noise, outputs) for scale in (0.0, 0.01, 0.5))
    assert same.shape == near.shape == (len(outputs),)
    assert same == pytest.approx(0.0, abs=1e-9)
    assert 0 < near.mean() < far.mean()


def test_a_response_is_json(contract):
    task, outputs, _ = contract
    assert json.loads(json.dumps(task.respond(outputs[0])))


def test_outputs_of_another_shape_are_refused_with_both_shapes(contract):
    task, outputs, targets = contract
    with pytest.raises(ConfigError, match="returns"):
        task.check_outputs(np.concatenate([outputs, outputs], axis=1), targets)


@pytest.mark.parametrize(
    ("task", "targets", "hint"),
    [
        (tasks.Classification(LABELS), np.array([0.25, 0.5]), r"between 0.25 and 0.5.*task=regression\?"),
        (tasks.Classification(LABELS), np.array([0, 3]), "the target 3"),
        (tasks.Classification(LABELS), np.array([-1, 2]), "the target -1"),
        (tasks.Classification(LABELS), np.zeros((2, 3)), r"task=multilabel or task=regression\?"),
        (tasks.Classification(LABELS), np.zeros((2, 3), int), r"task=segmentation or task=token_classification\?"),
        (tasks.Multilabel(LABELS), np.array([0, 1]), r"task=classification\?"),
        (tasks.Multilabel(LABELS), np.array([[0, 1, 2]]), r"the target 2.*task=regression\?"),
        (tasks.Regression(["x"]), np.array([1.0, np.nan]), "1 of 2 target values are NaN"),
        (tasks.Regression(["x"]), np.array([True, False]), r"task=classification\?"),
        (tasks.TokenClassification(LABELS), np.array([0, 1]), r"task=classification\?"),
        (tasks.TokenClassification(LABELS), np.full((2, 3), -100), "nothing to learn"),
        (tasks.Segmentation(LABELS), np.zeros((2, 3), int), r"task=token_classification\?"),
        (tasks.Forecasting(["x"]), np.zeros(4), r"task=regression\?"),
        (tasks.LanguageModeling(), np.zeros((2, 3)), "number of the next token"),
    ],
)
def test_targets_of_another_task_are_refused_with_what_would_fit(task, targets, hint):
    with pytest.raises(ConfigError, match=hint):
        task.check_targets(targets)


def test_what_does_not_count_changes_no_figure():
    task = CONTRACTS["token_classification"][0]
    outputs, targets = logits(2, 4, 3), np.array([[0, 1, 2, 0], [1, 1, 0, 2]])
    longer = np.concatenate([outputs, logits(2, 2, 3)], axis=1)
    padded = np.concatenate([targets, np.full((2, 2), -100)], axis=1)
    assert task.measure(longer, padded) == task.measure(outputs, targets)
    losses = [
        float(task.loss(torch.as_tensor(each), torch.as_tensor(wanted)))
        for each, wanted in ((outputs, targets), (longer, padded))
    ]
    assert losses[0] == pytest.approx(losses[1])
