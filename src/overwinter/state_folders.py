"""Folders of this machine's state, shared by all runs of one user and writable by no other."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from overwinter.errors import ConfigError
from overwinter.files import write_error


def state_path(name: str, variable: str) -> Path:
    """Return the path of a state folder.

    It is the folder in the environment variable, if set: containers that share a device mount one folder there.
    Otherwise it is in /run/overwinter for root, and in the runtime folder for other users.

    Args:
        name: The folder's name, such as `power`.
        variable: The environment variable, such as `OVERWINTER_POWER_STATE`.
    """
    configured = os.environ.get(variable)
    if configured:
        return Path(configured).resolve()
    if os.geteuid() == 0 and os.access("/run", os.W_OK):
        return Path("/run/overwinter", name)
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime:
        return Path(runtime, "overwinter", name)
    return Path(tempfile.gettempdir(), f"overwinter-{os.geteuid()}-{name}")


def made(folder: Path) -> Path:
    """Create ``folder`` for this user alone, if it is missing, and return it."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(folder, error) from error
    return folder


def checked(folder: Path, variable: str) -> Path:
    """Return ``folder`` if it is this user's own: in the folder for temporary files, another could put a link there.

    Args:
        folder: The folder.
        variable: The environment variable that names another one, for the message.

    Raises:
        ConfigError: it is a link, belongs to another user, or others can write there.
    """
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise ConfigError(
            f"{folder} must be owned by this user and not writable by others.\n"
            f"Run `chmod 700 {folder}`, or set {variable}."
        )
    return folder
