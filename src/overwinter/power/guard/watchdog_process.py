"""The guard's side of the watchdog: starts it, and tells it when it is not needed any more."""

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
_PATIENCE_S = 10.0  # a start takes some 20 ms; more only on a machine that is busy with other things


class Watchdog:
    """A running watchdog over this process.

    Args:
        identity: under which this process holds the slots.
        folders: the slots that it restores.

    Raises:
        OverwinterError: it does not start; nothing should be changed then.
    """

    def __init__(self, identity: str, folders: Sequence[str]) -> None:
        # -I and -S: without site-packages it starts at once, and runs nothing of the user's.
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
                f"The watchdog of the power limits does not start: {error}. No limit was set."
            ) from error
        assert launcher.stdin is not None and launcher.stdout is not None  # noqa: S101, PT018 -- for the type checker
        self._words = launcher.stdin
        with launcher.stdout as response:
            readable, _, _ = select.select([response], [], [], _PATIENCE_S)
            ready = bool(readable) and os.read(response.fileno(), 6) == b"ready\n"
        if launcher.wait(_PATIENCE_S) or not ready:
            self._words.close()
            raise OverwinterError(
                "The watchdog of the power limits does not start (Linux 5.3 or later?). No limit was set."
            )

    def dismiss(self) -> None:
        """Tell it that everything has been put back; it ends."""
        with contextlib.suppress(OSError), self._words as words:
            words.write(b"q")

    def leave(self) -> None:
        """Let it wait for the end of this process: something could not be put back, and it will try again."""
        with contextlib.suppress(OSError):
            self._words.close()
