import pytest
import torch
from torch import fx

from overwinter.errors import ConfigError
from overwinter.models import build_model


def test_it_answers_with_one_logit_per_class(convnet, images):
    assert convnet(images).shape == (5, 3)


def test_fx_traces_it_to_the_same_answers(convnet, images):
    assert torch.equal(fx.symbolic_trace(convnet)(images), convnet(images))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"classes": 1}, "model.classes=1"),
        ({"channels": []}, "model.channels"),
        ({"channels": [4, 0]}, "model.channels"),
        ({"pool_after": [3]}, "between 1 and 2"),
        ({"input_shape": [8, 8]}, "model.input_shape"),
        ({"input_shape": [1, 1, 8]}, "halves a 1x8 image to nothing"),
        ({"dropout": 1.0}, "model.dropout"),
    ],
)
def test_what_cannot_be_built_is_refused_by_name(config, change, complaint):
    with pytest.raises(ConfigError, match=complaint):
        build_model(config | change, trusted=[])
