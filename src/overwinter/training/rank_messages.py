"""What ranks tell each other: bytes as tensors, never pickle, since anyone who reaches their ports could answer."""

from __future__ import annotations

import json
from typing import Any

import torch
from torch import distributed


def broadcast_json(value: Any, *, source: int) -> Any:
    """Return the value of the rank ``source``, after a round trip through JSON on every rank."""
    content = json.dumps(value if distributed.get_rank() == source else None).encode()
    size = torch.tensor([len(content)])
    distributed.broadcast(size, src=source)
    sent = _as_tensor(content) if distributed.get_rank() == source else torch.empty(int(size), dtype=torch.uint8)
    distributed.broadcast(sent, src=source)
    return json.loads(_as_bytes(sent))


def gather_bytes(content: bytes) -> list[bytes]:
    """Return the contents of all ranks, in order."""
    ranks = distributed.get_world_size()
    sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(ranks)]
    distributed.all_gather(sizes, torch.tensor([len(content)]))
    longest = max(int(size) for size in sizes)  # gloo gathers tensors of one size
    received = [torch.empty(longest, dtype=torch.uint8) for _ in range(ranks)]
    distributed.all_gather(received, _as_tensor(content.ljust(longest, b"\0")))
    return [_as_bytes(each[: int(size)]) for each, size in zip(received, sizes, strict=True)]


def _as_tensor(content: bytes) -> torch.Tensor:
    return torch.frombuffer(bytearray(content), dtype=torch.uint8)


def _as_bytes(tensor: torch.Tensor) -> bytes:
    return tensor.numpy().tobytes()
