"""The folder of journals and locks of this machine's devices, shared by all runs and writable only by its user."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from overwinter.errors import ConfigError
from overwinter.files import write_error

STATE_VARIABLE = "OVERWINTER_POWER_STATE"


def state_folder() -> Path:
    """Create and return the folder of journals and locks of this machine's devices.

    It is `OVERWINTER_POWER_STATE`, if set: containers that share a GPU mount one folder there. Otherwise it is
    /run/overwinter/power for root, and the runtime folder for other users.

    Raises:
        ConfigError: other users could write there; a journal's commands run with this process's privileges.
    """
    return _checked(made(_state_path()))


def known_state_folder() -> Path | None:
    """Return the folder of `state_folder` if it exists; create nothing."""
    folder = _state_path()
    return _checked(folder) if folder.is_dir() else None


def made(folder: Path) -> Path:
    """Create ``folder`` for this user alone, if it is missing, and return it."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(folder, error) from error
    return folder


def _checked(folder: Path) -> Path:
    status = folder.stat()
    if status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise ConfigError(
            f"{folder} must be owned by this user and not writable by others.\n"
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
