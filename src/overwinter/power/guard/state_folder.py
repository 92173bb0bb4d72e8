"""The folder of journals and locks of this machine's devices, shared by all runs and writable only by its user."""

from __future__ import annotations

from pathlib import Path

from overwinter.state_folders import checked, made, state_path

STATE_VARIABLE = "OVERWINTER_POWER_STATE"
_NAME = "power"


def state_folder() -> Path:
    """Create and return the folder of journals and locks of this machine's devices.

    Raises:
        ConfigError: other users could write there; a journal's commands run with this process's privileges.
    """
    return checked(made(state_path(_NAME, STATE_VARIABLE)), STATE_VARIABLE)


def known_state_folder() -> Path | None:
    """Return the folder of `state_folder` if it exists; create nothing."""
    folder = state_path(_NAME, STATE_VARIABLE)
    return checked(folder, STATE_VARIABLE) if folder.is_dir() else None
