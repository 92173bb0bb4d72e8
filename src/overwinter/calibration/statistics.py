"""Statistics of a layer's inputs: the Hessian of the squared error, and the drift from the dense model's inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from overwinter.calibration.precision import quick

Calls = Mapping[str, Sequence[torch.Tensor]]
"""Layer -> its inputs, one per call."""


@dataclass(kw_only=True)
class Statistics:
    """Sums over the inputs x of one layer, as columns of its weight matrix.

    Attributes:
        hessian: (columns, columns), sum of x x^T.
        drift: (columns, columns), sum of (x_dense - x) x^T.
        rows: The number of inputs.
    """

    hessian: torch.Tensor
    drift: torch.Tensor
    rows: int = 0

    def add(self, inputs: torch.Tensor, dense: torch.Tensor) -> None:
        """Add inputs (rows, columns) and the dense model's inputs in the same place."""
        self.hessian += inputs.T @ inputs
        with quick(inputs.device):  # a correction that is scaled down: bfloat16 suffices
            self.drift += (dense - inputs).T @ inputs
        self.rows += len(inputs)


@dataclass(kw_only=True)
class Gram:
    """Sums over the inputs x of one layer, grouped as its weight is.

    Attributes:
        products: (groups, columns, columns), sum of x x^T; one group but for grouped convolutions.
        rows: The number of inputs.
    """

    products: torch.Tensor
    rows: int = 0

    @classmethod
    def like(cls, inputs: torch.Tensor) -> Gram:
        """Return an empty one for inputs (groups, rows, columns)."""
        groups, _, columns = inputs.shape
        return cls(products=torch.zeros(groups, columns, columns, device=inputs.device))

    def add(self, inputs: torch.Tensor, *, exactly: bool) -> None:
        """Add inputs (groups, rows, columns); unless ``exactly``, only the diagonal is exact, the rest in bfloat16."""
        if exactly:
            self.products.baddbmm_(inputs.mT, inputs)
        else:
            with quick(inputs.device):
                products = (inputs.mT @ inputs).float()
            products.diagonal(dim1=1, dim2=2).copy_(inputs.square().sum(1))
            self.products += products
        self.rows += inputs.shape[1]


def as_columns(layer: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    """Return a layer's input as (rows, columns of its weight matrix); for a convolution, its patches."""
    if not isinstance(layer, nn.Conv2d):
        return inputs.reshape(-1, inputs.shape[-1]).float()
    padding = layer._reversed_padding_repeated_twice  # as its own forward does
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    padded = functional.pad(inputs.float(), list(padding), mode=mode)
    kernel, dilation, stride = layer.kernel_size, layer.dilation, layer.stride
    patches = functional.unfold(padded, kernel, dilation=dilation, stride=stride)
    return patches.transpose(1, 2).flatten(0, 1)


def as_groups(layer: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    """Return a layer's input as (groups, rows, columns of a group); of a patch, the channels of one place together."""
    columns = as_columns(layer, inputs)  # (rows, columns)
    if not isinstance(layer, nn.Conv2d):
        return columns[None]
    places = layer.kernel_size[0] * layer.kernel_size[1]
    grouped = columns.reshape(len(columns), layer.groups, -1, places)  # (rows, groups, channels, places)
    return grouped.permute(1, 0, 3, 2).flatten(2)


def sharing(layers: Mapping[str, nn.Module], inputs: Calls) -> Iterator[tuple[list[str], Sequence[torch.Tensor]]]:
    """Yield the names of the layers that are given the same and see it alike, with what they are given."""
    alike: dict[Any, list[str]] = {}
    for name, calls in inputs.items():
        alike.setdefault((tuple(map(id, calls)), patches_of(layers[name])), []).append(name)
    for names in alike.values():
        yield names, inputs[names[0]]


def patches_of(layer: nn.Module) -> tuple[Any, ...]:
    """Return what, beside its input, a layer's columns and groups depend on: a convolution's kernel, how it moves."""
    if not isinstance(layer, nn.Conv2d):
        return ()
    return layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.padding_mode, layer.groups


class _Collected(Exception):  # noqa: N818 -- no error: it ends a pass early
    """The last layer was called."""


class Listener:
    """Context that records the inputs of each layer of a block, one per call.

    Args:
        layers: name -> layer.
        calls: The number of calls after which the pass ends, before the last output: a language model's logits are
            large. None: the pass continues to its end.
    """

    def __init__(self, layers: Mapping[str, nn.Module], *, calls: int | None = None) -> None:
        self._layers, self._calls = layers, calls
        self._handles: list[torch.utils.hooks.RemovableHandle] = []
        self.inputs: dict[str, list[torch.Tensor]] = {}

    def __enter__(self) -> Listener:
        for name, layer in self._layers.items():
            self._handles.append(layer.register_forward_pre_hook(self._keeper(name), with_kwargs=True))
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> bool:
        for handle in self._handles:
            handle.remove()
        return isinstance(error, _Collected)

    def _keeper(self, name: str) -> Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], None]:
        def keep(_layer: nn.Module, args: tuple[Any, ...], keywords: dict[str, Any]) -> None:
            self.inputs.setdefault(name, []).append(args[0] if args else keywords["input"])
            if self._calls == sum(map(len, self.inputs.values())):
                raise _Collected

        return keep
