"""Finding, replacing and rebuilding a module's integer layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from overwinter.errors import IntegrityError
from overwinter.models.grid import Grid
from overwinter.models.integer import IntegerConv2d, IntegerEmbedding, IntegerLayer, IntegerLinear, embedding_factor


def integer_type(layer: nn.Module) -> type[IntegerLinear] | type[IntegerConv2d] | None:
    """Return the integer class for this layer, or None if there is none."""
    if type(layer) is nn.Linear:
        return IntegerLinear
    return IntegerConv2d if type(layer) is nn.Conv2d else None


def integer_layers(model: nn.Module) -> dict[str, IntegerLayer]:
    """Return name -> integer layer, each once, in module order."""
    return {name: module for name, module in model.named_modules() if isinstance(module, IntegerLayer)}


def unique_integers(model: nn.Module) -> dict[str, IntegerLayer]:
    """Return name -> integer layer without those that share another's codes."""
    return {name: layer for name, layer in integer_layers(model).items() if layer.source is None}


def describe_integers(model: nn.Module) -> dict[str, dict[str, Any]]:
    """Return name -> entry of each integer layer in ``model.json``; ``codes_of`` names the layer whose codes it has."""
    layers = integer_layers(model)
    names = {id(layer): name for name, layer in layers.items()}
    shared = {name: names[id(layer.source)] for name, layer in layers.items() if layer.source is not None}
    return {
        name: layer.describe() | ({"codes_of": shared[name]} if name in shared else {})
        for name, layer in layers.items()
    }


def replace_layer(model: nn.Module, name: str, layer: nn.Module) -> None:
    """Replace the module called ``name`` by ``layer``, also under its other names."""
    old = model.get_submodule(name)
    for other, module in list(model.named_modules(remove_duplicate=False)):
        if module is old:
            parent, _, leaf = other.rpartition(".")
            setattr(model.get_submodule(parent), leaf, layer)


def swap_in(model: nn.Module, described: Mapping[str, Mapping[str, Any]]) -> None:
    """Insert empty integer layers into a rebuilt float model, to be filled by ``load_state_dict(assign=True)``.

    Args:
        model: model with layers of the saved sizes.
        described: layer name -> entry of `describe_integers`.

    Raises:
        IntegrityError: the model's code has no Linear, Conv2d or Embedding of that name.
    """
    for name, entry in described.items():
        try:
            layer: Any = model.get_submodule(name)
        except AttributeError:
            layer = None
        variant = None if layer is None else _stored_type(layer)
        if variant is None:
            raise IntegrityError(
                f"The saved model has an integer layer {name!r}, the model's code no Linear, Conv2d or Embedding of "
                "that name. "
                "Was the code changed after the model was saved? Quantize it again."
            )
        grid = Grid(
            bits=entry["bits"],
            group_size=entry["group_size"],
            symmetric=entry["symmetric"],
            compact=entry.get("compact", False),  # absent in older models
        )
        with torch.device("meta"):  # sizes without memory
            empty = variant(
                layer,
                grid,
                activations=entry["activations"],
                activation_bits=entry["activation_bits"],
                activation_group_size=entry.get("activation_group_size"),  # absent in older models
                smoothed=entry["smoothed"],
            )
        replace_layer(model, name, empty)
    for name, entry in described.items():
        if "codes_of" in entry:
            _share(model, name, entry["codes_of"])


def _stored_type(layer: nn.Module) -> type[IntegerLayer] | None:
    return IntegerEmbedding if embedding_factor(layer) is not None else integer_type(layer)


def _share(model: nn.Module, name: str, first: str) -> None:
    layers = integer_layers(model)
    if first not in layers:
        raise IntegrityError(f"The saved layer {name!r} has the codes of {first!r}, which is no integer layer.")
    layers[name].share_codes(layers[first])
