"""A first convolution that whitens patches of the training images and is then frozen (Jordan, 2024, arXiv:2404.00498).

Its filters are the eigenvectors of the patches' covariance, each divided by the square root of its eigenvalue, and
their negatives: the layers behind it see features of equal variance from the first step on, and no gradient has to be
computed for it. A batch normalisation behind it is frozen with it, at the statistics of the same patches.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional

from overwinter.data import Split
from overwinter.data.seeding import generator
from overwinter.errors import ConfigError

_IMAGES = 4  # dimensions: batch, channels, height, width
_TRIED = 2  # images
_SMALLEST = 1e-3  # eigenvalues are raised by this share of the largest, as rare directions are mostly noise


class Whitened(NamedTuple):
    """What was set and frozen.

    Attributes:
        name: of the convolution.
        frozen: the convolution, and the batch normalisation of its outputs if there is one; `fit` keeps them so.
    """

    name: str
    frozen: tuple[nn.Module, ...]


class _Call(NamedTuple):
    module: nn.Module
    inputs: torch.Tensor
    outputs: torch.Tensor


def whiten_first_convolution(model: nn.Module, train: Split, *, samples: int, seed: int) -> Whitened:
    """Set and freeze the first convolution, in place.

    Args:
        model: its first convolution must read the images themselves.
        train: the training split.
        samples: images of it to look at.
        seed: of the drawing, and of the directions of filters beyond twice the number of eigenvectors.

    Raises:
        ConfigError: there is no such convolution.
    """
    images, _ = train.spread(samples, seed=seed)
    convolution, normalisation = _first_layers(model, images)
    patches = _patches(convolution, images)
    filters = _filters(convolution.out_channels, patches, seed)  # (out, in * height * width)
    with torch.no_grad():
        convolution.weight.copy_(filters.view(convolution.weight.shape))
        if normalisation is not None:
            _normalise(normalisation, patches @ filters.T)
    frozen = (convolution,) if normalisation is None else (convolution, normalisation)
    convolution.weight.requires_grad_(False)
    for parameter in normalisation.parameters() if normalisation is not None else ():
        parameter.requires_grad_(False)
    return Whitened(next(name for name, module in model.named_modules() if module is convolution), frozen)


def _patches(convolution: nn.Conv2d, images: torch.Tensor) -> torch.Tensor:
    """Return all patches that lie within the images (patches, in * height * width), in double precision."""
    patches = functional.unfold(images, convolution.kernel_size, dilation=convolution.dilation)  # (n, size, places)
    return patches.transpose(1, 2).flatten(0, 1).double()


def _filters(count: int, patches: torch.Tensor, seed: int) -> torch.Tensor:
    """Return filters (count, size) with outputs of equal power: eigenvectors, each with its negative; then mixtures."""
    powers, directions = torch.linalg.eigh(patches.T @ patches / len(patches))  # ascending
    whitening = (directions / (powers + _SMALLEST * powers[-1]).sqrt()).T.flip(0)  # (size, size)
    pairs = torch.stack([whitening, -whitening], 1).flatten(0, 1)[:count]
    mixed = torch.randn(count - len(pairs), len(whitening), generator=generator(seed), dtype=torch.float64)
    return torch.cat([pairs, functional.normalize(mixed, dim=1) @ whitening])


def _normalise(normalisation: nn.BatchNorm2d, outputs: torch.Tensor) -> None:
    """Give a batch normalisation the statistics of the convolution's outputs (patches, out), which it will keep."""
    if normalisation.running_mean is not None and normalisation.running_var is not None:
        normalisation.running_mean.copy_(outputs.mean(0))
        normalisation.running_var.copy_(outputs.var(0))


def _first_layers(model: nn.Module, images: Any) -> tuple[nn.Conv2d, nn.BatchNorm2d | None]:
    if not isinstance(images, torch.Tensor) or images.dim() != _IMAGES:
        raise ConfigError("train.whitening_samples is for images, and the inputs of the data are none. Set it to 0.")
    calls = _calls(model, images[:_TRIED])
    first = next((call for call in calls if isinstance(call.module, nn.Conv2d)), None)
    found = None if first is None else first.module
    if first is None or not isinstance(found, nn.Conv2d) or found.groups != 1 or not _reads(first, images):
        raise ConfigError(
            f"train.whitening_samples needs a first layer that is a convolution of all channels of the images, which "
            f"{type(model).__name__} has not. Set it to 0."
        )
    behind = [call.module for call in calls if call.inputs is first.outputs]
    normalisation = behind[0] if len(behind) == 1 and isinstance(behind[0], nn.BatchNorm2d) else None
    return found, normalisation


def _reads(call: _Call, images: torch.Tensor) -> bool:
    return torch.equal(call.inputs.cpu(), images[:_TRIED])


def _calls(model: nn.Module, images: torch.Tensor) -> list[_Call]:
    """Return the calls of convolutions and other layers without parts, in order."""
    calls: list[_Call] = []
    leaves = [module for module in model.modules() if not list(module.children())]

    def note(module: nn.Module, inputs: Any, outputs: Any) -> None:
        if inputs and isinstance(inputs[0], torch.Tensor):
            calls.append(_Call(module, inputs[0], outputs))

    handles = [module.register_forward_hook(note) for module in leaves]
    was_training = model.training
    try:
        with torch.no_grad():
            model.eval()(images.to(next(model.parameters()).device))
    finally:
        model.train(was_training)
        for handle in handles:
            handle.remove()
    return calls
