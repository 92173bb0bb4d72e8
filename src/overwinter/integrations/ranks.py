"""Agreement of the ranks of a distributed training on when to stop: a rank that stopped alone would hang the others."""

from __future__ import annotations

from typing import Any

AGREE_EVERY = 10
"""Steps between two agreements; each waits for the device."""


def agreed(stop: bool, step: int, device: Any) -> bool:
    """Return whether any rank wants to stop; with several ranks, only at every tenth step.

    Args:
        stop: Whether this rank wants to stop.
        step: The number of steps done, the same on all ranks.
        device: The device of the process group's tensors.
    """
    import torch
    from torch import distributed

    if not (distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1):
        return stop
    if step % AGREE_EVERY:
        return False
    wanted = torch.tensor(int(stop), device=device)
    distributed.all_reduce(wanted, op=distributed.ReduceOp.MAX)
    return bool(wanted.item())
