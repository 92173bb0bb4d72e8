"""Models and data as people bring them: refused before training with what to do, or good."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from overwinter import training
from overwinter.data import InMemory, Split
from overwinter.errors import ConfigError
from overwinter.models import own_models
from overwinter.tasks import Classification
from tests.support.settings import fit_settings

FEATURES, CLASSES = 6, 3


def samples(count=24, **changes):
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(count, FEATURES, generator=generator)
    return Split(InMemory(changes.get("inputs", inputs), torch.arange(count) % CLASSES))


class Good(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.head = nn.BatchNorm1d(FEATURES), nn.Linear(FEATURES, CLASSES)

    def forward(self, inputs):
        return self.head(functional.dropout(self.norm(inputs), 0.2, training=self.training))


class ReturnsDict(Good):
    def forward(self, inputs):
        return {"logits": super().forward(inputs)}


class ReturnsTuple(Good):
    def forward(self, inputs):
        return super().forward(inputs), inputs


class ReturnsNamespace(Good):
    def forward(self, inputs):
        return SimpleNamespace(logits=super().forward(inputs))


class AuxiliaryInTraining(Good):
    def forward(self, inputs):
        logits = super().forward(inputs)
        return (logits, logits) if self.training else logits


class ReturnsNan(Good):
    def forward(self, inputs):
        return super().forward(inputs) * float("nan")


class OneOutput(Good):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(FEATURES, 1)


class MoreOutputs(Good):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(FEATURES, 10)


class Squeezes(Good):
    def forward(self, inputs):
        return super().forward(inputs)[:, :, None].squeeze()


class ChangesInputs(Good):
    def forward(self, inputs):
        inputs -= 0.5
        return super().forward(inputs)


class DrawsInEvaluation(Good):
    def forward(self, inputs):
        return functional.dropout(super().forward(inputs))


class WrongWidth(Good):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(FEATURES + 1, CLASSES)


class NothingToTrain(nn.Module):
    def forward(self, inputs):
        return inputs[:, :CLASSES]


class Detached(Good):
    def forward(self, inputs):
        return super().forward(inputs).detach()


class LateLayer(Good):
    def forward(self, inputs):
        if not hasattr(self, "late"):
            self.late = nn.Linear(CLASSES, CLASSES)
        return self.late(super().forward(inputs))


class Projected(Good):
    def __init__(self):
        super().__init__()
        self.keep(torch.randn(FEATURES, FEATURES))

    def keep(self, projection):
        self.projection = projection

    def forward(self, inputs):
        return super().forward(inputs @ self.projection)


class ProjectedByBuffer(Projected):
    def keep(self, projection):
        self.register_buffer("projection", projection)


class ProjectedByLostBuffer(Projected):
    def keep(self, projection):
        self.register_buffer("projection", projection, persistent=False)


class ProjectedInside(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = Projected()

    def forward(self, inputs):
        return self.inner(inputs)


class ProjectedByNumpy(Projected):
    def keep(self, projection):
        self.table = {"numbers": np.asarray(projection)}

    @property
    def projection(self):
        return torch.from_numpy(self.table["numbers"])


class LayersInList(Good):
    def __init__(self):
        super().__init__()
        self.layers = [nn.Linear(FEATURES, FEATURES)]

    def forward(self, inputs):
        return super().forward(self.layers[0](inputs))


class AveragedWhileTraining(Good):
    """What it draws is the same for every seed: it differs only once it was trained."""

    def __init__(self):
        super().__init__()
        self.calls = 0
        self.mean = torch.zeros(FEATURES)

    def forward(self, inputs):
        if self.training:
            self.calls += 1
            self.mean = 0.5 * self.mean + 0.5 * inputs.detach().mean(0)
        return super().forward(inputs - self.mean)


class SineTable(Projected):
    """A plain attribute that every seed makes alike is nothing to lose."""

    def keep(self, projection):
        self.projection = torch.arange(float(projection.numel())).reshape(projection.shape).sin()


def look(model, split=None, fits=None):
    with own_models():
        training.look_ahead(
            {"_target_": f"{__name__}.{model.__name__}"},
            split or samples(),
            fits or {"train": fit_settings()},
            task=Classification([str(number) for number in range(CLASSES)]),
            trusted=[__name__],
            seed=1,  # models are loaded with another one
            device=torch.device("cpu"),
        )


@pytest.mark.parametrize("model", [Good, ProjectedByBuffer, SineTable, ReturnsDict, ReturnsTuple, AuxiliaryInTraining])
def test_a_good_model_passes_and_nothing_changes(model):
    train = samples()
    before = train.dataset.inputs.clone()
    look(model, train)
    assert torch.equal(train.dataset.inputs, before)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (ReturnsNamespace, "returns a SimpleNamespace. It must return a tensor, or a tuple or dict"),
        (OneOutput, r"returns \[8, 1\] .*takes logits \[8, 3\].*one logit per class"),
        (MoreOutputs, r"In training mode: .*returns \[8, 10\].*Give the model 3 outputs, or name all 10 classes"),
        (Squeezes, r"In evaluation mode: The model returns \[3\] for 1 samples.*squeeze\(dim\)"),
        (ReturnsNan, "In training mode the model returns NaN for finite inputs.*division by zero"),
        (ChangesInputs, "changes its inputs in place.*x = x - 0.5"),
        (DrawsInEvaluation, "other outputs for the same samples.*training=self.training"),
        (WrongWidth, "fails in a training step on 8 samples .*mat1 and mat2"),
        (NothingToTrain, "nothing to train"),
        (Detached, "fails in a training step .*does not require grad"),
        (LateLayer, r"cannot be loaded again.*late.weight.*Make all layers in __init__"),
        (Projected, r"other outputs: projection of Projected is not saved.*register_buffer\(\)"),
        (ProjectedByLostBuffer, "projection of ProjectedByLostBuffer is not saved.*without persistent=False"),
        (ProjectedInside, "inner.projection of Projected is not saved"),
        (ProjectedByNumpy, r"table\['numbers'\] of ProjectedByNumpy is not saved"),
        (LayersInList, r"layers\[0\].weight of LayersInList is not saved.*torch.nn.ModuleList"),
        (AveragedWhileTraining, "mean of AveragedWhileTraining is not saved"),
    ],
)
def test_a_model_that_would_fail_or_be_ruined_later_is_refused(model, message):
    with pytest.raises(ConfigError, match=f"(?s){message}"):
        look(model)


@pytest.mark.parametrize(
    ("count", "fits", "key"),
    [
        (24, {"train": {"batch_size": 1}}, "train.batch_size=1"),
        (24, {"train": {}, "sparsify.fit": {"batch_size": 1}}, "sparsify.fit.batch_size=1"),
        (1, {"train": {}}, "train.batch_size=8"),
    ],
)
def test_batches_of_one_with_batch_normalisation_are_refused(count, fits, key):
    with pytest.raises(ConfigError, match=f"(?s)one sample does not make.*{key}.*GroupNorm or LayerNorm"):
        look(Good, samples(count), {name: fit_settings(**changes) for name, changes in fits.items()})


def test_a_rest_of_one_is_no_trouble():
    look(Good, samples(17))
