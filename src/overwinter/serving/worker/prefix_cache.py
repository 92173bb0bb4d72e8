"""The last conversation of a language model over sleep: its tokens, keys and values in one safetensors file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from overwinter import files
from overwinter.errors import OverwinterError
from overwinter.serving.worker.generation import Kept

_PLAIN = "DynamicLayer"  # layers that hold every token; others forget some, and cannot be put back so


def save_prefix(path: Path, kept: Kept, *, bundle: str) -> bool:
    """Write what a model has read last, whole or not at all.

    Args:
        path: of the file (0600).
        kept: tokens, and transformers' cache of them.
        bundle: digest of the bundle that has read them.

    Returns:
        Whether there was anything that can be kept.

    Raises:
        OverwinterError: it cannot be written.
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
    except SafetensorError as error:  # what it makes of a full disk
        raise OverwinterError(f"{path} cannot be written: {error}.") from None
    return True


def load_prefix(path: Path, *, bundle: str) -> Kept:
    """Return what was read last; nothing where there is no file, or one of another bundle or damaged."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        return Kept()
    try:
        with safe_open(str(path), framework="pt") as stored:
            if (stored.metadata() or {}).get("bundle") != bundle:
                return Kept()
            return _kept({name: stored.get_tensor(name) for name in stored.keys()})  # noqa: SIM118 -- it is no mapping
    except (SafetensorError, KeyError, OSError):
        return Kept()


def _kept(tensors: dict[str, Any]) -> Kept:
    from transformers import DynamicCache

    cache = DynamicCache()
    for place in range((len(tensors) - 1) // 2):
        cache.update(tensors[f"{place}.keys"], tensors[f"{place}.values"], place)
    return Kept(tensors["tokens"].tolist(), cache)
