"""Sparsity and its fine-tuning, with the dense model as its teacher, for models of every task."""

import copy
import math

import pytest
import torch

from overwinter.data import InMemory, Split
from overwinter.models import counted_sparsity
from overwinter.models.adapting import adapt
from overwinter.sparsity import Channels, Magnitude
from overwinter.training import DistillationLoss, evaluate, fit
from tests.support.kinds import cases
from tests.support.settings import fit_settings

FOUND = {
    "regression": {"first", "second"},
    "multilabel": {"first", "second"},
    "forecasting": {"smooth"},
    "segmentation": {"first", "second"},
    "token_classification": {"attention", "up"},
}


def fine_tuned(name, sparsifier):
    model, inputs, targets, task = cases()[name]
    model = adapt(model).eval()
    split = Split(InMemory(inputs, targets)).use(task)
    dense = copy.deepcopy(model)
    hooks = sparsifier.prepare(model, split)
    fit(
        model, split, split, fit_settings(epochs=2, batch_size=8), task=task, seed=0, device=torch.device("cpu"),
        threads=1, hooks=hooks, loss=DistillationLoss(task, dense, weight=0.5, temperature=2.0),
    )  # fmt: skip
    score = evaluate(model, split, task)
    assert math.isfinite(score.loss)
    assert math.isfinite(score.measures[task.headline.name])
    return model, sparsifier.report(model)


@pytest.mark.parametrize("name", cases())
def test_single_weights_go_while_the_teacher_is_followed(name, magnitude_config):
    model, report = fine_tuned(name, Magnitude(magnitude_config(amount=0.5)))
    assert report.reached == pytest.approx(0.5, abs=0.01)
    assert counted_sparsity(model) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("name", cases())
def test_channels_go_before_the_teacher_is_followed(name, channels_config):
    _, report = fine_tuned(name, Channels(channels_config()))
    found = {layer.name for layer in report.layers}
    assert (
        found == FOUND[name]
        if name in FOUND
        else all("mlp" in layer or "self_attn" in layer for layer in found) and found
    )
    if hasattr(cases()[name][0], "memory"):
        assert "LSTM" in report.left_alone["memory"]
