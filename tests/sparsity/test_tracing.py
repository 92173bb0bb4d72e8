import torch
from torch import nn

from overwinter.sparsity.operators import RULES, unknown
from overwinter.sparsity.tracing import FOLLOWS, MAKES, TAKES, Marks, trace


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
    marks, calls = Marks(), []

    def listened(rule):
        def listen(met, call):
            calls.append((call.name, call.where))
            return rule(met, call)

        return listen

    rules = {name: listened(rule) for name, rule in RULES.items()}
    model = Own().eval()
    trace(model, {"tokens": torch.ones(2, 3, dtype=torch.int64), "mask": torch.ones(2, 3)}, marks, rules, unknown)
    return model, marks, calls


def test_functions_are_met_in_their_order_with_the_layer_that_calls_them():
    _, _, calls = traced()
    assert calls == [
        ("embedding", "embedding"), ("linear", "layer"), ("linear", "layer"), ("sum", ""), ("float", ""),
        ("relu", ""),         ("getitem", ""), ("mul", ""), ("linear", ""),
    ]  # fmt: skip


def test_the_dimensions_of_parameters_have_roles():
    _, marks, _ = traced()
    assert marks.roles == {
        ("embedding.weight", 1): {MAKES},
        ("layer.weight", 0): {MAKES},
        ("layer.weight", 1): {TAKES},
        ("layer.bias", 0): {FOLLOWS},
        ("read.weight", 0): {MAKES},
        ("read.weight", 1): {TAKES},
    }


def test_the_models_outputs_stay_in_a_dictionary_too():
    _, marks, _ = traced()
    numbers, reasons = marks.couplings.components()
    assert {reasons[number] for number in numbers[marks.labels["read.weight", 0]].tolist()} == {
        "its output is the model's output"
    }


def test_the_model_is_left_as_it_was():
    model, _, _ = traced()
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert torch.backends.mha.get_fastpath_enabled()
