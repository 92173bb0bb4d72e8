"""Loading time and peak memory in a fresh process, as for a server with only this variant."""

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
from safetensors.numpy import load_file, save_file

from overwinter.errors import OverwinterError
from overwinter.inputs import Inputs, named, unnamed
from overwinter.runtime.device import CPU

_CHILD = "import sys; from overwinter.runtime.loading import load_and_report; load_and_report(*sys.argv[1:])"
_STATUS = Path("/proc/self/status")


@dataclass(frozen=True, kw_only=True)
class Readiness:
    """Loading time and peak memory of a variant.

    Attributes:
        load_s: time from a started Python to the first output, including the import of the runtime's libraries.
        peak_memory_bytes: peak memory of the process after one output.
        peak_gpu_memory_bytes: peak memory of torch's tensors on the GPU; None on the CPU or without torch.
    """

    load_s: float
    peak_memory_bytes: int
    peak_gpu_memory_bytes: int | None = None


def measure_loading(
    folder: Path,
    runtime: str,
    inputs: Inputs,
    *,
    threads: int,
    trusted: Sequence[str],
    device: str = CPU,
    language: bool = False,
) -> Readiness:
    """Load a built variant in a fresh process, and run it once.

    Args:
        folder: folder that `overwinter.runtime.build` wrote.
        runtime: name of the runtime.
        inputs: one batch (batch, ...).
        threads: The number of CPU threads.
        trusted: as in `overwinter.runtime.build`.
        device: device that computes.
        language: whether it is a language model, which `overwinter.runtime.open_language` opens.

    Raises:
        OverwinterError: the process fails.
    """
    with tempfile.TemporaryDirectory() as scratch:
        inputs_path = Path(scratch) / "inputs.safetensors"
        save_file({name: np.ascontiguousarray(value) for name, value in named(inputs).items()}, inputs_path)
        opening = "open_language" if language else "open_session"
        arguments = [str(folder), runtime, str(threads), device, opening, str(inputs_path), *trusted]
        command = [sys.executable, "-c", _CHILD, *arguments]
        paths = os.pathsep.join(filter(None, sys.path))  # the user's module may be next to the stage program
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": paths}
        )
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["it printed nothing"])[-1]
        raise OverwinterError(f"{folder.name} cannot be loaded by {runtime} in a fresh process: {reason}")
    return Readiness(**json.loads(done.stdout.splitlines()[-1]))


def load_and_report(
    folder: str, runtime: str, threads: str, device: str, opening: str, inputs: str, *trusted: str
) -> None:
    """Load a variant by a function of `overwinter.runtime`, run it once, and print a `Readiness` as JSON."""
    batch = unnamed(load_file(inputs))
    begin_s = time.perf_counter()
    from overwinter import runtime as runtimes

    getattr(runtimes, opening)(Path(folder), runtime, int(threads), trusted=trusted, device=device).run(batch)
    load_s = time.perf_counter() - begin_s
    loading = Readiness(load_s=load_s, peak_memory_bytes=_peak_bytes(), peak_gpu_memory_bytes=_peak_gpu_bytes(device))
    print(json.dumps(asdict(loading)))


def _peak_bytes() -> int:
    """Return the peak resident memory; Linux's `getrusage` would include the parent's, from before `exec`."""
    if _STATUS.exists():
        line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _peak_gpu_bytes(device: str) -> int | None:
    """Return the peak memory of torch's tensors on the GPU, without its context of about half a gigabyte."""
    torch = sys.modules.get("torch")
    if device == CPU or torch is None or not torch.cuda.is_initialized():
        return None
    return int(torch.cuda.max_memory_allocated(device))
