"""``weights.safetensors``: the tensors of a saved model, the sparse ones packed (`overwinter.models.sparse_storage`).

A packed tensor is a vector of bytes under its own name; its entry in ``model.json`` has ``packed`` with the number of
levels and bytes. Tensors that are not packed are mapped from the file and read on first use.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from overwinter import files
from overwinter.errors import IntegrityError, OverwinterError
from overwinter.models.bounds import most_bytes
from overwinter.models.description import stored_bytes
from overwinter.models.sparse_storage import DTYPES, pack_sparse, unpack_sparse

WEIGHTS = "weights.safetensors"


def write_weights(
    folder: Path, tensors: Mapping[str, torch.Tensor], zeros: Mapping[str, torch.Tensor] | None = None
) -> dict[str, dict[str, Any]]:
    """Write the file, and return the entry of each tensor in ``model.json``.

    Args:
        folder: existing folder of the saved model.
        tensors: name -> tensor on the CPU, contiguous; no two share memory.
        zeros: name -> what a zero is stored as in integer codes, uint8, of the codes' shape or (); in a packed tensor
            every element is combined with it by exclusive or, and `read_weights` leaves that so.

    Raises:
        OverwinterError: the disk is full.
    """
    stored, entries = {}, {}
    for name, tensor in tensors.items():
        entries[name] = _entry(tensor)
        stored[name] = tensor
        packed = pack_sparse(tensor ^ zeros[name] if zeros and name in zeros else tensor) if tensor.dim() > 1 else None
        if packed is not None:
            stored[name], levels = packed
            entries[name]["packed"] = {"levels": levels, "size_bytes": stored[name].nbytes}
    with files.replacing(folder / WEIGHTS) as staging:
        _save(staging, stored)
    return entries


def read_weights(folder: Path, description: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Return name -> tensor, of which those that are not packed are pages of the file.

    Args:
        folder: folder of the saved model.
        description: its ``model.json``.

    Raises:
        IntegrityError: the file cannot be read, lacks a packed tensor, or one is damaged or far larger than the file
            accounts for.
    """
    packed = {name: entry for name, entry in description["tensors"].items() if is_packed(entry)}
    path = folder / WEIGHTS
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise IntegrityError(f"{path} cannot be read: {error}. Run the stage that makes it again.") from None
    left = most_bytes(stored_bytes(description))
    for name, entry in packed.items():
        if name not in tensors:
            raise IntegrityError(f"{path} lacks the tensor {name}. Run the stage that makes it again.")
        tensors[name] = unpack_sparse(name, tensors[name], entry, most_bytes=left)
        left -= tensors[name].nbytes
    return tensors


def is_packed(entry: Any) -> bool:
    """Return whether a tensor is packed, by its entry in ``model.json``."""
    return isinstance(entry, dict) and "packed" in entry


def unpacked_bytes(description: Mapping[str, Any]) -> int:
    """Return the size that a saved model's files would have with every tensor stored dense."""
    packed = [entry for entry in description["tensors"].values() if is_packed(entry)]
    dense_bytes: int = sum(math.prod(entry["shape"]) * DTYPES[entry["dtype"]].itemsize for entry in packed)
    packed_bytes: int = sum(entry["packed"]["size_bytes"] for entry in packed)
    return stored_bytes(description) + dense_bytes - packed_bytes


def _entry(tensor: torch.Tensor) -> dict[str, Any]:
    counted = tensor.float() if tensor.is_floating_point() and tensor.itemsize == 1 else tensor  # float8 has no count
    return {
        "shape": list(tensor.shape),
        "dtype": str(tensor.dtype).removeprefix("torch."),
        "nonzero": int(torch.count_nonzero(counted)),
    }


def _save(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    try:
        save_file(tensors, path)
    except SafetensorError as error:
        # safetensors wraps the operating system's error in text; the usual one is a full disk.
        raise OverwinterError(f"{path.parent} cannot be written: {error}. Is the disk full?") from error
