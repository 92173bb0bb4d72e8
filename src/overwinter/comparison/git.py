"""Reading of a Git repository by the program `git`: names, and files of a commit. Nothing is checked out or changed."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from overwinter.errors import OverwinterError

_EXPERIMENTS = "refs/exps/"
_EXPERIMENT_DEPTH = 5  # refs/exps/ab/cdef.../NAME; DVC's own bookkeeping has fewer parts


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A DVC experiment.

    Attributes:
        name: Its name.
        commit: The commit that holds it.
        baseline: The commit it started from.
    """

    name: str
    commit: str
    baseline: str


class Repository:
    """The Git repository that contains a folder.

    Args:
        folder: The folder; files are named relative to it.

    Raises:
        OverwinterError: Git is missing, or the folder is not in a repository.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._prefix = self._run("rev-parse", "--show-prefix").strip()

    @property
    def is_shallow(self) -> bool:
        """Whether history was cut off when it was cloned."""
        return self._run("rev-parse", "--is-shallow-repository").strip() == "true"

    def commit(self, revision: str) -> str | None:
        """Return the commit of a branch, a tag, a commit or an expression such as HEAD~1; None if there is none."""
        found = self._try("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
        return found.strip() or None if found is not None else None

    def is_changed(self) -> bool:
        """Return whether a tracked file in the folder differs from the latest commit."""
        return bool(self._run("status", "--porcelain", "--untracked-files=no", "--", ".").strip())

    def names(self) -> list[str]:
        """Return the names of branches and tags."""
        return self._run("for-each-ref", "--format=%(refname:short)", "refs/heads", "refs/remotes", "refs/tags").split()

    def experiments(self) -> list[Experiment]:
        """Return the DVC experiments (https://dvc.org/doc/user-guide/experiment-management)."""
        lines = self._run("for-each-ref", "--format=%(objectname) %(refname)", _EXPERIMENTS).splitlines()
        pairs = (line.split(" ", 1) for line in lines)
        parts = ((commit, name.split("/")) for commit, name in pairs)
        return [
            Experiment(name=each[4], commit=commit, baseline=each[2] + each[3])
            for commit, each in parts
            if len(each) == _EXPERIMENT_DEPTH and len(each[2]) == 2
        ]

    def read(self, commit: str, paths: Iterable[str]) -> dict[str, bytes]:
        """Return the contents of files of a commit by path; missing ones are left out."""
        wanted = list(paths)
        lines = "".join(f"{commit}:{self._prefix}{path}\n" for path in wanted)
        content = self._bytes("cat-file", "--batch", given=lines.encode())
        return {path: blob for path, blob in zip(wanted, _blobs(content), strict=True) if blob is not None}

    def folders(self, commit: str, path: str) -> list[str]:
        """Return the names of the folders in a folder of a commit."""
        found = self._try("ls-tree", "-d", "--name-only", commit, "--", f"./{path}/")
        return [name.rsplit("/", 1)[-1] for name in (found or "").splitlines()]

    def _run(self, *words: str) -> str:
        return self._bytes(*words).decode(errors="replace")

    def _bytes(self, *words: str, given: bytes | None = None) -> bytes:
        try:
            done = subprocess.run(
                ["git", "-C", str(self._folder), *words], input=given, capture_output=True, check=False
            )
        except OSError as error:
            raise OverwinterError(f"git cannot be run ({error.strerror}). Install it, or compare in a clone.") from None
        if done.returncode != 0:
            reason = done.stderr.decode(errors="replace").strip()
            raise OverwinterError(f"git cannot read {self._folder}: {reason}")
        return done.stdout

    def _try(self, *words: str) -> str | None:
        try:
            return self._run(*words)
        except OverwinterError:
            return None


def _blobs(content: bytes) -> Iterable[bytes | None]:
    """Yield the answers of `git cat-file --batch`: `ID blob SIZE`, the bytes and a line end, or `NAME missing`."""
    place = 0
    while place < len(content):
        end = content.index(b"\n", place)
        header = content[place:end].rsplit(b" ", 2)
        place = end + 1
        if len(header) < 3 or not header[2].isdigit():
            yield None
            continue
        size = int(header[2])
        yield content[place : place + size] if header[1] == b"blob" else None
        place += size + 1
