"""Stand-ins for integer layers, whose rows are filled with numbers that tell where they are in a graph."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from overwinter.models import Codes, Grid, IntegerEmbedding, IntegerLayer, integer_layers, replace_layer

_MARK = torch.float64  # no other tensor of a model that is built here has it
_JOINED = ("q_proj", "k_proj", "v_proj")


@dataclass(frozen=True)
class Rows:
    """Rows of one integer layer.

    Attributes:
        name: the layer's.
        layer: the layer.
        start: first row.
        stop: row after the last.
    """

    name: str
    layer: IntegerLayer
    start: int
    stop: int

    def codes(self) -> Codes:
        """Return the codes of the rows."""
        return self.layer.get_codes(slice(self.start, self.stop))


class Labels:
    """Replaces the integer layers of a network by stand-ins, and finds their rows again.

    Layers that share their codes have the same numbers.

    Args:
        network: transformers' module, which is changed.

    Attributes:
        alike: whether each attention's projections of queries, keys and values have the same grid, so that they can be
            joined to one product.
        named: name of a constant of the graph -> the numbers of its rows.
    """

    def __init__(self, network: nn.Module) -> None:
        layers = integer_layers(network)
        self.alike = _are_alike(network)
        self.named: dict[str, list[int]] = {}
        self._layers: list[tuple[str, IntegerLayer]] = []
        self._starts: list[int] = []
        starts: dict[int, int] = {}
        for name, layer in layers.items():
            source = layer.source or layer
            if id(source) not in starts:
                starts[id(source)] = self._end
                self._starts.append(self._end)
                self._layers.append((name, layer))
            replace_layer(network, name, _stand_in(layer, starts[id(source)]))

    @property
    def _end(self) -> int:
        return self._starts[-1] + self._layers[-1][1].weight_shape[0] if self._layers else 0

    def seen(self, tensor: Any, name: str) -> Any:
        """Note the rows of a tensor that becomes a constant of the graph; return what is to be put there."""
        if not isinstance(tensor, torch.Tensor) or tensor.dtype != _MARK:
            return tensor
        transposed = bool((tensor[:, 0] == tensor[0, 0]).all())  # (columns, rows), as of a product
        self.named[name] = (tensor[0] if transposed else tensor[:, 0]).long().tolist()
        return torch.zeros(()).expand(tensor.shape)

    def rows(self, name: str) -> list[Rows]:
        """Return the rows of which a constant consists, in order."""
        found: list[Rows] = []
        numbers = self.named[name]
        place = 0
        while place < len(numbers):
            which = max(index for index, start in enumerate(self._starts) if start <= numbers[place])
            (layer_name, layer), start = self._layers[which], numbers[place] - self._starts[which]
            count = 1
            most = min(len(numbers) - place, layer.weight_shape[0] - start)
            while count < most and numbers[place + count] == numbers[place] + count:
                count += 1
            found.append(Rows(layer_name, layer, start, start + count))
            place += count
        return found


def _are_alike(network: nn.Module) -> bool:
    joined: dict[str, set[Grid | None]] = defaultdict(set)
    for name, module in network.named_modules():
        parent, _, leaf = name.rpartition(".")
        if leaf in _JOINED:
            joined[parent].add(module.grid if isinstance(module, IntegerLayer) else None)
    return all(len(grids) == 1 for grids in joined.values())


def _stand_in(layer: IntegerLayer, start: int) -> Any:
    rows, columns = layer.weight_shape
    numbers = torch.arange(start, start + rows, dtype=_MARK)[:, None].expand(rows, columns)
    made: Any
    with torch.device("meta"):
        if isinstance(layer, IntegerEmbedding):
            made = nn.Embedding(rows, columns)
        else:
            made = nn.Linear(columns, rows, bias=layer.bias is not None)
            made.bias = layer.bias
    made.weight = nn.Parameter(numbers, requires_grad=False)
    return made
