"""Channels removed while a model is trained: the rest of the training is cheaper, and so is the model.

You et al., "Drawing early-bird tickets" (2020): which channels matter shows early in a training. The optimizer's state
is cut with the parameters, so that the training goes on as it was.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from overwinter.config.groups.training import ShrinkConfig
from overwinter.data import Split
from overwinter.errors import OverwinterError
from overwinter.inputs import TensorInputs, move
from overwinter.models import copy_module
from overwinter.sparsity.channel_amounts import choose_cuts, flops_per_sample
from overwinter.sparsity.channels import working_groups
from overwinter.sparsity.dependencies import ChannelGroup, find_channel_groups
from overwinter.sparsity.surgery import Cut, remove_channels, select

_EXAMPLES = 4


class Shrinking:
    """The hook that removes channels after given shares of all steps, each time an equal part of the FLOPs.

    Args:
        model: before its training, whole.
        train: the training split, for examples.
        config: how much, and when.

    Attributes:
        left_alone: layer -> why nothing can be removed from it.
        flops: floating-point operations for a sample of the whole model.

    Raises:
        ConfigError: so much cannot be removed.
    """

    def __init__(self, model: nn.Module, train: Split, config: ShrinkConfig) -> None:
        self._model, self._config = model, config
        self._examples: TensorInputs = train.first(_EXAMPLES)[0]
        self._optimizer: torch.optim.Optimizer | None = None
        whole = copy_module(model).eval()
        self.flops = flops_per_sample(whole, self._examples)
        groups, self.left_alone = self._groups(whole)
        self._cuts(whole, groups, config.amount)

    def use_optimizer(self, optimizer: torch.optim.Optimizer) -> None:
        """Take the optimizer whose state is cut, too."""
        self._optimizer = optimizer

    def before_step(self, step: int, total: int) -> None:
        """Do nothing: channels go after a step."""

    def after_step(self, step: int, total: int) -> None:
        """Remove channels if it is time to."""
        steps = self._steps(total)
        if step in steps:
            self._shrink(self._config.amount * (steps.index(step) + 1) / len(steps))

    def settled(self, step: int, total: int) -> bool:
        """Whether the last channels are gone."""
        return step >= self._steps(total)[-1]

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return nothing: what is gone shows in the shapes."""
        return {}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Do nothing: the model has its shapes again."""

    def _steps(self, total: int) -> list[int]:
        return [max(1, round(share * total)) for share in self._config.at]

    def _shrink(self, amount: float) -> None:
        """Let a share of the whole model's FLOPs be gone."""
        whole = copy_module(self._model).eval()
        left = flops_per_sample(whole, self._examples) / self.flops
        groups, _ = self._groups(whole)
        cuts = self._cuts(whole, groups, max(0.0, 1.0 - (1.0 - amount) / left))
        remove_channels(self._model, cuts, sliced=self._slice)

    def _groups(self, whole: nn.Module) -> tuple[list[ChannelGroup], dict[str, str]]:
        device = next((parameter.device for parameter in whole.parameters()), torch.device("cpu"))
        self._examples = move(self._examples, device)
        groups, left_alone = find_channel_groups(whole, self._examples)
        return working_groups(whole, groups, self._examples, left_alone), left_alone

    def _cuts(self, whole: nn.Module, groups: list[ChannelGroup], amount: float) -> list[Cut]:
        return choose_cuts(
            whole,
            groups,
            self._examples,
            amount=amount,
            amount_of="flops",
            ratio=self._config.ratio,
            multiple_of=self._config.multiple_of,
            key="train.shrink",
        )

    def _slice(self, parameter: torch.Tensor, dimension: int, indices: torch.Tensor) -> None:
        """Cut what the optimizer keeps for every entry of a parameter."""
        state = {} if self._optimizer is None else self._optimizer.state.get(parameter, {})
        for slot, value in state.items():
            if not isinstance(value, torch.Tensor) or value.dim() == 0:
                continue
            if value.dim() != parameter.dim() or value.size(dimension) != parameter.size(dimension):
                raise OverwinterError(
                    f"{type(self._optimizer).__name__} keeps {slot!r} of the shape {list(value.shape)} for a parameter "
                    f"of {list(parameter.shape)}, which cannot be cut with it. Set train.shrink=null, or use AdamW."
                )
            state[slot] = select(value, dimension, indices)
