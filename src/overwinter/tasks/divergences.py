"""How far outputs are from the dense model's, for tensors, differentiable: what several tasks share."""

from __future__ import annotations

import torch
from torch.nn import functional


def kl_divergence(outputs: torch.Tensor, reference: torch.Tensor, *, axis: int, temperature: float) -> torch.Tensor:
    """Return the Kullback-Leibler divergence from the reference's classes in nats, the mean over positions (n,).

    Args:
        outputs: logits (n, ...).
        reference: logits (n, ...).
        axis: along which the classes lie.
        temperature: both models' logits are divided by it.
    """
    found = functional.log_softmax(outputs.float() / temperature, dim=axis)
    expected = functional.log_softmax(reference.float() / temperature, dim=axis)
    per_position = (expected.exp() * (expected - found)).sum(dim=axis)  # (n, ...)
    return per_position.flatten(1).mean(dim=1) if per_position.dim() > 1 else per_position


def bernoulli_divergence(outputs: torch.Tensor, reference: torch.Tensor, *, temperature: float) -> torch.Tensor:
    """Return the Kullback-Leibler divergence of each label's Bernoulli distribution in nats, summed (n,).

    Args:
        outputs: logits (n, labels).
        reference: logits (n, labels).
        temperature: both models' logits are divided by it.
    """
    found, expected = outputs.float() / temperature, reference.float() / temperature
    present = expected.sigmoid() * (functional.logsigmoid(expected) - functional.logsigmoid(found))
    absent = (-expected).sigmoid() * (functional.logsigmoid(-expected) - functional.logsigmoid(-found))
    return (present + absent).flatten(1).sum(dim=1)


def relative_error(outputs: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Return each sample's root mean square error over the spread of the reference (n,).

    Args:
        outputs: (n, ..., series).
        reference: (n, ..., series); the spread is the standard deviation of each series over all samples.
    """
    expected = reference.detach().float()
    series = expected.reshape(-1, expected.shape[-1])  # (n * ..., series)
    tiny = torch.finfo(series.dtype).tiny
    spread, size = series.std(dim=0, correction=0), series.abs().amax(dim=0)
    # A series that does not vary, as in a batch of one sample, is measured by its size.
    spread = torch.where(spread > 1e-6 * size, spread, size.clamp_min(tiny))
    mean_square = ((outputs.float() - expected) / spread).square().flatten(1).mean(dim=1)
    return mean_square.clamp_min(tiny).sqrt()  # the root has no gradient at zero
