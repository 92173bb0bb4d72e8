"""Lineage of a bundle beyond the inputs of its stage: the data's digest, and the commit of the code."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from overwinter.data import DataSource, InMemory, as_sample

_SPLITS = ("train", "validation")  # only the stage evaluate asks for the test split
_GIT_LIMIT_S = 30.0


def data_digest(data: DataSource) -> str:
    """Return the SHA-256 of the data on which a model was trained and calibrated.

    If the source has an attribute ``sha256``, that is returned; otherwise every sample of the splits train and
    validation is read.
    """
    known = getattr(data, "sha256", None)
    if known is not None:
        return str(known)
    digest = hashlib.sha256()
    for name in _SPLITS:
        split = data.split(name)
        if isinstance(split, InMemory):
            _digest(digest, split.inputs, split.labels)
            continue
        members: Any = split  # Dataset itself declares no length
        # By index: a map-style dataset need not support iteration.
        for index in range(len(members)):
            inputs, label = as_sample(members[index])
            _digest(digest, inputs, torch.tensor(label))
    return digest.hexdigest()


def _digest(digest: Any, *parts: torch.Tensor) -> None:
    for part in parts:
        digest.update(part.contiguous().numpy().tobytes())


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
