"""Stand-ins for layers of integers, whose rows are filled with numbers that tell where they are in a graph."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from overwinter.models import IntegerEmbedding, IntegerLayer, replace_layer
from overwinter.runtime.onnx_language_integers import Source

_MARK = torch.float64  # no other tensor of a model that is built here has it


class Labels:
    """Replaces layers of a network by stand-ins, and finds their rows again.

    Layers with one source have the same numbers.

    Args:
        network: transformers' module, which is changed.
        sources: name of a layer -> its integers.

    Attributes:
        named: name of a constant of the graph -> the numbers of its rows.
    """

    def __init__(self, network: nn.Module, sources: Mapping[str, Source]) -> None:
        self.named: dict[str, list[int]] = {}
        self._sources: list[tuple[str, Source]] = []
        self._starts = [0]  # the number of the first row of each source, and of the next one
        starts: dict[int, int] = {}
        for name, source in sources.items():
            layer = network.get_submodule(name)
            rows, columns = _shape(layer)
            if id(source) not in starts:
                starts[id(source)] = self._starts[-1]
                self._starts.append(self._starts[-1] + rows)
                self._sources.append((name, source))
            numbers = torch.arange(rows, dtype=_MARK) + starts[id(source)]
            replace_layer(network, name, _stand_in(layer, numbers[:, None].expand(rows, columns)))

    def are_alike(self, *weights: torch.Tensor) -> bool:
        """Return whether weights can be joined to one product: if they are all floats, or of one layout."""
        if any(weight.dtype != _MARK for weight in weights):
            return all(weight.dtype != _MARK for weight in weights)
        layouts = {self._sources[self._which(int(weight[0, 0]))][1].layout for weight in weights}
        return len(layouts) == 1

    def seen(self, tensor: Any, name: str) -> Any:
        """Note the rows of a tensor that becomes a constant of the graph; return what is to be put there."""
        if not isinstance(tensor, torch.Tensor) or tensor.dtype != _MARK:
            return tensor
        transposed = bool((tensor[:, 0] == tensor[0, 0]).all())  # (columns, rows), as of a product
        self.named[name] = (tensor[0] if transposed else tensor[:, 0]).long().tolist()
        return torch.zeros(()).expand(tensor.shape)

    def rows(self, name: str) -> list[tuple[str, Source, slice]]:
        """Return layer, source and rows of the parts of a constant, in order."""
        found, numbers, place = [], self.named[name], 0
        while place < len(numbers):
            which, first = self._which(numbers[place]), place
            while place < len(numbers) and numbers[place] == numbers[first] + place - first < self._starts[which + 1]:
                place += 1
            start = numbers[first] - self._starts[which]
            found.append((*self._sources[which], slice(start, start + place - first)))
        return found

    def _which(self, number: int) -> int:
        return bisect_right(self._starts, number) - 1


def _shape(layer: nn.Module) -> tuple[int, int]:
    shape = layer.weight_shape if isinstance(layer, IntegerLayer) else tuple(layer.get_parameter("weight").shape)
    rows, columns = shape
    return rows, columns


def _stand_in(layer: nn.Module, weight: torch.Tensor) -> Any:
    rows, columns = weight.shape
    made: Any
    with torch.device("meta"):
        if isinstance(layer, IntegerEmbedding | nn.Embedding):
            made = nn.Embedding(rows, columns)
        else:
            made = nn.Linear(columns, rows, bias=layer.bias is not None)
            made.bias = layer.bias
    made.weight = nn.Parameter(weight, requires_grad=False)
    return made
