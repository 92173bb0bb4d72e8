"""The prefix cache of a language model on disk: tokens, keys and values in one safetensors file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from overwinter import files
from overwinter.errors import OverwinterError
from overwinter.runtime import LanguageSession
from overwinter.serving.worker.generation import Kept

_TOKENS = "tokens"


def save_prefix(path: Path, kept: Kept, session: LanguageSession, *, bundle: str) -> bool:
    """Write the prefix cache atomically.

    Args:
        path: The path of the file (0600).
        kept: The tokens, and the session's cache of them.
        session: The session that made it.
        bundle: The digest of the model's bundle.

    Returns:
        Whether there was anything to save.

    Raises:
        OverwinterError: The file cannot be written.
    """
    arrays = None if kept.values is None else session.cache_to_arrays(kept.values)
    if arrays is None:
        return False
    try:
        with files.replacing(path, 0o600) as staging:
            save_file({_TOKENS: np.array(kept.tokens), **arrays}, staging, metadata={"bundle": bundle})
    except SafetensorError as error:  # its exception on a full disk
        raise OverwinterError(f"{path} cannot be written: {error}.") from None
    return True


def load_prefix(path: Path, session: LanguageSession, *, bundle: str) -> Kept:
    """Return the prefix cache; empty if there is no file, or it is damaged or from another bundle."""
    if not path.is_file():
        return Kept()
    try:
        with safe_open(str(path), framework="np") as stored:
            if (stored.metadata() or {}).get("bundle") != bundle:
                return Kept()
            arrays = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 -- it is not a mapping
            tokens = arrays.pop(_TOKENS).tolist()
            return Kept(tokens, session.cache_from_arrays(arrays))
    except (SafetensorError, KeyError, OSError):
        return Kept()
