"""Where journals and locks of this machine's devices lie: one folder for all runs, which no one else may write."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from overwinter.errors import ConfigError
from overwinter.files import write_error

STATE_VARIABLE = "OVERWINTER_POWER_STATE"


def state_folder() -> Path:
    """Return where journals and locks of this machine's devices are.

    `OVERWINTER_POWER_STATE`, where it is set: containers that share a GPU mount one folder there. Else
    /run/overwinter/power for root, and the user's own runtime folder for everyone else.

    Raises:
        ConfigError: others could write there, and what a journal says is done with our rights.
    """
    return _checked(made(_state_path()))


def known_state_folder() -> Path | None:
    """Return the folder of `state_folder`, if some run has made it; makes nothing."""
    folder = _state_path()
    return _checked(folder) if folder.is_dir() else None


def made(folder: Path) -> Path:
    """Return ``folder``, made if need be, for this user alone."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(folder, error) from error
    return folder


def _checked(folder: Path) -> Path:
    reported = folder.stat()
    if reported.st_uid != os.geteuid() or reported.st_mode & 0o022:
        raise ConfigError(
            f"{folder} must belong to this user, and be writable by no one else.\n"
            f"Run `chmod 700 {folder}`, or set {STATE_VARIABLE}."
        )
    return folder


def _state_path() -> Path:
    configured = os.environ.get(STATE_VARIABLE)
    return Path(configured).absolute() if configured else _default_state()


def _default_state() -> Path:
    if os.geteuid() == 0 and os.access("/run", os.W_OK):
        return Path("/run/overwinter/power")
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return (
        Path(runtime, "overwinter/power")
        if runtime
        else Path(tempfile.gettempdir(), f"overwinter-{os.geteuid()}-power")
    )
