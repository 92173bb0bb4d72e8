"""Turning a float module's layers into integer layers, by a recipe.

Solvers: ``nearest`` (least to largest value), ``searched`` (ranges of least squared error), ``hqq`` (data-free) and
``gptq`` (needs calibration inputs). SmoothQuant moves the activations' outliers into the weight first
(https://arxiv.org/abs/2211.10438).
"""

from __future__ import annotations

import contextlib
import fnmatch
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from overwinter.errors import ConfigError, OverwinterError
from overwinter.models import Codes, Grid, integer_form, replace_layer
from overwinter.quantization.chain import call_block, open_chain
from overwinter.quantization.gptq import solve_gptq
from overwinter.quantization.hqq import solve_hqq
from overwinter.quantization.precision import quick
from overwinter.quantization.ranges import search_ranges
from overwinter.quantization.statistics import Listener, Statistics, as_columns

_BATCH = 8


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How layers become integer layers.

    Attributes:
        solver: ``nearest``, ``searched``, ``hqq`` or ``gptq``.
        grid: of the weights.
        activations: None, ``dynamic`` or ``static``.
        activation_group_size: of dynamic activations of Linear layers; None: one range per token.
        smoothing: strength of SmoothQuant, 0 to 1; 0: none. It needs calibration inputs.
        overrides: name pattern (fnmatch) of layers -> their grid.
    """

    solver: str
    grid: Grid
    activations: str | None = None
    activation_group_size: int | None = None
    smoothing: float = 0.0
    overrides: Mapping[str, Grid] = field(default_factory=dict)

    def grid_of(self, layer: str) -> Grid:
        """Return the grid of the first pattern that fits the layer's name, or the recipe's own."""
        return next((grid for name, grid in self.overrides.items() if fnmatch.fnmatchcase(layer, name)), self.grid)


_DATA_FREE: Mapping[str, Callable[[torch.Tensor, Grid], Codes]] = {
    "hqq": solve_hqq,
    "nearest": lambda weight, grid: grid.nearest(weight),
    "searched": lambda weight, grid: grid.encode(weight, *search_ranges(weight, grid)),
}


def apply_recipe(
    model: nn.Module, recipe: Recipe, layers: Sequence[str], calibration: torch.Tensor | None = None
) -> None:
    """Replace layers by integer ones, in place, block by block: statistics are held of one block at a time.

    Args:
        model: in evaluation mode.
        recipe: what to do.
        layers: names of Linear and Conv2d layers.
        calibration: model inputs (n, ...); needed by ``gptq``, ``static`` and smoothing.

    Raises:
        ConfigError: an unknown solver, a layer that is neither Linear nor Conv2d, or no calibration where one is
            needed.
        OverwinterError: NaN or infinity in a layer's weight or input.
    """
    _check(model, recipe, layers, calibration)
    with torch.no_grad():
        if calibration is None or not _needs_data(recipe):
            for name in layers:
                _replace(model, name, recipe, _Seen())
        else:
            _block_by_block(model, recipe, layers, list(torch.split(calibration, _BATCH)))


@dataclass(kw_only=True)
class _Seen:
    """What calibration showed of a layer's input."""

    statistics: Statistics | None = None
    low: torch.Tensor | None = None
    high: torch.Tensor | None = None

    def add(self, layer: nn.Module, inputs: torch.Tensor) -> None:
        axis = 1 if isinstance(layer, nn.Conv2d) else inputs.dim() - 1
        others = tuple(each for each in range(inputs.dim()) if each != axis)
        low, high = inputs.amin(others).float(), inputs.amax(others).float()  # (channels,)
        self.low = low if self.low is None else torch.minimum(self.low, low)
        self.high = high if self.high is None else torch.maximum(self.high, high)


def _needs_data(recipe: Recipe) -> bool:
    return recipe.solver == "gptq" or recipe.activations == "static" or recipe.smoothing > 0


def _check(model: nn.Module, recipe: Recipe, layers: Sequence[str], calibration: torch.Tensor | None) -> None:
    known = sorted({*_DATA_FREE, "gptq"})
    if recipe.solver not in known:
        raise ConfigError(f"The solver {recipe.solver!r} is unknown. Known: {', '.join(known)}.")
    if _needs_data(recipe) and (calibration is None or len(calibration) == 0):
        raise ConfigError(f"The solver {recipe.solver!r} with activations={recipe.activations!r} needs calibration.")
    for name in layers:
        layer = model.get_submodule(name)
        if integer_form(layer) is None:
            raise ConfigError(f"The layer {name} is a {type(layer).__name__}, not Linear or Conv2d. Skip it.")
        weight = layer.weight
        if isinstance(weight, torch.Tensor) and not bool(torch.isfinite(weight).all()):
            raise OverwinterError(f"The weight of the layer {name} holds NaN or infinity. Train the model again.")


def _block_by_block(model: nn.Module, recipe: Recipe, layers: Sequence[str], batches: list[torch.Tensor]) -> None:
    chain = open_chain(model, batches)
    dense, done = list(chain.inputs), set()
    drifted, compared = list(chain.inputs), recipe.solver == "gptq"
    for prefix, block in chain.blocks.items():
        names = [name for name in layers if name.startswith(prefix)]
        done.update(names)
        seen = {name: _Seen() for name in names}
        for index, rest in enumerate(chain.rest):
            now = _observe(model, names, block, drifted[index], rest, quickly=compared)
            before = _observe(model, names, block, dense[index], rest, quickly=True) if compared else now
            _count(model, seen, now.inputs, before.inputs, wanted=compared)
            dense[index] = before.answer
        for name in names:
            _replace(model, name, recipe, seen[name])
        # Only GPTQ makes up for the errors of earlier blocks; ranges are those of the dense model.
        given = zip(drifted, chain.rest, strict=True)
        drifted = [_called(block, *each, quickly=True) for each in given] if compared else list(dense)
    _outside(model, recipe, [name for name in layers if name not in done], batches)


