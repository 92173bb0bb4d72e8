import pytest
import torch

from overwinter.errors import ConfigError
from overwinter.training import pick_device
from overwinter.training.device import autocast, fast_layout


def test_auto_takes_what_there_is():
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("name", ["cuda:99", "gpu", "tpu:x"])
def test_a_device_that_is_not_there_is_refused(name):
    with pytest.raises(ConfigError, match=f"device='{name}'"):
        pick_device(name)


def test_images_get_their_channels_innermost_and_keep_their_values():
    images = torch.randn(2, 3, 4, 5)
    laid_out = fast_layout(images)
    assert laid_out.stride(1) == 1
    assert torch.equal(laid_out, images)


def test_other_tensors_stay_as_they_are():
    tokens = torch.randn(2, 3)
    assert fast_layout(tokens) is tokens


def test_auto_is_fp32_on_the_cpu():
    with autocast(torch.device("cpu"), "auto"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
    with autocast(torch.device("cpu"), "bf16"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16
