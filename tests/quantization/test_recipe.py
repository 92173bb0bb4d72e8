import pytest
import torch
from torch import nn

from overwinter.calibration.chain import Arguments, open_chain
from overwinter.errors import ConfigError, OverwinterError
from overwinter.models import Grid, integer_layers
from overwinter.quantization import Recipe, apply_recipe

INT3 = Grid(bits=3, group_size=16, symmetric=False)
LAYERS = ["blocks.0.enter", "blocks.0.leave", "blocks.1.enter", "blocks.1.leave", "head"]


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.enter, self.leave = nn.Linear(16, 32), nn.Linear(32, 16)

    def forward(self, inputs: torch.Tensor, scale: float) -> tuple[torch.Tensor]:
        return (inputs + scale * self.leave(torch.relu(self.enter(inputs))),)


class Stack(nn.Module):
    def __init__(self, blocks: int = 2) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(20, 16), nn.Linear(16, 20)
        self.blocks = nn.ModuleList(Block() for _ in range(blocks))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        values = self.embedding(tokens)
        for block in self.blocks:
            (values,) = block(values, scale=1.0)
        return self.head(values)


@pytest.fixture
def stack() -> nn.Module:
    torch.manual_seed(0)
    return Stack().eval()


@pytest.fixture
def tokens() -> torch.Tensor:
    return torch.randint(0, 20, (20, 6), generator=torch.Generator().manual_seed(0))


def error(tokens: torch.Tensor, **recipe) -> float:
    torch.manual_seed(0)
    model = Stack().eval()
    with torch.no_grad():
        dense = model(tokens)
        apply_recipe(model, Recipe(**recipe), LAYERS, tokens)
        return float((model(tokens) - dense).square().mean())


def test_better_solvers_err_less(tokens):
    errors = {solver: error(tokens, solver=solver, grid=INT3) for solver in ("nearest", "searched", "gptq")}
    assert errors["gptq"] < errors["searched"]
    assert errors["searched"] < errors["nearest"]


def test_errors_of_many_blocks_do_not_pile_up(tokens):
    errors = {}
    for solver in ("nearest", "gptq"):
        torch.manual_seed(0)
        model = Stack(blocks=12).eval()
        layers = [name for name, each in model.named_modules() if isinstance(each, nn.Linear)]
        with torch.no_grad():
            dense = model(tokens)
            apply_recipe(model, Recipe(solver=solver, grid=INT3), layers, tokens)
            errors[solver] = float((model(tokens) - dense).square().mean())
    assert errors["gptq"] < 0.5 * errors["nearest"]


def test_blocks_are_found_with_all_their_arguments(stack, tokens):
    chain = open_chain(stack, [tokens])
    assert list(chain.blocks) == ["blocks.0.", "blocks.1."]
    assert chain.rest == {prefix: [Arguments(keywords={"scale": 1.0})] for prefix in chain.blocks}


def test_a_pattern_gives_layers_another_grid(stack):
    apply_recipe(stack, Recipe(solver="nearest", grid=INT3, overrides={"*.leave": Grid(bits=8)}), LAYERS)
    assert {name: layer.grid.bits for name, layer in integer_layers(stack).items()} == {
        name: 8 if name.endswith("leave") else 3 for name in LAYERS
    }


def test_static_ranges_hold_what_calibration_showed(stack, tokens):
    apply_recipe(
        stack, Recipe(solver="nearest", grid=Grid(bits=8), activations="static", smoothing=0.5), LAYERS, tokens
    )
    layer = integer_layers(stack)["head"]
    assert layer.smoothing is not None
    assert layer.activation_scale > 0


