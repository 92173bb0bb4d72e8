"""Time to load and peak memory, in a fresh process: what a server that holds this variant, and nothing else, needs."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from overwinter.errors import OverwinterError
from overwinter.runtime.device import CPU
from overwinter.runtime.session import Array

_CHILD = "import sys; from overwinter.runtime.loading import load_and_report; load_and_report(*sys.argv[1:])"
_STATUS = Path("/proc/self/status")


@dataclass(frozen=True, kw_only=True)
class Readiness:
    """What it takes to be ready to answer.

    Attributes:
        load_s: from a started Python to the first output, the runtime's own libraries included.
        peak_memory_bytes: of the process, after it answered once.
        peak_gpu_memory_bytes: of tensors on the GPU that answered; None on the CPU, and where it was not torch.
    """

    load_s: float
    peak_memory_bytes: int
    peak_gpu_memory_bytes: int | None = None


def measure_loading(
    folder: Path, runtime: str, inputs: Array, *, threads: int, trusted: Sequence[str], device: str = CPU
) -> Readiness:
    """Load a built variant in a fresh process, and let it answer once.

    Args:
        folder: what `overwinter.runtime.build` filled.
        runtime: its name.
        inputs: one batch (batch, ...).
        threads: CPU threads.
        trusted: as in `overwinter.runtime.build`.
        device: that answers.

    Raises:
        OverwinterError: it fails there.
    """
    with tempfile.TemporaryDirectory() as scratch:
        asked = Path(scratch) / "inputs.npy"
        np.save(asked, inputs)
        command = [sys.executable, "-c", _CHILD, str(folder), runtime, str(threads), device, str(asked), *trusted]
        paths = os.pathsep.join(filter(None, sys.path))  # the user's module may lie beside the stage program
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": paths}
        )
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise OverwinterError(f"{folder.name} cannot be loaded by {runtime} in a fresh process: {reason}")
    return Readiness(**json.loads(done.stdout.splitlines()[-1]))


def load_and_report(folder: str, runtime: str, threads: str, device: str, inputs: str, *trusted: str) -> None:
    """Load, answer once, and print a `Readiness` as JSON."""
    asked = np.load(inputs, allow_pickle=False)
    begin_s = time.perf_counter()
    from overwinter.runtime.registry import open_session

    open_session(Path(folder), runtime, int(threads), trusted=trusted, device=device).run(asked)
    load_s = time.perf_counter() - begin_s
    loading = Readiness(load_s=load_s, peak_memory_bytes=_peak_bytes(), peak_gpu_memory_bytes=_peak_gpu_bytes(device))
    print(json.dumps(asdict(loading)))


def _peak_bytes() -> int:
    """Return the peak of resident memory; Linux's `getrusage` would count the parent's, from before `exec`."""
    if _STATUS.exists():
        line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _peak_gpu_bytes(device: str) -> int | None:
    """Return the peak of what torch's tensors took on the GPU; its context, half a gigabyte or so, is not in it."""
    torch = sys.modules.get("torch")
    if device == CPU or torch is None or not torch.cuda.is_initialized():
        return None
    return int(torch.cuda.max_memory_allocated(device))
