"""The weight of a layer as the matrices that its inputs are multiplied by, whatever its kind.

A Linear layer and a convolution without groups are one matrix, a grouped convolution is one for each group. The
columns of a convolution run through the channels of one place, then of the next, as kernels for N:M take them; the
weight of transformers' Conv1D is transposed.
"""

from __future__ import annotations

import torch
from torch import nn

from overwinter.models import is_conv1d


def is_matrix(layer: nn.Module) -> bool:
    """Whether a layer's weight can be read as matrices."""
    return isinstance(layer, nn.Linear | nn.Conv2d) or is_conv1d(layer)


def row_length(layer: nn.Module) -> int:
    """Return the weights that follow each other in a row: of a convolution, the channels of one place."""
    weight = layer.get_parameter("weight")
    return weight.shape[0] if is_conv1d(layer) else weight.shape[1]


def matrix_of(layer: nn.Module) -> torch.Tensor:
    """Return a copy of a layer's weight as (groups, rows, columns), float32."""
    weight = layer.get_parameter("weight").detach().to(torch.float32, copy=True)
    if isinstance(layer, nn.Conv2d):
        # (out, channels, height, width) -> (groups, rows, height x width x channels)
        return weight.permute(0, 2, 3, 1).reshape(layer.groups, -1, weight[0].numel())
    return (weight.T if is_conv1d(layer) else weight)[None]


def set_matrix(layer: nn.Module, matrix: torch.Tensor) -> None:
    """Write matrices (groups, rows, columns) into a layer's weight, in place."""
    weight = layer.get_parameter("weight")
    if isinstance(layer, nn.Conv2d):
        channels, height, width = weight.shape[1:]
        new = matrix.reshape(-1, height, width, channels).permute(0, 3, 1, 2)
    else:
        new = matrix[0].T if is_conv1d(layer) else matrix[0]
    with torch.no_grad():
        weight.copy_(new)
