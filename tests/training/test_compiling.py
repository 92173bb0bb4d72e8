"""A model is compiled in a fit where that is estimated to repay, and only if it computes the same, faster."""

import pytest
import torch
from torch import nn

from overwinter.errors import OverwinterError
from overwinter.training import compiling
from overwinter.training.compiling import ALWAYS, AUTO, NEVER, Compiling

INPUTS = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
FEWER = INPUTS[:3]
MANY = 10**9


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 1))


@pytest.fixture
def compiled(monkeypatch):
    """What is compiled: another callable that computes what ``change`` makes of the outputs."""

    def compiled(change=lambda outputs: outputs):
        monkeypatch.setattr(compiling, "compiled_model", lambda model: lambda inputs: change(model(inputs)))

    compiled()
    return compiled


def stepped(made, *, steps=7, duration_s=0.01, left=MANY, inputs=INPUTS):
    """Take steps, and return with what the next would be computed."""
    for _ in range(steps):
        made.model_for(inputs, left, lambda model: model(inputs).square().mean())
        made.took_step(inputs, duration_s)
    return made.model_for(inputs, left, lambda model: model(inputs).square().mean())


def test_a_short_fit_is_not_compiled_and_says_why(model, compiled):
    made = Compiling(model, AUTO)
    assert stepped(made, left=1000) is model
    expected = "not compiled: 1000 steps of 10 ms are left, 10 s together; compiling could save half of that at best"
    assert made.verdict.startswith(expected)


def test_a_long_fit_is_compiled_and_keeps_what_is_faster(model, compiled):
    made = Compiling(model, AUTO)
    assert stepped(made) is not model
    assert made.model_for(FEWER, MANY, lambda model: model(FEWER).mean()) is model  # another shape
    assert stepped(made, duration_s=0.004) is not model
    assert "its steps take 4 ms compiled and 10 ms as they are, which repays it after" in made.verdict


def test_what_is_not_faster_is_undone(model, compiled):
    made = Compiling(model, AUTO)
    stepped(made)
    assert stepped(made, duration_s=0.011) is model
    assert made.verdict.startswith("not compiled any more: its steps take 11 ms compiled and 10 ms as they are")


def test_another_loss_is_not_trusted(model, compiled):
    compiled(lambda outputs: outputs * 1.1)
    made = Compiling(model, AUTO)
    assert stepped(made) is model
    assert "its loss is" in made.verdict
    with pytest.raises(
        OverwinterError, match=r"cannot be compiled for its training: its loss is .*\nSet compile=never"
    ):
        stepped(Compiling(model, ALWAYS))


def test_what_cannot_be_compiled_is_trained_as_it_is(model, monkeypatch):
    monkeypatch.setattr(compiling, "compiled_model", lambda _: lambda _: 1 / 0)
    made = Compiling(model, AUTO)
    assert stepped(made) is model
    assert "division by zero" in made.verdict


def test_the_check_leaves_no_trace(model, compiled):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    generator = torch.get_rng_state()
    made = Compiling(model.train(), AUTO)
    for _ in range(7):
        made.took_step(INPUTS, 0.01)
    made.model_for(INPUTS, MANY, lambda model: model(INPUTS).square().mean())
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert torch.equal(generator, torch.get_rng_state())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_fit_reports_what_was_decided(fit, new_model, compiled):
    assert fit(compile=NEVER).compiling is None
    plain, asked = new_model(), new_model()
    fit(model=plain)
    result = fit(model=asked, compile=AUTO, epochs=3)
    assert result.compiling.startswith("not compiled: ")
    assert torch.equal(plain[5].weight, asked[5].weight)


def test_a_compiled_fit_learns_the_same(fit, new_model, monkeypatch):
    monkeypatch.setattr(compiling, "compiled_model", lambda model: torch.compile(model, backend="eager"))
    plain, asked = new_model(), new_model()
    fit(model=plain, epochs=4)
    result = fit(model=asked, compile=ALWAYS, epochs=4)
    assert result.compiling.startswith("compiled in ")
    torch.testing.assert_close(plain[5].weight, asked[5].weight)
