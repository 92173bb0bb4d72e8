import copy
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from overwinter.models import computed_weights, copy_module, fixed_weights

INPUTS = torch.randn(4, 5, 8, generator=torch.Generator().manual_seed(0))


class Head(nn.Module):
    """A layer that is called, and one that `read` works on."""

    def __init__(self, read):
        super().__init__()
        self.first, self.second = nn.Linear(8, 8), nn.Linear(8, 8)
        self.read = read

    def forward(self, x):
        return self.read(self.second, self.first(input=x))


READ = {
    "tied": lambda layer, x: functional.linear(x, layer.weight.t()),
    "cosine": lambda layer, x: functional.linear(functional.normalize(x, dim=-1), functional.normalize(layer.weight)),
    "dtype": lambda layer, x: layer(x.to(layer.weight.dtype)),
    "parameter": lambda layer, x: x @ layer.get_parameter("weight"),
}


@pytest.mark.parametrize("read", READ.values(), ids=READ)
def test_a_weight_that_other_code_reads_is_found(read):
    model = Head(read).eval()
    found = fixed_weights(model, INPUTS)
    assert list(found) == ["second"]
    assert "its weight is read by other code" in found["second"]


def test_the_fast_path_of_torchs_encoder_is_found():
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 1)
    model = nn.Sequential(nn.Linear(8, 8), encoder, nn.Linear(8, 2)).eval()
    found = fixed_weights(model, INPUTS)
    assert set(found) == {f"1.layers.0.{name}" for name in ("self_attn.out_proj", "linear1", "linear2")}
    assert "TransformerEncoder" in found["1.layers.0.linear1"]


@pytest.mark.parametrize("read", [lambda layer, x: layer(layer(input=x)), lambda layer, x: layer(x) + layer.bias])
def test_a_layer_that_is_called_is_free(read):
    model = Head(read).eval()
    assert fixed_weights(model, INPUTS) == {}
    assert "__getattr__" in nn.Module.__dict__
    assert nn.Module.__getattr__.__name__ == "__getattr__"


def test_the_look_ends_where_the_model_fails():
    def fail(_layer, _x):
        raise ValueError("refused")

    with pytest.raises(ValueError, match="refused"):
        fixed_weights(Head(fail).eval(), INPUTS)
    assert nn.Module.__getattr__.__name__ == "__getattr__"


def by_hooks(layer):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # deprecated, and still in use
        return nn.utils.weight_norm(layer)


COMPUTED = {
    "weight_norm": parametrizations.weight_norm,
    "spectral_norm": parametrizations.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
    "weight_norm by hooks": by_hooks,
    "spectral_norm by hooks": nn.utils.spectral_norm,
}


@pytest.mark.parametrize("normed", COMPUTED.values(), ids=COMPUTED)
def test_a_computed_weight_is_found_and_its_module_can_be_copied(normed):
    model = nn.Sequential(nn.Linear(8, 8), normed(nn.Linear(8, 8)))
    model.train()(INPUTS).sum().backward()
    assert list(computed_weights(model)) == list(fixed_weights(model.eval(), INPUTS)) == ["1"]
    copied = copy_module(model)
    assert torch.equal(copied(INPUTS), model(INPUTS))
    assert copied[0].weight is not model[0].weight
    assert copy.deepcopy(dict(copied.state_dict())).keys() == model.state_dict().keys()
