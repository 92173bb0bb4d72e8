"""Turning a float module's layers into integer layers, by a recipe.

Solvers: ``nearest`` (least to largest value), ``searched`` (ranges of least squared error) and ``gptq`` (needs
calibration inputs). SmoothQuant moves the activations' outliers into the weight first
(https://arxiv.org/abs/2211.10438).
"""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import nn

from overwinter.calibration.batches import as_batches, split_batches
from overwinter.calibration.device_placement import CPU, offloaded
from overwinter.calibration.statistics import Calls, Statistics, as_columns, sharing
from overwinter.calibration.walk import Gait, walk_blocks
from overwinter.errors import ConfigError, OverwinterError
from overwinter.inputs import TensorInputs
from overwinter.models import Codes, Grid, integer_type, is_finite, replace_layer
from overwinter.progress import Progress, silent
from overwinter.quantization.gptq import solve_gptq
from overwinter.quantization.ranges import search_ranges

_BATCH = 8
_SILENT = 1e-2  # of the median range of a layer's input channels


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How layers become integer layers.

    Attributes:
        solver: ``nearest``, ``searched`` or ``gptq``.
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
        """Return the grid of the first pattern that fits the layer's name, or the recipe's own.

        It is compact if only weights are quantized: kernels that quantize inputs, too, take float32 scales.
        """
        given = (grid for name, grid in self.overrides.items() if fnmatch.fnmatchcase(layer, name))
        return dataclasses.replace(next(given, self.grid), compact=self.activations is None and self.smoothing == 0)


_DATA_FREE: Mapping[str, Callable[[torch.Tensor, Grid], Codes]] = {
    "nearest": lambda weight, grid: grid.nearest(weight),
    "searched": lambda weight, grid: grid.encode(weight, *search_ranges(weight, grid)),
}


def apply_recipe(
    model: nn.Module,
    recipe: Recipe,
    layers: Sequence[str],
    calibration: TensorInputs | Sequence[TensorInputs] | None = None,
    *,
    device: str = CPU,
    progress: Progress = silent,
) -> None:
    """Replace layers by integer ones, in place, block by block: statistics are held of one block at a time.

    Args:
        model: on the CPU, in evaluation mode.
        recipe: what to do.
        layers: names of Linear and Conv2d layers.
        calibration: model inputs (n, ...), or batches of them, whose lengths may differ; needed by ``gptq``, ``static``
            and smoothing.
        device: that computes: `cpu`, `cuda` or `cuda:N`.
        progress: called with the layers that are quantized, and with how many there are, after each block.

    Raises:
        ConfigError: an unknown solver, a layer that is neither Linear nor Conv2d, or no calibration where one is
            needed.
        OverwinterError: NaN or infinity in a layer's weight or input.
    """
    batches = [] if calibration is None else list(split_batches(as_batches(calibration), _BATCH))
    _check(model, recipe, layers, batches)
    with torch.no_grad():
        if not _needs_data(recipe):
            for done, name in enumerate(layers):
                _replace_alone(model, name, recipe, device)
                progress(done + 1, len(layers))
        else:
            compared = recipe.solver == "gptq"  # it makes up for earlier errors; ranges are those of the dense model
            gait = Gait(follows=compared, compares=compared, quickly=compared)
            walk_blocks(model, layers, batches, _Quantizing(model, recipe), gait, device=device, progress=progress)


@dataclass(kw_only=True)
class _Seen:
    """What calibration showed of a layer's input."""

    statistics: Statistics | None = None
    low: torch.Tensor | None = None
    high: torch.Tensor | None = None

    def add(self, layer: nn.Module, inputs: torch.Tensor) -> None:
        axis = inputs.dim() - (3 if isinstance(layer, nn.Conv2d) else 1)
        others = tuple(other for other in range(inputs.dim()) if other != axis)
        low, high = inputs.amin(others).float(), inputs.amax(others).float()  # (channels,)
        self.low = low if self.low is None else torch.minimum(self.low, low)
        self.high = high if self.high is None else torch.maximum(self.high, high)


def _needs_data(recipe: Recipe) -> bool:
    return recipe.solver == "gptq" or recipe.activations == "static" or recipe.smoothing > 0


def _check(model: nn.Module, recipe: Recipe, layers: Sequence[str], batches: Sequence[TensorInputs]) -> None:
    known = sorted({*_DATA_FREE, "gptq"})
    if recipe.solver not in known:
        raise ConfigError(f"The solver {recipe.solver!r} is unknown. Known: {', '.join(known)}.")
    if _needs_data(recipe) and not batches:
        raise ConfigError(f"The solver {recipe.solver!r} with activations={recipe.activations!r} needs calibration.")
    for name in layers:
        layer = model.get_submodule(name)
        if integer_type(layer) is None:
            raise ConfigError(f"The layer {name} is a {type(layer).__name__}, not Linear or Conv2d. Skip it.")
        weight = layer.weight
        if isinstance(weight, torch.Tensor) and not is_finite(weight):
            raise OverwinterError(f"The weight of the layer {name} holds NaN or infinity. Train the model again.")


