"""A query of the GPUs visible to CUDA, needed where boards differ, since CUDA then orders them by itself.

Initialising CUDA costs memory and time, and a process that has done so must not fork. So the query runs in a separate
process (`cuda_asking`), unless torch has already initialised CUDA in this one.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_PROGRAM = Path(__file__).with_name("cuda_asking.py")
_PATIENCE_S = 20.0


def ask_cuda() -> set[str] | None:
    """Return the UUIDs or PCI addresses of the GPUs visible to CUDA; None if CUDA cannot be queried."""
    return _asked_here() or _asked_in_subprocess()


def _asked_here() -> set[str] | None:
    torch = sys.modules.get("torch")
    try:
        cuda = torch.cuda  # type: ignore[union-attr]
        if not cuda.is_initialized():
            return None
        uuids = [str(cuda.get_device_properties(index).uuid) for index in range(cuda.device_count())]
    except Exception:  # noqa: BLE001 -- no torch, one that does not report UUIDs, or a CUDA that fails
        return None
    return {uuid if uuid.startswith("GPU-") else f"GPU-{uuid}" for uuid in uuids}


def _asked_in_subprocess() -> set[str] | None:
    # -I and -S: without site-packages it starts faster, and runs no code of the user's.
    command = [sys.executable, "-I", "-S", str(_PROGRAM)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return set(done.stdout.split())
