"""Text that two splits share: windows that were cut elsewhere differ, though most of what they say is the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from overwinter.inputs import named

Tokens = NDArray[np.int64]

_RUN = 16  # tokens in a row: what texts share by chance, such as a stage direction, is shorter
_SHARE = 0.5  # of a window's runs
_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # odd and without pattern: 2 ** 64 over the golden ratio


def text_of(inputs: Any) -> Tokens | None:
    """Return the windows of tokens (n, length) among a split's inputs; None if there are none, or short ones."""
    found = [value for value in named(inputs).values() if value.dtype == torch.int64 and value.dim() == 2]
    if not found:
        return None
    tokens = max(found, key=lambda value: int(value.max()))  # not the attention mask
    return np.asarray(tokens.numpy()) if tokens.shape[1] > _RUN else None


def shared_windows(one: Tokens, other: Tokens) -> int:
    """Return how many windows of ``other`` have half of their runs of 16 tokens in ``one``, wherever they were cut."""
    known, counts = np.unique(_runs(one)), ~_is_padding(other)  # of the second (n, length - 15)
    shared = np.isin(_runs(other), known) & counts
    return int((shared.sum(axis=1) > _SHARE * counts.sum(axis=1)).sum())


def _runs(windows: Tokens) -> NDArray[np.uint64]:
    """Return a hash of the run that begins at each token (n, length - 15)."""
    tokens, places = windows.astype(np.uint64), windows.shape[1] - _RUN + 1
    hashes = np.zeros((len(windows), places), dtype=np.uint64)
    for offset in range(_RUN):
        hashes = (hashes ^ tokens[:, offset : offset + places]) * _FACTOR
        hashes ^= hashes >> np.uint64(29)  # a product moves bits upwards only
    return hashes


def _is_padding(windows: Tokens) -> NDArray[np.bool_]:
    """Return whether most of each run is one token over and over (n, length - 15)."""
    repeated = np.cumsum(np.diff(windows, axis=1, prepend=-1) == 0, axis=1)  # (n, length)
    return np.asarray(repeated[:, _RUN - 1 :] - repeated[:, : windows.shape[1] - _RUN + 1] > _RUN // 2)
