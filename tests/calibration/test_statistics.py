import pytest
import torch
from torch import nn

from overwinter.calibration.statistics import Gram, as_groups, sharing


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_the_columns_of_a_group_are_what_its_channels_are_multiplied_with(groups):
    torch.manual_seed(0)
    layer = nn.Conv2d(4, 8, (3, 2), stride=2, padding=1, groups=groups, bias=False)
    images = torch.randn(2, 4, 7, 6)
    columns = as_groups(layer, images)  # (groups, rows, columns)
    weight = layer.weight.permute(0, 2, 3, 1).reshape(groups, 8 // groups, -1)
    outputs = (columns @ weight.mT).permute(1, 0, 2).flatten(1)  # (rows, out)
    torch.testing.assert_close(outputs, layer(images).permute(0, 2, 3, 1).flatten(0, 2))


@pytest.mark.parametrize("exactly", [True, False])
def test_a_gram_matrix_is_the_sum_over_all_inputs(exactly):
    inputs = torch.randn(2, 30, 5, generator=torch.Generator().manual_seed(0))
    gram = Gram.like(inputs)
    gram.add(inputs[:, :10], exactly=exactly)
    gram.add(inputs[:, 10:], exactly=exactly)
    expected = inputs.mT @ inputs
    torch.testing.assert_close(gram.products, expected, atol=1e-4 if exactly else 0.3, rtol=0.02)
    torch.testing.assert_close(gram.products.diagonal(dim1=1, dim2=2), expected.diagonal(dim1=1, dim2=2))
    assert gram.rows == 30


def test_layers_that_see_the_same_alike_are_named_together():
    layers = {"a": nn.Linear(4, 2), "b": nn.Linear(4, 3), "c": nn.Linear(4, 2)}
    one, other = torch.ones(1, 4), torch.ones(1, 4)
    found = list(sharing(layers, {"a": [one], "b": [one], "c": [other]}))
    assert [(names, calls[0] is one) for names, calls in found] == [(["a", "b"], True), (["c"], False)]


def test_convolutions_of_other_groups_see_the_same_otherwise():
    layers = {"a": nn.Conv2d(4, 4, 3), "b": nn.Conv2d(4, 4, 3, groups=2)}
    images = [torch.ones(1, 4, 5, 5)]
    assert [names for names, _ in sharing(layers, {"a": images, "b": images})] == [["a"], ["b"]]
