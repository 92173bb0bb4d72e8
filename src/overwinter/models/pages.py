"""Memory-mapped weights of a checkpoint: the kernel reads pages on use, and may drop them at any time.

A model that is quantized, or pruned, block by block is then never in memory as a whole.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

_INDEX = "model.safetensors.index.json"
_SINGLE = "model.safetensors"
_SMALL = 0.25  # of the memory
_WIDENED = (torch.bfloat16, torch.float16)  # exact in float32


def mapped_weights(folder: Path, known: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor] | None:
    """Return a folder's safetensors in float32, or None if they do not match the model.

    Args:
        folder: folder of one file, or of shards and their index, as transformers writes them.
        known: the model's ``state_dict(keep_vars=True)``; one name of a tied tensor is enough.
    """
    try:
        weights = {name: tensor for file in _files(folder) for name, tensor in load_file(folder / file).items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError):
        return None
    if not _fit(weights, known):
        return None
    return _widened(weights)


def keep_changes_on_disk(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Move the float32 values of parameters that will be changed in place to unnamed files, unless they are small.

    A change to mapped pages of a checkpoint would stay in memory. Small is less than a quarter of that, all together.
    """
    changed = [each for each in parameters if each.dtype == torch.float32]
    if sum(each.nbytes for each in changed) < _SMALL * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"):
        return
    for each in changed:
        each.data = _scratch(each.numel()).view(each.shape).copy_(each.data)


def _files(folder: Path) -> list[str]:
    if (folder / _SINGLE).is_file():
        return [_SINGLE]
    return sorted(set(json.loads((folder / _INDEX).read_text(encoding="utf-8"))["weight_map"].values()))


def _fit(weights: Mapping[str, torch.Tensor], known: Mapping[str, torch.Tensor]) -> bool:
    given = {id(known[name]) for name in weights if name in known}
    whole = all(id(tensor) in given for tensor in known.values())
    return whole and all(
        name in known and tensor.shape == known[name].shape and tensor.dtype in (torch.float32, *_WIDENED)
        for name, tensor in weights.items()
    )


def _widened(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the weights in float32; converted ones are in an unnamed file that disappears with the tensors."""
    narrow = {name: tensor for name, tensor in weights.items() if tensor.dtype in _WIDENED}
    if not narrow:
        return weights
    room = _scratch(sum(tensor.numel() for tensor in narrow.values()))
    parts = torch.split(room, [tensor.numel() for tensor in narrow.values()])
    return weights | {
        name: part.view(tensor.shape).copy_(tensor) for (name, tensor), part in zip(narrow.items(), parts, strict=True)
    }


def _scratch(count: int) -> torch.Tensor:
    """Return space for ``count`` float32 numbers: on the disk, or in memory if the disk is full."""
    with tempfile.NamedTemporaryFile() as file:
        try:
            os.posix_fallocate(file.fileno(), 0, 4 * count)  # otherwise a full disk would kill the process later
        except OSError:
            return torch.empty(count)
        return torch.from_file(file.name, shared=True, size=count, dtype=torch.float32)
