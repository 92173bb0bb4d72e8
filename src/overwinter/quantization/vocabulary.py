"""The embedding and the head of a language model, which read and write its vocabulary.

They are most of a small model's bytes. Both bear 8 bits in groups well, and 4 bits badly, so that they follow
settings of their own: ``quantize.embedding`` and ``quantize.head``. A tied head has the embedding's weight: with
``head=as_embedding`` it computes with the same codes, which are stored once.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import nn

from overwinter.errors import OverwinterError
from overwinter.models import (
    CausalLanguageModel,
    Grid,
    IntegerEmbedding,
    IntegerLinear,
    embedding_factor,
    is_finite,
    replace_layer,
)
from overwinter.quantization.checking import skipping_pattern
from overwinter.quantization.interface import Request
from overwinter.quantization.settings import AS_EMBEDDING, INT8

_GRID = Grid(bits=8, group_size=32, compact=True)


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """What becomes of a language model's embedding and head; empty for other models.

    Attributes:
        grids: layer to quantize -> its grid, the embedding before the head.
        shared: the head -> the embedding whose codes it computes with; empty if it has weights of its own.
        left_in_float: layer -> why it stays in floating point.
    """

    grids: Mapping[str, Grid] = field(default_factory=dict)
    shared: Mapping[str, str] = field(default_factory=dict)
    left_in_float: Mapping[str, str] = field(default_factory=dict)

    def governs(self, layer: str) -> bool:
        """Return whether a layer follows these settings and not the method's."""
        return layer in self.grids or layer in self.left_in_float


def plan_vocabulary(request: Request) -> Vocabulary:
    """Return what the group `quantize` makes of the model's embedding and head."""
    model, settings = request.model, request.settings
    if not isinstance(model, CausalLanguageModel):
        return Vocabulary()
    embedding, head = _names(model)
    if embedding is None:
        return Vocabulary()
    follows = head is not None and settings.head == AS_EMBEDDING
    names = [embedding, head] if head is not None and follows else [embedding]
    tied = head is not None and follows and _weight(model, head) is _weight(model, embedding)
    reasons = {name: reason for name in names if (reason := _unfit(name, request)) is not None}
    if tied and reasons:
        blamed, reason = next(iter(reasons.items()))
        reasons = {name: reasons.get(name, f"it is tied to {blamed}: {reason}") for name in names}
    return Vocabulary(
        grids={
            name: _grid(name, names if tied else [name], settings.overrides) for name in names if name not in reasons
        },
        shared={head: embedding} if head is not None and tied and not reasons else {},
        left_in_float=reasons,
    )


def quantize_vocabulary(model: nn.Module, vocabulary: Vocabulary) -> None:
    """Replace embedding and head by integer layers, in place; they are rounded to nearest.

    Raises:
        OverwinterError: NaN or infinity in a weight.
    """
    made: dict[str, IntegerEmbedding | IntegerLinear] = {}
    for name, grid in vocabulary.grids.items():
        layer = model.get_submodule(name)
        if not isinstance(layer, nn.Embedding | nn.Linear):  # chosen by `plan_vocabulary`
            raise TypeError(f"{name} is a {type(layer).__name__}")
        if not is_finite(layer.weight):
            raise OverwinterError(f"The weight of the layer {name} holds NaN or infinity. Train the model again.")
        source = vocabulary.shared.get(name)
        if source is not None:
            made[name] = _sharing(layer, made[source])
        elif isinstance(layer, nn.Embedding):
            made[name] = IntegerEmbedding.from_float(layer, grid)
        else:
            made[name] = IntegerLinear.from_float(layer, grid)
    for name, integer in made.items():
        replace_layer(model, name, integer)


def tied_head(model: nn.Module) -> str | None:
    """Return the name of a language model's head if its weight is the embedding's, else None."""
    if not isinstance(model, CausalLanguageModel):
        return None
    embedding, head = _names(model)
    tied = embedding is not None and head is not None and _weight(model, head) is _weight(model, embedding)
    return head if tied else None


def _sharing(layer: nn.Module, source: IntegerEmbedding | IntegerLinear) -> IntegerLinear:
    """Return a head without codes of its own."""
    assert isinstance(layer, nn.Linear)  # noqa: S101 -- only heads share
    with torch.device("meta"):
        head = IntegerLinear(layer, source.grid)
    head.share_codes(source)
    return head


def _names(model: CausalLanguageModel) -> tuple[str | None, str | None]:
    network = model.network
    layers = (network.get_input_embeddings(), network.get_output_embeddings())
    by_module = {module: name for name, module in reversed(list(model.named_modules()))}
    embedding, head = (None if layer is None else by_module.get(layer) for layer in layers)
    return embedding, head if type(layers[1]) is nn.Linear else None


def _weight(model: nn.Module, name: str) -> torch.Tensor:
    return model.get_parameter(f"{name}.weight")


def _unfit(name: str, request: Request) -> str | None:
    pattern = skipping_pattern(name, request.settings.skip)
    if pattern is not None:
        return f"quantize.skip names {pattern!r}"
    if request.settings.embedding != INT8:
        return f"quantize.embedding={request.settings.embedding}"
    if name in request.fixed:
        return request.fixed[name]
    layer = request.model.get_submodule(name)
    if isinstance(layer, nn.Linear) or _is_lookup(layer):
        return None
    return f"{type(layer).__name__} is not known to look up rows of its weight"


def _is_lookup(layer: nn.Module) -> bool:
    """Return whether an embedding gives its weight's rows, times a factor, on a few tokens."""
    factor = embedding_factor(layer)
    if factor is None or not isinstance(layer, nn.Embedding):
        return False
    tokens = torch.arange(layer.num_embeddings)[:: max(1, layer.num_embeddings // 8)]
    with torch.no_grad():
        return torch.allclose(layer(tokens), layer.weight[tokens] * factor)


def _grid(name: str, names: list[str], overrides: Mapping[str, object]) -> Grid:
    """Return the grid of the first override that names the layer, or another of the same weight."""
    for pattern, given in overrides.items():
        if any(fnmatch.fnmatchcase(each, pattern) for each in (name, *names)):
            return replace(_GRID, **vars(given))
    return _GRID
