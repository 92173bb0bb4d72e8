"""A mask that a stage between has broken is seen in model.json."""

import pytest
import torch
from torch import nn

from overwinter.errors import OverwinterError
from overwinter.models import refuse_returned_weights, save_model
from overwinter.signature import Signature


@pytest.fixture
def saved(tmp_path):
    """Saves a model of two layers, changed as asked, and returns its folder."""

    def saved(name, change=lambda model: None):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 4))
        with torch.no_grad():
            change(model)
        signature = Signature.of_one([40])
        save_model(tmp_path / name, model, variant=name, model_config={}, signature=signature, lineage={})
        return tmp_path / name

    return saved


def sparse(model):
    model[0].weight[:, ::2] = 0


def broken(model):
    sparse(model)
    model[0].weight[:3, ::2] = 1.0
    model[2].bias.zero_()


def sparser(model):
    sparse(model)
    model[0].weight[:5] = 0


def test_weights_that_came_back_are_refused_with_the_stage_and_the_layer(saved):
    earlier = {"train": saved("dense"), "sparsify": saved("sparse", sparse)}
    message = r"60 weights that sparsify removed are no longer zero in .*tuned, 60 of them in 0.weight: a stage between"
    with pytest.raises(OverwinterError, match=message):
        refuse_returned_weights(saved("tuned", broken), earlier)


def test_what_is_as_sparse_or_sparser_or_of_another_shape_passes(saved, tmp_path):
    earlier = {"sparsify": saved("sparse", sparse), "elsewhere": tmp_path / "missing"}
    refuse_returned_weights(saved("same", sparse), earlier)
    refuse_returned_weights(saved("sparser", sparser), earlier)
    refuse_returned_weights(saved("small", lambda model: model.__setitem__(0, nn.Linear(40, 20))), earlier)
