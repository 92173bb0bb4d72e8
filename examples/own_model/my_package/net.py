"""A model: any module from a float tensor (batch, ...) to logits (batch, classes)."""

import torch
from torch import nn
from torch.nn import functional


class Net(nn.Module):
    """Two hidden layers. `torch.fx` can trace it, so hidden units can be removed.

    Args:
        hidden: units per hidden layer.
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.first = nn.Linear(2, hidden)
        self.second = nn.Linear(hidden, hidden)
        self.head = nn.Linear(hidden, 2)

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        """Return logits (batch, 2) of points (batch, 2)."""
        hidden = functional.relu(self.first(points))
        hidden = functional.relu(self.second(hidden))
        return self.head(hidden)
