import pytest
import torch
from torch import nn
from torch.nn import functional

from overwinter.data import InMemory, Split
from overwinter.tasks import Classification, Regression
from overwinter.training import evaluate

CLASSES = Classification(["a", "b", "c"])


def test_it_scores_all_samples_over_several_batches():
    inputs = torch.randn(601, 3, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(601) % 3
    score = evaluate(nn.Identity(), Split(InMemory(inputs, labels)), CLASSES)
    assert score.measures["accuracy"] == pytest.approx(float((inputs.argmax(1) == labels).float().mean()))
    assert score.loss == pytest.approx(float(functional.cross_entropy(inputs, labels)), rel=1e-5)
    assert score.measures.keys() == CLASSES.measures.keys()


def test_it_reads_any_data_set_in_batches_and_any_task():
    numbers = [(torch.tensor([float(number)]), float(number)) for number in range(300)]
    score = evaluate(nn.Identity(), Split(numbers), Regression(["x"]))
    assert score.loss == 0
    assert score.measures["r2"] == 1.0


def test_the_loss_is_not_smoothed():
    inputs, labels = torch.randn(9, 3), torch.arange(9) % 3
    score = evaluate(nn.Identity(), Split(InMemory(inputs, labels)), Classification("abc", label_smoothing=0.3))
    assert score.loss == pytest.approx(float(functional.cross_entropy(inputs, labels)), rel=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_is_put_back_and_dropout_does_not_disturb(training):
    model = nn.Sequential(nn.Dropout(0.9), nn.Identity()).train(training)
    split = Split(InMemory(torch.eye(3), torch.arange(3)))
    assert evaluate(model, split, CLASSES).measures["accuracy"] == 1.0
    assert model.training == training
