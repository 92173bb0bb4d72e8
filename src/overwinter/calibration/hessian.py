"""The Hessian of a layer's squared error, made fit for solvers that remove or round one column after the other."""

from __future__ import annotations

import torch


def with_damping(hessian: torch.Tensor, damping: float) -> torch.Tensor:
    """Return a Hessian (columns, columns) with a share of its diagonal's mean added to the diagonal."""
    mean = hessian.diagonal().mean().clamp(min=1e-8)
    return hessian + damping * mean * torch.eye(len(hessian), device=hessian.device)


def inverse_factor(hessian: torch.Tensor) -> torch.Tensor:
    """Return the upper Cholesky factor (columns, columns) of the inverse of a positive definite Hessian."""
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(hessian))
    factor: torch.Tensor = torch.linalg.cholesky(inverse, upper=True)
    return factor
