"""The guard's side of the watchdog: starts and dismisses it."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from overwinter.errors import OverwinterError

_PROGRAM = Path(__file__).with_name("watchdog.py")
_TIMEOUT_S = 10.0  # a start takes some 20 ms, more only on a busy machine


class Watchdog:
    """A running watchdog over this process.

    Args:
        identity: id under which this process holds the slots.
        folders: folders of the slots that it restores.

    Raises:
        OverwinterError: the watchdog does not start; no limit may be changed then.
    """

    def __init__(self, identity: str, folders: Sequence[str]) -> None:
        # -I and -S: without site-packages it starts fast and runs no user code.
        command = [sys.executable, "-I", "-S", str(_PROGRAM), str(os.getpid()), identity, *folders]
        try:
            launcher = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            raise OverwinterError(
                f"The watchdog of the power limits cannot be started: {error}. No limit was set."
            ) from error
        assert launcher.stdin is not None and launcher.stdout is not None  # noqa: S101, PT018 -- for the type checker
        self._input = launcher.stdin
        with launcher.stdout as response:
            readable, _, _ = select.select([response], [], [], _TIMEOUT_S)
            ready = bool(readable) and os.read(response.fileno(), 6) == b"ready\n"
        if launcher.wait(_TIMEOUT_S) or not ready:
            self._input.close()
            raise OverwinterError(
                "The watchdog of the power limits cannot be started (it needs Linux 5.3 or later). No limit was set."
            )

    def dismiss(self) -> None:
        """End the watchdog, after everything was restored."""
        with contextlib.suppress(OSError), self._input as stream:
            stream.write(b"q")

    def leave(self) -> None:
        """Keep the watchdog waiting for the end of this process, to retry what could not be restored."""
        with contextlib.suppress(OSError):
            self._input.close()
