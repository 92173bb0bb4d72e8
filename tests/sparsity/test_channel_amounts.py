import pytest
import torch

from overwinter.errors import ConfigError
from overwinter.models import build_model, copy_module
from overwinter.sparsity import find_channel_groups, flops_per_sample
from overwinter.sparsity.channel_amounts import choose_cuts
from overwinter.sparsity.surgery import remove_channels
from tests.sparsity import zoo
from tests.sparsity.test_dependencies import IMAGES

WIDE = {
    "_target_": "overwinter.models.ConvNet",
    "input_shape": [3, 8, 8],
    "classes": 2,
    "channels": [16, 32],
    "pool_after": [1],
}


def chosen(model=None, **changes):
    model = model or zoo.new("Plain")
    groups, _ = find_channel_groups(model, IMAGES)
    settings = {"amount": 0.5, "amount_of": "channels", "ratio": "uniform", "multiple_of": 1} | changes
    return model, choose_cuts(model, groups, IMAGES, **settings)


def left(model, cuts):
    smaller = copy_module(model)
    remove_channels(smaller, cuts)
    return flops_per_sample(smaller, IMAGES) / flops_per_sample(model, IMAGES)


def test_operations_are_counted_for_one_sample():
    assert flops_per_sample(torch.nn.Linear(8, 3), torch.ones(5, 8)) == 2 * 8 * 3


def test_operations_of_attention_are_counted_in_its_parts():
    layer = torch.nn.TransformerEncoderLayer(16, 4, 32, batch_first=True).eval()
    linear = 2 * 5 * 16 * (48 + 16 + 32 + 32)
    assert flops_per_sample(layer, torch.randn(3, 5, 16)) == linear + 2 * 2 * 4 * 5 * 5 * 4


@pytest.mark.parametrize("ratio", ["uniform", "global"])
@pytest.mark.parametrize("amount", [0.3, 0.66])
def test_a_share_of_the_operations_goes_and_hardly_more(ratio, amount):
    model, cuts = chosen(build_model(WIDE, trusted=[]).eval(), amount=amount, amount_of="flops", ratio=ratio)
    assert 1 - amount - 0.08 < left(model, cuts) <= 1 - amount
    assert all(len(cut.keep) for cut in cuts)


def test_multiples_take_no_more_than_they_must():
    model, cuts = chosen(
        build_model(WIDE | {"channels": [32, 32, 32]}, trusted=[]).eval(), amount=0.3, amount_of="flops", multiple_of=16
    )
    assert sorted(len(cut.keep) for cut in cuts) == [16, 32, 32]
    assert 0.4 < left(model, cuts) <= 0.7


def test_every_layer_loses_the_same_share_or_the_least_important_go_first():
    _, cuts = chosen()
    assert [len(cut.keep) for cut in cuts] == [4, 3, 5]
    model, cuts = chosen(ratio="global")
    assert sum(len(cut.keep) for cut in cuts) == pytest.approx(12, abs=1)
    with torch.no_grad():
        model.second.weight[:, 1:] *= 1e-4
    groups, _ = find_channel_groups(model, IMAGES)
    skewed = choose_cuts(model, groups, IMAGES, amount=0.3, amount_of="channels", ratio="global", multiple_of=1)
    assert skewed[0].keep.tolist() == [0]


def test_what_stays_is_a_multiple_where_it_was_one():
    _, cuts = chosen(amount=0.4, multiple_of=4)
    assert [len(cut.keep) for cut in cuts] == [4, 4, 6]  # of 8, 6 and 10


@pytest.mark.parametrize("amount_of", ["channels", "flops"])
def test_nothing_goes_where_nothing_is_asked_for(amount_of):
    model, cuts = chosen(amount=0.0, amount_of=amount_of)
    assert left(model, cuts) == 1.0


def test_more_than_can_go_is_refused_with_what_can():
    with pytest.raises(
        ConfigError, match=r"sparsify\.amount: 0\.99 of the FLOPs cannot be removed; without .* it is 0\."
    ):
        chosen(amount=0.99, amount_of="flops")
