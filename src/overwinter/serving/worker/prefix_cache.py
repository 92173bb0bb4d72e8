"""The prefix cache of a language model on disk: tokens, keys and values in one safetensors file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from overwinter import files
from overwinter.errors import OverwinterError
from overwinter.serving.worker.generation import Kept

_PLAIN = "DynamicLayer"  # layers that keep every token; others drop some, and cannot be restored


def save_prefix(path: Path, kept: Kept, *, bundle: str) -> bool:
    """Write the prefix cache atomically.

    Args:
        path: The path of the file (0600).
        kept: The tokens, and transformers' cache of them.
        bundle: The digest of the model's bundle.

    Returns:
        Whether there was anything to save.

    Raises:
        OverwinterError: The file cannot be written.
    """
    layers = list(getattr(kept.values, "layers", ()))
    if not layers or any(type(layer).__name__ != _PLAIN for layer in layers):
        return False
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    tensors = {"tokens": torch.tensor(kept.tokens)}
    for place, layer in enumerate(layers):
        tensors |= {f"{place}.keys": layer.keys.contiguous(), f"{place}.values": layer.values.contiguous()}
    try:
        with files.replacing(path, 0o600) as staging:
            save_file(tensors, staging, metadata={"bundle": bundle})
    except SafetensorError as error:  # its exception on a full disk
        raise OverwinterError(f"{path} cannot be written: {error}.") from None
    return True


def load_prefix(path: Path, *, bundle: str) -> Kept:
    """Return the prefix cache; empty if there is no file, or it is damaged or from another bundle."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        return Kept()
    try:
        with safe_open(str(path), framework="pt") as stored:
            if (stored.metadata() or {}).get("bundle") != bundle:
                return Kept()
            return _kept({name: stored.get_tensor(name) for name in stored.keys()})  # noqa: SIM118 -- it is not a mapping
    except (SafetensorError, KeyError, OSError):
        return Kept()


def _kept(tensors: dict[str, Any]) -> Kept:
    from transformers import DynamicCache

    cache = DynamicCache()
    for place in range((len(tensors) - 1) // 2):
        cache.update(tensors[f"{place}.keys"], tensors[f"{place}.values"], place)
    return Kept(tensors["tokens"].tolist(), cache)
