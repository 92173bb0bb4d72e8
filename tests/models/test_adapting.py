import collections
import copy
import io
import pickle
import warnings

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from overwinter import models
from overwinter.errors import ConfigError
from overwinter.models.storage import load_model
from overwinter.signature import Signature

Outputs = collections.namedtuple("Outputs", ["aux", "logits"])
TRUSTED = [__name__]
IDS = torch.tensor([[1, 2, 3], [4, 5, 0]])
MASK = torch.tensor([[1, 1, 1], [1, 1, 0]])


class Encoder(nn.Module):
    """Takes keywords and returns a dict, as models of the transformers library do."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(8, 4)
        self.hidden, self.head = nn.Linear(4, 6), nn.Linear(6, 2)

    def forward(self, input_ids, attention_mask=None, token_type_ids=None):
        states = self.hidden(self.embedding(input_ids)).relu()
        weights = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        pooled = (states * weights[..., None]).sum(1) / weights.sum(1, keepdim=True)
        return {"states": states, "logits": self.head(pooled), "count": weights.sum()}


class Returning(nn.Module):
    """Returns what a function makes of its output."""

    def __init__(self, make) -> None:
        super().__init__()
        self.layer, self.make = nn.Linear(3, 2), make

    def forward(self, x):
        return self.make(self.layer(x))


class Sum(nn.Module):
    def forward(self, first, second):
        return first + 2 * second


class Batch(nn.Module):
    def forward(self, batch):
        return batch["first"] + batch["second"]


BATCH = {"input_ids": IDS, "attention_mask": MASK}
CONFIG = {"_target_": f"{__name__}.Encoder"}


def encoder(**given):
    return models.build_model(CONFIG, trusted=TRUSTED, **given).eval()


def test_a_batch_by_name_is_passed_as_keywords_and_one_tensor_comes_back():
    model = encoder()
    assert torch.equal(model(BATCH), model.forward(IDS, MASK)["logits"])
    assert torch.equal(model(IDS), model.forward(IDS)["logits"])
    assert torch.equal(model(IDS, attention_mask=MASK), model(BATCH))


def test_names_that_are_numbers_are_positions():
    first, second = torch.ones(2), torch.full((2,), 5.0)
    assert models.adapt(Sum())({"1": second, "0": first}).tolist() == [11.0, 11.0]


def test_a_model_of_one_mapping_gets_the_batch_as_it_is():
    batch = {"first": torch.ones(2), "second": torch.ones(2)}
    assert models.adapt(Batch())(batch).tolist() == [2.0, 2.0]


def test_the_only_tensor_of_a_batch_needs_no_name():
    assert models.adapt(nn.Identity())({"pixels": IDS}) is IDS


def test_a_name_that_forward_does_not_have_is_told():
    with pytest.raises(
        ConfigError, match=r"inputs called input_ids, mask.* no mask; it takes attention_mask, input_ids"
    ):
        encoder()({"input_ids": IDS, "mask": MASK})


@pytest.mark.parametrize(
    ("make", "output", "times"),
    [
        (lambda x: x, None, 1),
        (lambda x: {"loss": x.sum(), "out": 2 * x, "aux": x}, None, 2),
        (lambda x: {"mine": 3 * x, "classes": x.argmax(1)}, None, 3),
        (lambda x: {"logits": x, "other": 4 * x}, "other", 4),
        (lambda x: (2 * x, x), None, 2),
        (lambda x: [x, 3 * x], 1, 3),
        (lambda x: (x, 3 * x), "1", 3),
        (lambda x: Outputs(aux=x, logits=5 * x), None, 5),
        (lambda x: Outputs(aux=6 * x, logits=x), "0", 6),
        (lambda x: Outputs(aux=6 * x, logits=x), "aux", 6),
    ],
)
def test_the_output_that_counts_is_picked(make, output, times):
    model, inputs = models.adapt(Returning(make), output), torch.ones(1, 3)
    assert torch.allclose(model(inputs), times * model.layer(inputs))


@pytest.mark.parametrize(
    ("make", "output", "message"),
    [
        (lambda x: {"a": x, "b": x}, None, "returns a, b.\nSet task.output to the one that counts: a, b"),
        (lambda x: {"a": x, "b": x}, "c", "task.output=c is no tensor of them"),
        (lambda x: {"a": x.argmax(1)}, None, "none is a tensor of floats"),
        (lambda x: (x, x), 2, "a tuple of 2, and task.output=2 names no tensor"),
        (lambda x: (x, x), "logits", "task.output=logits names no tensor"),
        (lambda x: ({"a": x},), None, "task.output=null, which is the first, names no tensor"),
        (lambda _: None, None, "returns a NoneType"),
    ],
)
def test_an_output_that_cannot_be_picked_is_told(make, output, message):
    with pytest.raises(ConfigError) as raised:
        models.adapt(Returning(make), output)(torch.ones(1, 3))
    assert message in str(raised.value)


def test_adapting_again_takes_the_other_output():
    model = models.adapt(models.adapt(Returning(lambda x: (x, 2 * x))), 1)
    assert (len(model._forward_hooks), len(model._forward_pre_hooks)) == (1, 1)
    assert torch.allclose(model(torch.ones(1, 3)), 2 * model.layer(torch.ones(1, 3)))


def test_copies_twins_and_pickles_are_adapted_too():
    model = encoder(output="states")
    for other in (
        copy.deepcopy(model),
        models.copy_module(model),
        models.twin(model),
        pickle.loads(pickle.dumps(model)),
    ):
        assert torch.equal(other(BATCH), model(BATCH))


@pytest.mark.parametrize("output", [None, "states"])
def test_a_loaded_model_is_adapted_to_the_same_output(tmp_path, output):
    model = encoder(output=output)
    saving = {"model_config": CONFIG, "signature": Signature.of_one([3]), "lineage": {}}
    assert models.save_model(tmp_path, model, variant="dense", **saving)["output"] == output
    loaded = load_model(tmp_path, trusted=TRUSTED)
    assert torch.equal(loaded(BATCH), model(BATCH))


def test_layers_can_be_replaced_and_watched():
    model, seen = encoder(), []
    model.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    model.hidden = nn.Sequential(model.hidden)
    assert torch.equal(model(BATCH), seen[0])


def test_a_trained_model_stays_adapted():
    model = encoder().train()
    torch.autograd.backward(model(BATCH).sum())
    assert model.hidden.weight.grad is not None


def test_arguments_are_those_of_forward():
    assert list(models.arguments(encoder(), BATCH)) == ["input_ids", "attention_mask"]
    assert list(models.arguments(Sum(), {"0": IDS, "1": MASK})) == ["first", "second"]
    assert list(models.arguments(nn.Linear(2, 2), IDS)) == ["input"]


@pytest.mark.parametrize("dynamo", [False, True])
def test_both_exporters_of_onnx_take_it(dynamo):
    model, names = encoder(), list(BATCH)
    flat = models.Positional(model, names).eval()
    axes = {name: {0: "batch", 1: "length"} for name in names}
    written = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporters' own
        if dynamo:
            pytest.importorskip("onnxscript")
            sides = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
            settings = {"dynamo": True, "dynamic_shapes": {"tensors": (sides, sides)}, "verbose": False}
            program = torch.onnx.export(flat, tuple(BATCH.values()), input_names=names, **settings)
            program.save(written)
        else:
            settings = {"dynamo": False, "dynamic_axes": axes}
            torch.onnx.export(flat, tuple(BATCH.values()), written, input_names=names, **settings)
    session = onnxruntime.InferenceSession(written.getvalue())
    longer = {"input_ids": torch.randint(8, (5, 7)), "attention_mask": torch.ones(5, 7, dtype=torch.int64)}
    (output, *_) = session.run(None, {name: tensor.numpy() for name, tensor in longer.items()})
    np.testing.assert_allclose(output, model(longer).detach().numpy(), atol=1e-5)


@pytest.mark.parametrize("flat", [False, True])
def test_it_compiles(flat):
    model, longer = encoder(), {name: torch.cat([tensor, tensor]) for name, tensor in BATCH.items()}
    wrapped = models.Positional(model, list(BATCH)) if flat else model
    compiled = torch.compile(wrapped, backend="eager", dynamic=True, fullgraph=flat)  # one graph, hooks and all
    with torch.inference_mode():
        for batch in (BATCH, longer):
            given = tuple(batch.values()) if flat else (batch,)
            assert torch.allclose(compiled(*given), model(batch), atol=1e-6)
