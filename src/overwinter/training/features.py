"""Following a teacher's inner values, layer by layer (FitNets; Romero et al., https://arxiv.org/abs/1412.6550)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from overwinter.errors import ConfigError, nearest


class FeatureDistance:
    """How far the outputs of a student's layers are from those of a teacher's, in the last pass of each.

    The student's outputs are kept in training mode only: passes that measure it leave nothing behind.

    Args:
        student: that is trained.
        teacher: in evaluation mode.
        layers: names of layers, whose outputs have the same shape in both.

    Raises:
        ConfigError: a model has no such layer.
    """

    def __init__(self, student: nn.Module, teacher: nn.Module, layers: Sequence[str]) -> None:
        self._layers = tuple(layers)
        self._found: dict[str, Any] = {}
        self._wanted: dict[str, Any] = {}
        for name in self._layers:
            _layer(student, name, "the model").register_forward_hook(_keeper(self._found, name, training=True))
            _layer(teacher, name, "the dense model").register_forward_hook(_keeper(self._wanted, name))

    def __call__(self) -> torch.Tensor:
        """Return the mean squared differences over the teacher's mean squares, averaged over the layers; forget both.

        Raises:
            ConfigError: a layer was not called, or its output is no tensor of the teacher's shape.
        """
        terms = [self._term(name) for name in self._layers]
        self._found.clear()
        self._wanted.clear()
        return torch.stack(terms).mean()

    def _term(self, name: str) -> torch.Tensor:
        found, wanted = self._found.get(name), self._wanted.get(name)
        shapes = [list(each.shape) if isinstance(each, torch.Tensor) else None for each in (found, wanted)]
        if not isinstance(found, torch.Tensor) or not isinstance(wanted, torch.Tensor) or shapes[0] != shapes[1]:
            raise ConfigError(
                f"distillation_features: the output of {name} is {_in_words(shapes[0])}, and in the dense model it is "
                f"{_in_words(shapes[1])}. Name layers whose outputs have the same shape."
            )
        wanted = wanted.detach().float()
        return (found.float() - wanted).square().mean() / wanted.square().mean().clamp(min=1e-12)


def _layer(model: nn.Module, name: str, whose: str) -> nn.Module:
    layers: dict[str, nn.Module] = {known: layer for known, layer in model.named_modules() if known}
    if name not in layers:
        raise ConfigError(f"distillation_features: {whose} has no layer {name!r}.{nearest(name, list(layers))}")
    return layers[name]


def _keeper(kept: dict[str, Any], key: str, *, training: bool = False) -> Callable[[nn.Module, Any, Any], None]:
    def keep(layer: nn.Module, _inputs: Any, output: Any) -> None:
        if layer.training or not training:
            kept[key] = output

    return keep


def _in_words(shape: list[int] | None) -> str:
    return "no tensor" if shape is None else f"a tensor of the shape {shape}"
