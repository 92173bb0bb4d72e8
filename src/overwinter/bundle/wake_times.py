"""Duration of a wake: from the start of a fresh process to its first correct output."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from overwinter.errors import OverwinterError

_TIMEOUT_S = 120


@dataclass(frozen=True, kw_only=True)
class WakeTimes:
    """Wake times of fresh processes.

    Attributes:
        durations_s: time from starting the interpreter to the canary's correct outputs, one per wake.
    """

    durations_s: tuple[float, ...]

    @property
    def median_s(self) -> float:
        """Median duration."""
        return statistics.median(self.durations_s)


def measure_wake(bundle: Path, *, repeats: int, keys: Sequence[str] = (), trusted: Sequence[str] = ()) -> WakeTimes:
    """Wake a bundle in ``repeats`` fresh processes, one after the other.

    Args:
        bundle: folder of the bundle, or its sealed file.
        repeats: The number of wakes.
        keys: sources of the keys that open it.
        trusted: packages whose classes the model's ``_target_`` may name, for runtimes that run its code.

    Raises:
        OverwinterError: it does not wake.
    """
    return WakeTimes(durations_s=tuple(_wake_once(bundle, keys, trusted) for _ in range(repeats)))


def _wake_once(bundle: Path, keys: Sequence[str], trusted: Sequence[str]) -> float:
    command = [sys.executable, "-m", "overwinter.bundle", str(bundle), json.dumps(list(keys)), *trusted]
    begin_s = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None  # noqa: S101 -- stdout=PIPE
        message = process.stdout.readline()
        duration_s = time.perf_counter() - begin_s
        _, stderr = process.communicate(timeout=_TIMEOUT_S)
    if process.returncode != 0 or message.strip() != "awake":
        raise OverwinterError(f"{bundle} does not wake in a fresh process: {stderr.strip() or message.strip()}")
    return duration_s
