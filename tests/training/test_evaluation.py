import pytest
import torch
from torch import nn
from torch.nn import functional

from overwinter.training import evaluate


def test_it_scores_all_samples_over_several_batches():
    inputs = torch.randn(601, 3, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(601) % 3
    score = evaluate(nn.Identity(), inputs, labels)
    assert score.accuracy == pytest.approx(float((inputs.argmax(1) == labels).float().mean()))
    assert score.loss == pytest.approx(float(functional.cross_entropy(inputs, labels)), rel=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_is_put_back_and_dropout_does_not_disturb(training):
    model = nn.Sequential(nn.Dropout(0.9), nn.Identity()).train(training)
    inputs, labels = torch.eye(3), torch.arange(3)
    assert evaluate(model, inputs, labels).accuracy == 1.0
    assert model.training is training
