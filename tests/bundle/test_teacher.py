"""A saved model or a bundle as a teacher."""

import pytest
import torch

from overwinter import models
from overwinter.bundle import load_teacher
from overwinter.errors import ConfigError
from overwinter.tasks import Classification

INPUTS, TARGETS = torch.randn(2, 1, 8, 8), torch.tensor([0, 1])


def task_for(model):
    return Classification([str(number) for number in range(model(INPUTS).shape[1])])


def test_a_saved_model_and_its_bundle_teach_the_same(saved, hibernate):
    model = models.load_model(saved, trusted=[])
    expected = model(INPUTS).detach()
    bundled = hibernate(labels=task_for(model).labels)
    for place in (saved, bundled.folder):
        teacher = load_teacher(str(place), (INPUTS, TARGETS), task_for(model), trusted=[])
        assert torch.allclose(teacher(INPUTS), expected, atol=1e-4)
        assert not teacher.training


def test_a_missing_one_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"train.teacher=.*nowhere.* does not exist"):
        load_teacher(str(tmp_path / "nowhere"), (INPUTS, TARGETS), Classification(["a"]), trusted=[])


@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (2, 5)])
def test_one_that_takes_other_inputs_is_refused(saved, shape):
    task = task_for(models.load_model(saved, trusted=[]))
    with pytest.raises(ConfigError, match=r"train.teacher=.* cannot teach this task: RuntimeError"):
        load_teacher(str(saved), (torch.randn(shape), TARGETS), task, trusted=[])


def test_one_of_other_classes_is_refused(saved):
    with pytest.raises(ConfigError, match=r"cannot teach this task: ConfigError: .* data names 31 classes"):
        load_teacher(str(saved), (INPUTS, TARGETS), Classification([str(each) for each in range(31)]), trusted=[])