@pytest.mark.parametrize(
    ("recipe", "layers", "message"),
    [
        ({"solver": "gptk"}, LAYERS, "'gptk' is unknown"),
        ({"solver": "nearest"}, ["embedding"], "embedding is a Embedding, not Linear or Conv2d"),
        ({"solver": "gptq"}, LAYERS, "needs calibration"),
    ],
)
def test_what_cannot_be_done_is_refused_before_the_work(stack, recipe, layers, message):
    with pytest.raises(ConfigError, match=message):
        apply_recipe(stack, Recipe(grid=INT3, **recipe), layers)
    assert not integer_layers(stack)


def test_a_broken_weight_names_its_layer(stack):
    with torch.no_grad():
        stack.head.weight[0, 0] = torch.nan
    with pytest.raises(OverwinterError, match="weight of the layer head holds NaN"):
        apply_recipe(stack, Recipe(solver="nearest", grid=INT3), LAYERS)


class Repeating(nn.Module):
    """Calls one layer twice, the second time by keyword and with larger inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.twice, self.head = nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.head(input=self.twice(input=5.0 * self.twice(inputs)))


@pytest.mark.parametrize("solver", ["nearest", "gptq"])
def test_all_calls_of_a_layer_count(solver):
    torch.manual_seed(0)
    model, inputs = Repeating().eval(), torch.randn(40, 8)
    with torch.no_grad():
        dense, second = model(inputs), 5.0 * model.twice(inputs)
        apply_recipe(model, Recipe(solver=solver, grid=Grid(bits=8), activations="static"), ["twice", "head"], inputs)
        quantized = model(inputs)
    scale = integer_layers(model)["twice"].activation_scale
    assert scale is not None
    largest = second.max().clamp(min=0) - second.min().clamp(max=0)
    assert float(scale) == pytest.approx(float(largest) / 255, rel=0.1)
    assert float((quantized - dense).abs().max()) < 0.1 * float(dense.abs().max())


@pytest.mark.parametrize("quiet", [0.0, 1e-4])
def test_a_channel_that_calibration_saw_silent_gets_a_factor_like_the_others(quiet):
    torch.manual_seed(0)
    layer, inputs = nn.Linear(8, 16), torch.randn(64, 8)
    inputs[:, 7] *= quiet
    later = torch.randn(64, 8)
    model = nn.Sequential(layer).eval()
    recipe = Recipe(solver="nearest", grid=Grid(bits=8), activations="dynamic", smoothing=0.7)
    with torch.no_grad():
        dense = model(later)
        apply_recipe(model, recipe, ["0"], inputs)
        quantized = model(later)
    smoothing = integer_layers(model)["0"].smoothing
    assert smoothing is not None
    assert float(smoothing[7]) < 2 * float(smoothing[:7].max())
    assert float((quantized - dense).abs().max()) < 0.05


def test_a_layer_whose_inputs_were_all_silent_is_not_smoothed():
    model = nn.Sequential(nn.Linear(8, 4)).eval()
    recipe = Recipe(solver="nearest", grid=Grid(bits=8), activations="dynamic", smoothing=0.7)
    apply_recipe(model, recipe, ["0"], torch.zeros(4, 8))
    assert integer_layers(model)["0"].smoothing is None


class Residual(nn.Module):
    """Two convolutions of the same input, one with a larger kernel and a stride."""

    def __init__(self) -> None:
        super().__init__()
        self.wide, self.narrow = nn.Conv2d(4, 8, 3, padding=1, stride=2), nn.Conv2d(4, 8, 1, stride=2)
        self.head = nn.Conv2d(8, 3, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.wide(images) + self.narrow(images))).mean((2, 3))


def test_convolutions_that_share_their_input_and_not_their_patches_are_each_solved_for_their_own():
    torch.manual_seed(0)
    model, images = Residual().eval(), torch.randn(16, 4, 8, 8)
    with torch.no_grad():
        dense = model(images)
        apply_recipe(model, Recipe(solver="gptq", grid=Grid(bits=8)), ["wide", "narrow", "head"], images)
        torch.testing.assert_close(model(images), dense, atol=0.02, rtol=0.02)
