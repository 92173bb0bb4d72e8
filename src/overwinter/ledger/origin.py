"""The origin of executions: the project and, unless switched off, the user."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

PERSON_VARIABLE = "OVERWINTER_PERSON"
_NOBODY = ("", "none")  # values of the variable that record no user
_PATIENCE_S = 5.0
_MAX_CHARACTERS = 200


@dataclass(frozen=True, kw_only=True)
class Origin:
    """The origin of an execution; None means unknown, or not recorded.

    Attributes:
        project: The project's name.
        person: The user, such as ``Ada Lovelace <ada@example.org>``.
    """

    project: str | None = None
    person: str | None = None


def origin_of(ledger: Path, *, project: str | None = None, record_person: bool = True) -> Origin:
    """Return the origin to record in a ledger.

    Args:
        ledger: The ledger's path; by default, the folder that contains its `.overwinter/` names the project.
        project: Another name for the project.
        record_person: Whether to record the user.
    """
    root = ledger.absolute().parents[1]
    return Origin(project=project or root.name or None, person=_person(root) if record_person else None)


def _person(root: Path) -> str | None:
    """Return the user from OVERWINTER_PERSON or git, but never the login or host name, which no user chose to share."""
    named = os.environ.get(PERSON_VARIABLE)
    if named is not None:
        return None if named.strip().lower() in _NOBODY else _one_line(named)
    settings = _git_settings(root)
    name = os.environ.get("GIT_AUTHOR_NAME") or settings.get("user.name", "")
    email = os.environ.get("GIT_AUTHOR_EMAIL") or settings.get("user.email", "")
    return _one_line(f"{name} <{email}>" if name and email else name or email)


def _git_settings(root: Path) -> dict[str, str]:
    """Return git's user.name and user.email; empty without git, or if neither is set."""
    command = ("git", "config", "--null", "--get-regexp", r"^user\.(name|email)$")
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, timeout=_PATIENCE_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return {}
    entries = done.stdout.decode(errors="replace").split("\0")
    return {key: value for key, _, value in (entry.partition("\n") for entry in entries)}


def _one_line(text: str) -> str | None:
    return " ".join(text.split())[:_MAX_CHARACTERS] or None
