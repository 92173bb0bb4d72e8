"""Statistics of a layer's inputs: the Hessian of the squared error, and the drift from the dense model's inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from overwinter.calibration.precision import quick


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


def patches_of(layer: nn.Module) -> tuple[Any, ...]:
    """Return what, beside its input, the columns of a layer depend on: a convolution's kernel and how it moves."""
    if not isinstance(layer, nn.Conv2d):
        return ()
    return layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.padding_mode


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
