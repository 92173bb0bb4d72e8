"""CUDA synchronization at the edges of a window, so that queued work counts in the window that queued it."""

from __future__ import annotations

import sys


def synchronize() -> None:
    """Wait for the GPUs in use; do nothing unless torch is loaded and CUDA initialised. Never raises."""
    torch = sys.modules.get("torch")
    try:
        cuda = torch.cuda  # type: ignore[union-attr]
        if not cuda.is_initialized() or cuda.is_current_stream_capturing():
            return
        for index in range(cuda.device_count()):
            # Synchronizing a device that is not in use would create a context on it.
            if index == cuda.current_device() or cuda.memory_reserved(index):
                cuda.synchronize(index)
    except Exception:  # noqa: BLE001, S110 -- no torch, no CUDA, or a failed kernel that the work will meet
        pass
