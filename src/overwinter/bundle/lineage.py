"""Lineage of a bundle beyond the inputs of its stage: the data's digest, and the commit of the code."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from overwinter.data import Data, InMemory, raw_bytes
from overwinter.inputs import named

_SPLITS = ("train", "validation")  # only the stage evaluate asks for the test split
_GIT_LIMIT_S = 30.0


def data_digest(data: Data) -> str:
    """Return the SHA-256 of the data on which a model was trained and calibrated.

    If the source knows its ``sha256``, that is returned; otherwise every sample of the splits train and validation is
    read.
    """
    if data.sha256 is not None:
        return data.sha256
    digest = hashlib.sha256()
    for name in _SPLITS:
        split = data.split(name)
        held = split.dataset
        whole = (*named(held.inputs).values(), held.targets) if isinstance(held, InMemory) else split.samples()
        for part in whole:
            for content in raw_bytes(part):
                digest.update(content)
    return digest.hexdigest()


def code_version(code: Sequence[Path]) -> dict[str, Any]:
    """Return the commit of the current repository, and whether ``code`` differs from it; empty outside of a repository.

    Args:
        code: files and folders of the program.
    """
    try:
        commit = _git("rev-parse", "HEAD")
        changed = _git("status", "--porcelain", "--", *map(str, code))
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"commit": commit, "code_changed_since": bool(changed)}


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], capture_output=True, text=True, check=True, timeout=_GIT_LIMIT_S)
    return done.stdout.strip()
