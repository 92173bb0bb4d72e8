import torch
from torch import nn

from overwinter.sparsity.tracing import trace


class Own(nn.Module):
    """Two inputs by name, one of them whole numbers; a loop, a branch, a keyword, and a weight that is read."""

    def __init__(self):
        super().__init__()
        self.embedding, self.layer, self.unused = nn.Embedding(5, 4), nn.Linear(4, 4), nn.Linear(4, 4)
        self.read = nn.Linear(4, 3)

    def forward(self, batch):
        values = self.embedding(batch["tokens"])
        for _ in range(2):
            values = self.layer(input=values)
        if float(values.sum()) > 1e9:
            values = self.unused(values)
        values.relu_()
        return {"logits": nn.functional.linear(values * batch["mask"][:, :, None], self.read.weight)}


def traced():
    torch.manual_seed(0)
    return trace(Own().eval(), {"tokens": torch.ones(2, 3, dtype=torch.int64), "mask": torch.ones(2, 3)})


def test_layers_and_functions_are_steps_in_their_order():
    steps = [step.layer or step.function for step in traced().steps if step.outputs and step.function != "get"]
    assert steps == ["embedding", "layer", "layer", "sum", "relu", "getitem", "mul", "linear"]


def test_calls_are_counted_and_weights_that_are_read_are_known():
    found = traced()
    assert found.calls == {"embedding": 1, "layer": 2}
    assert found.read == {"read"}


def test_a_tensor_changed_in_place_is_another_value():
    found = traced()
    (relu,) = (step for step in found.steps if step.function == "relu")
    (product,) = (step for step in found.steps if step.function == "mul")
    assert relu.outputs[0] is not relu.inputs[0]
    assert relu.outputs[0] in product.inputs
    assert found.makers[relu.outputs[0]] is relu


def test_the_models_outputs_are_known_in_a_dictionary_too():
    found = traced()
    assert [value.shape for value in found.outputs] == [(2, 3, 3)]
    assert found.makers[found.outputs[0]].function == "linear"


def test_the_model_is_left_as_it_was():
    model = nn.Sequential(nn.Linear(2, 2)).eval()
    trace(model, torch.ones(1, 2))
    assert not model[0]._forward_hooks
    assert not model[0]._forward_pre_hooks
