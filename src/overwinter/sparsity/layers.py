"""Which layers are pruned at once, and why the others are not."""

from __future__ import annotations

from torch import nn

from overwinter.calibration.generated_text import Writer
from overwinter.errors import ConfigError
from overwinter.models import computed_weights, other_weights, prunable_weights
from overwinter.sparsity.matrices import is_matrix, row_length
from overwinter.sparsity.n_of_m import read_pattern
from overwinter.sparsity.selection import SKIPPED, skipped
from overwinter.sparsity.settings import OneShotConfig


def choose_layers(model: nn.Module, config: OneShotConfig) -> tuple[dict[str, nn.Module], dict[str, str]]:
    """Return name -> layer of those to prune, and name -> reason of the other weights.

    A weight with several names, as of a tied embedding, stays dense: what is removed for one use, the other misses.

    Raises:
        ConfigError: a pattern in ``skip`` fits no layer, or none is left to prune.
    """
    modules = {name: module for name, module in model.named_modules() if is_matrix(module)}
    left = {name: why for name, why in other_weights(model).items() if name not in modules}
    for name in prunable_weights(model).keys() - modules.keys():
        left[name] = f"one_shot prunes Linear, Conv2d and Conv1D, not {type(model.get_submodule(name)).__name__}"
    left |= _outside(model, modules, config) | _undivided(modules, config) | _tied(model, modules)
    left |= {name: why for name, why in computed_weights(model).items() if name in modules}
    left |= dict.fromkeys(skipped([*modules, *left], config.skip), SKIPPED)
    chosen = {name: module for name, module in modules.items() if name not in left}
    if not chosen:
        reasons = "; ".join(f"{name}: {why}" for name, why in sorted(left.items())) or "none of them has a weight"
        raise ConfigError(f"sparsify.method=one_shot prunes none of the model's layers: {reasons}. Set sparsify=none.")
    return chosen, left


def _outside(model: nn.Module, modules: dict[str, nn.Module], config: OneShotConfig) -> dict[str, str]:
    """Return the layers outside a language model's blocks, unless they are asked for."""
    if config.head or not isinstance(model, Writer):
        return {}
    lists = [f"{name}." for name, module in model.named_modules() if isinstance(module, nn.ModuleList)]
    reason = "it is outside the language model's blocks (sparsify.head=false)"
    return {name: reason for name in modules if not name.startswith(tuple(lists))} if lists else {}


def _undivided(modules: dict[str, nn.Module], config: OneShotConfig) -> dict[str, str]:
    """Return the layers whose rows an N:M pattern does not divide."""
    pattern = read_pattern(config.pattern)
    if pattern is None:
        return {}
    lengths = {name: row_length(module) for name, module in modules.items()}
    return {
        name: f"its rows of {length} weights cannot be divided into groups of {pattern.of} (sparsify.pattern={pattern})"
        for name, length in lengths.items()
        if length % pattern.of
    }


def _tied(model: nn.Module, modules: dict[str, nn.Module]) -> dict[str, str]:
    """Return the layers whose weight has another name too."""
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    shared = {name: others for others in names.values() if len(others) > 1 for name in others}
    return {
        name: f"its weight is tied to {next(other for other in shared[own] if other != own)}, and both stay dense"
        for name in modules
        if (own := f"{name}.weight") in shared
    }
