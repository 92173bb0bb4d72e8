import pytest
import torch

from overwinter.calibration.statistics import Gram
from overwinter.sparsity.scores import magnitude, output_error, wanda


@pytest.fixture
def weight():
    return torch.randn(1, 5, 4, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def inputs():
    return torch.randn(30, 4, generator=torch.Generator().manual_seed(1)) * torch.tensor([0.1, 1.0, 5.0, 0.0])


@pytest.fixture
def gram(inputs):
    found = Gram.like(inputs[None])
    found.add(inputs[None], exactly=True)
    return found


def test_magnitude_is_the_absolute_value(weight):
    assert torch.equal(magnitude(weight), weight.abs())


def test_wanda_is_weighed_by_the_inputs_norm(weight, inputs, gram):
    torch.testing.assert_close(wanda(weight, gram), weight.abs() * inputs.norm(dim=0))


def test_the_error_is_that_of_the_outputs(weight, inputs, gram):
    sparse = weight.masked_fill(torch.rand(weight.shape, generator=torch.Generator().manual_seed(2)) < 0.5, 0.0)
    dense, now = (inputs @ each[0].T for each in (weight, sparse))
    assert output_error(weight, sparse, gram) == pytest.approx(float((now - dense).norm() / dense.norm()), rel=1e-4)
    assert output_error(weight, weight, gram) == 0.0


def test_a_layer_without_output_has_no_error(weight, gram):
    gram.products.zero_()
    assert output_error(weight, torch.zeros_like(weight), gram) == 0.0
