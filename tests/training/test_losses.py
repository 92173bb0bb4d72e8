import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from overwinter.training import CrossEntropy, DistillationLoss

INPUTS, LABELS = (
    torch.randn(6, 3, generator=torch.Generator().manual_seed(0)),
    torch.tensor([0, 1, 2, 0, 1, 2]),
)


@pytest.fixture
def teacher():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))


def distil(teacher, weight, temperature=2.0):
    return DistillationLoss(teacher, weight=weight, temperature=temperature)


def test_a_student_equal_to_its_teacher_has_nothing_to_learn_from_it(teacher):
    loss = distil(teacher, 1.0)
    assert float(loss(teacher(INPUTS), LABELS, INPUTS)) == pytest.approx(0.0, abs=1e-6)


def test_without_weight_it_is_the_cross_entropy(teacher):
    logits = torch.randn(6, 3)
    assert distil(teacher, 0.0)(logits, LABELS, INPUTS) == functional.cross_entropy(logits, LABELS)


def test_it_mixes_both_parts(teacher):
    logits = torch.randn(6, 3)
    hard, soft, mixed = (distil(teacher, weight)(logits, LABELS, INPUTS) for weight in (0.0, 1.0, 0.3))
    assert float(mixed) == pytest.approx(float(0.7 * hard + 0.3 * soft))


def test_the_teacher_is_never_changed(teacher):
    before = copy.deepcopy(teacher.state_dict())
    logits = torch.randn(6, 3, requires_grad=True)
    torch.autograd.backward(distil(teacher, 0.5)(logits, LABELS, INPUTS))
    assert logits.grad is not None
    assert all(torch.equal(before[name], tensor) for name, tensor in teacher.state_dict().items())
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_label_smoothing_is_passed_on():
    logits = torch.randn(6, 3)
    expected = functional.cross_entropy(logits, LABELS, label_smoothing=0.2)
    assert CrossEntropy(0.2)(logits, LABELS, INPUTS) == expected