def _replace_alone(model: nn.Module, name: str, recipe: Recipe, device: str) -> None:
    with offloaded(model.get_submodule(name), device):
        _replace(model, name, recipe, _Seen())
    model.get_submodule(name).to(CPU)


class _Quantizing:
    """What quantization does on its walk: see the inputs of a block's layers, then replace these."""

    def __init__(self, model: nn.Module, recipe: Recipe) -> None:
        self._model, self._recipe = model, recipe
        self._seen: dict[str, _Seen] = {}

    def observe(self, inputs: Calls, dense: Calls) -> None:
        """Take in what layers are given by one batch, and what they are given in the dense model."""
        layers = {name: self._model.get_submodule(name) for name in inputs}
        for name, calls in inputs.items():
            for given in calls:
                self._seen.setdefault(name, _Seen()).add(layers[name], given)
        if self._recipe.solver != "gptq":
            return
        for names, calls in sharing(layers, inputs):
            self._count(layers[names[0]], names, calls, dense[names[0]])

    def change(self, layers: Sequence[str]) -> None:
        """Replace layers."""
        for name in layers:
            _replace(self._model, name, self._recipe, self._seen.pop(name, _Seen()))

    def _count(
        self, layer: nn.Module, names: Sequence[str], calls: Sequence[torch.Tensor], dense: Sequence[torch.Tensor]
    ) -> None:
        """Add to the statistics that layers share which are given the same."""
        if getattr(layer, "groups", 1) > 1:
            return
        statistics = self._seen[names[0]].statistics
        for given, before in zip(calls, dense, strict=True):
            columns = as_columns(layer, given)  # (rows, columns)
            statistics = statistics or _empty(columns.shape[1], columns.device)
            statistics.add(columns, as_columns(layer, before))
        for name in names:
            self._seen[name].statistics = statistics


def _empty(columns: int, device: torch.device) -> Statistics:
    hessian, drift = (torch.zeros(columns, columns, device=device) for _ in range(2))  # (columns, columns)
    return Statistics(hessian=hessian, drift=drift)


def _replace(model: nn.Module, name: str, recipe: Recipe, seen: _Seen) -> None:
    layer, grid = model.get_submodule(name), recipe.grid_of(name)
    variant = integer_type(layer)
    if variant is None or not isinstance(layer, nn.Linear | nn.Conv2d):  # checked before the work began
        raise ConfigError(f"The layer {name} cannot be quantized.")
    factors = _smoothing(layer, recipe.smoothing, seen)  # (in_features,) or (channels,)
    weight = layer.weight.detach().float()  # (out_features, in_features) or (out, channels, height, width)
    if factors is not None:
        weight = weight / (factors if weight.dim() == 2 else factors[:, None, None])
    codes = _codes(weight.flatten(1), grid, recipe.solver, seen, factors)  # of (out, columns)
    integer = variant.from_float(
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
    # (columns, columns), both of them
    hessian, drift = (part / seen.statistics.rows for part in (seen.statistics.hessian, seen.statistics.drift))
    if factors is not None:
        outer = factors[:, None] * factors
        hessian, drift = hessian * outer, drift * outer
    return solve_gptq(weight, grid, hessian, drift)


def _smoothing(layer: nn.Linear | nn.Conv2d, strength: float, seen: _Seen) -> torch.Tensor | None:
    """Return the factors by which the input is multiplied, and the weight divided; None for convolutions.

    A channel that was silent, or nearly so, is treated as one of median range: what it holds later is unknown, and a
    factor from a range of zero would multiply it by thousands.
    """
    if strength == 0 or seen.low is None or seen.high is None or isinstance(layer, nn.Conv2d):
        return None
    weight = layer.weight.detach().abs().amax(0).float().clamp(min=1e-5)  # (in_features,)
    largest = torch.maximum(seen.high, -seen.low)  # (in_features,)
    if not largest.any():
        return None
    median = largest[largest > 0].median()
    largest = torch.where(largest < _SILENT * median, median, largest)
    return weight.pow(1 - strength) / largest.pow(strength)


def _range(seen: _Seen, factors: torch.Tensor | None) -> tuple[float, float]:
    """Least and largest value of the input as the layer quantizes it."""
    if seen.low is None or seen.high is None:  # never called by the calibration samples
        return 0.0, 0.0
    factor = 1.0 if factors is None else factors
    return float((seen.low * factor).min()), float((seen.high * factor).max())
