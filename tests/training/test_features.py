import pytest
import torch
from torch import nn

from overwinter.errors import ConfigError
from overwinter.tasks import Classification
from overwinter.training import DistillationLoss, FeatureDistance

TASK = Classification(["a", "b", "c"])
INPUTS = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, 0, 1, 2])


def network(hidden=8, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, hidden), nn.ReLU(), nn.Linear(hidden, 3))


def distance(student, teacher, layers):
    measured = FeatureDistance(student.train(), teacher.eval(), layers)
    student(INPUTS)
    with torch.no_grad():
        teacher(INPUTS)
    return measured


def test_it_is_the_squared_difference_over_the_teachers_mean_square():
    student, teacher = network(seed=1), network()
    found, wanted = student[0](INPUTS), teacher[0](INPUTS)
    expected = (found - wanted).square().mean() / wanted.square().mean()
    torch.testing.assert_close(distance(student, teacher, ["0"])(), expected)
    torch.testing.assert_close(distance(teacher, network(), ["0", "2"])(), torch.zeros(()))


def test_a_distillation_adds_it_and_trains_the_layers_before():
    student, teacher = network(seed=1), network()
    features = FeatureDistance(student.train(), teacher, ["0"])
    plain = DistillationLoss(TASK, teacher, weight=0.0, temperature=2.0)(student(INPUTS), LABELS, INPUTS)
    loss = DistillationLoss(TASK, teacher, weight=0.0, temperature=2.0, features=features, feature_weight=3.0)
    with_features = loss(student(INPUTS), LABELS, INPUTS)
    expected = distance(network(seed=1), network(), ["0"])()
    assert float((with_features - plain).detach()) == pytest.approx(3.0 * float(expected.detach()))
    torch.autograd.backward(with_features)
    assert bool(student[0].weight.grad.any())
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_measuring_the_student_leaves_nothing_behind():
    student, teacher = network(seed=1), network()
    features = FeatureDistance(student, teacher, ["0"])
    student.eval()(INPUTS)
    teacher(INPUTS)
    with pytest.raises(ConfigError, match="the output of 0 is no tensor"):
        features()


def test_layers_of_other_shapes_are_refused_with_both():
    with pytest.raises(ConfigError, match=r"the shape \[6, 4\], and in the dense model it is .* \[6, 8\]"):
        distance(network(hidden=4), network(), ["0"])()


def test_an_unknown_layer_is_refused():
    longer = nn.Sequential(*network(), nn.Identity())
    for student, teacher, whose in ((network(), longer, "the model"), (longer, network(), "the dense model")):
        with pytest.raises(ConfigError, match=rf"{whose} has no layer '3'"):
            FeatureDistance(student, teacher, ["3"])
