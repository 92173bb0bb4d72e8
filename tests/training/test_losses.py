import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from overwinter.tasks import Classification, Regression
from overwinter.training import DistillationLoss, TaskLoss

TASK = Classification(["a", "b", "c"])
INPUTS, LABELS = (
    torch.randn(6, 3, generator=torch.Generator().manual_seed(0)),
    torch.tensor([0, 1, 2, 0, 1, 2]),
)


@pytest.fixture
def teacher():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))


def distil(teacher, weight, temperature=2.0):
    return DistillationLoss(TASK, teacher, weight=weight, temperature=temperature)


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


def test_the_teachers_answers_are_softened(teacher):
    logits = torch.randn(6, 3)
    with torch.no_grad():
        expected = functional.kl_div(
            functional.log_softmax(logits / 2.0, dim=-1),
            functional.log_softmax(teacher.eval()(INPUTS) / 2.0, dim=-1),
            reduction="batchmean",
            log_target=True,
        )
    assert float(distil(teacher, 1.0)(logits, LABELS, INPUTS)) == pytest.approx(4.0 * float(expected))


def test_a_teacher_of_numbers_is_followed_by_the_tasks_loss(teacher):
    loss = DistillationLoss(Regression(["a", "b", "c"]), teacher, weight=1.0, temperature=2.0)
    outputs = torch.randn(6, 3)
    expected = functional.mse_loss(outputs, teacher(INPUTS))
    assert float(loss(outputs, torch.zeros(6, 3), INPUTS)) == pytest.approx(float(expected))


def test_the_tasks_loss_is_passed_on():
    logits = torch.randn(6, 3, requires_grad=True)
    expected = functional.cross_entropy(logits, LABELS, label_smoothing=0.2)
    task = Classification(["a", "b", "c"], label_smoothing=0.2)
    assert float(TaskLoss(task)(logits, LABELS, INPUTS).detach()) == pytest.approx(float(expected.detach()))