@dataclass(kw_only=True)
class _Pass:
    inputs: dict[str, torch.Tensor]
    answer: torch.Tensor


def _observe(
    model: nn.Module,
    names: Sequence[str],
    block: nn.Module,
    inputs: torch.Tensor,
    rest: tuple[Any, Any],
    *,
    quickly: bool = False,
) -> _Pass:
    with Listener({name: model.get_submodule(name) for name in names}) as listener:
        answer = _called(block, inputs, rest, quickly=quickly)
    return _Pass(inputs=listener.inputs, answer=answer)


def _called(block: nn.Module, inputs: torch.Tensor, rest: tuple[Any, Any], *, quickly: bool) -> torch.Tensor:
    # Sums over thousands of inputs, as GPTQ takes them, are none the worse for inputs in bfloat16; a range would be.
    with quick(inputs.device) if quickly else contextlib.nullcontext():
        return call_block(block, inputs, rest)


def _outside(model: nn.Module, recipe: Recipe, names: list[str], batches: list[torch.Tensor]) -> None:
    """Layers before and behind the blocks, by what the quantized blocks give them."""
    if not names:
        return
    seen = {name: _Seen() for name in names}
    for batch in batches:
        now = _observe(model, names, model, batch, ((), {}))
        _count(model, seen, now.inputs, now.inputs, wanted=recipe.solver == "gptq")
    for name in names:
        _replace(model, name, recipe, seen[name])


def _count(
    model: nn.Module,
    seen: Mapping[str, _Seen],
    inputs: Mapping[str, torch.Tensor],
    dense: Mapping[str, torch.Tensor],
    *,
    wanted: bool,
) -> None:
    counted: dict[int, Statistics] = {}  # layers that share their input share its statistics
    for name, given in inputs.items():
        if not bool(torch.isfinite(given).all()):
            raise OverwinterError(f"The layer {name} is given NaN or infinity by the calibration samples.")
        layer = model.get_submodule(name)
        seen[name].add(layer, given)
        if not wanted or getattr(layer, "groups", 1) > 1:
            continue
        if id(given) not in counted:
            columns = as_columns(layer, given)
            statistics = seen[name].statistics or _empty(columns.shape[1])
            statistics.add(columns, as_columns(layer, dense[name]))
            counted[id(given)] = statistics
        seen[name].statistics = counted[id(given)]


def _empty(columns: int) -> Statistics:
    return Statistics(hessian=torch.zeros(columns, columns), drift=torch.zeros(columns, columns))


def _replace(model: nn.Module, name: str, recipe: Recipe, seen: _Seen) -> None:
    layer, grid = model.get_submodule(name), recipe.grid_of(name)
    form = integer_form(layer)
    if form is None or not isinstance(layer, nn.Linear | nn.Conv2d):  # checked before the work began
        raise ConfigError(f"The layer {name} cannot be quantized.")
    factors = _smoothing(layer, recipe.smoothing, seen)
    weight = layer.weight.detach().float()
    if factors is not None:
        weight = weight / (factors if weight.dim() == 2 else factors[:, None, None])
    codes = _codes(weight.flatten(1), grid, recipe.solver, seen, factors)
    integer = form.from_float(
        layer,
        grid,
        codes,
        activations=recipe.activations,
        activation_group_size=recipe.activation_group_size if isinstance(layer, nn.Linear) else None,
        smoothing=factors,
    )
    if recipe.activations == "static":
        integer.set_activation_range(*_range(seen, factors))
    replace_layer(model, name, integer)


def _codes(weight: torch.Tensor, grid: Grid, solver: str, seen: _Seen, factors: torch.Tensor | None) -> Codes:
    if solver != "gptq":
        return _DATA_FREE[solver](weight, grid)
    if seen.statistics is None or seen.statistics.rows == 0:
        return _DATA_FREE["searched"](weight, grid)
    hessian, drift = (part / seen.statistics.rows for part in (seen.statistics.hessian, seen.statistics.drift))
    if factors is not None:
        outer = factors[:, None] * factors
        hessian, drift = hessian * outer, drift * outer
    return solve_gptq(weight, grid, hessian, drift)


def _smoothing(layer: nn.Linear | nn.Conv2d, strength: float, seen: _Seen) -> torch.Tensor | None:
    """The factors by which the input is multiplied; the weight is divided by them. Only for dense layers."""
    if strength == 0 or seen.low is None or seen.high is None or isinstance(layer, nn.Conv2d):
        return None
    weight = layer.weight.detach().abs().amax(0).float().clamp(min=1e-5)
    largest = torch.maximum(seen.high, -seen.low).clamp(min=1e-5)
    return weight.pow(1 - strength) / largest.pow(strength)


def _range(seen: _Seen, factors: torch.Tensor | None) -> tuple[float, float]:
    """Least and largest value of the input as the layer quantizes it."""
    if seen.low is None or seen.high is None:  # never called by the calibration samples
        return 0.0, 0.0
    factor = 1.0 if factors is None else factors
    return float((seen.low * factor).min()), float((seen.high * factor).max())
