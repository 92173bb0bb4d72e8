"""The global random generators, which a user's data set or model may draw from."""

from __future__ import annotations

import random

import numpy as np
import torch


def seed_globally(seed: int, step: int, rank: int = 0) -> None:
    """Seed the generators of torch, numpy and Python for one training step.

    Args:
        seed: of the run.
        step: optimizer steps done before it.
        rank: of the process among those that train one model: each draws its own.
    """
    mixed = int(np.random.SeedSequence([seed, step, rank] if rank else [seed, step]).generate_state(1)[0])
    torch.manual_seed(mixed)
    np.random.seed(mixed)  # noqa: NPY002 - the legacy generator is what a user's data set may draw from
    random.seed(mixed)


def generator(*entropy: int) -> torch.Generator:
    """Return a generator on the CPU, seeded with all of ``entropy`` through a SeedSequence."""
    return torch.Generator().manual_seed(int(np.random.SeedSequence(entropy).generate_state(1)[0]))
