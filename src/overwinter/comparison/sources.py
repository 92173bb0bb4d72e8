"""The places that a comparison reads files from: a commit, a DVC experiment, or the workspace."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from overwinter.comparison.git import Experiment, Repository
from overwinter.config import Project
from overwinter.errors import ConfigError, OverwinterError, nearest

WORKSPACE = "workspace"
_SHORT = 7
_LONGEST = 12  # digits of a commit in a title


class Source(Protocol):
    """A place with the files of a project."""

    @property
    def title(self) -> str:
        """Its name for people, such as `main (1a2b3c4)`."""

    def read(self, paths: Iterable[str]) -> dict[str, bytes]:
        """Return the contents of files by path relative to the project's root; missing ones are left out."""

    def stages(self) -> list[str]:
        """Return the names of the folders in outputs/."""


@dataclass(frozen=True, kw_only=True)
class Workspace:
    """The project's folder as it is."""

    project: Project
    title: str = WORKSPACE

    def read(self, paths: Iterable[str]) -> dict[str, bytes]:
        """Return the contents of files by path; missing and unreadable ones are left out."""
        found = {path: self.project.root / path for path in paths}
        return {path: file.read_bytes() for path, file in found.items() if file.is_file()}

    def stages(self) -> list[str]:
        """Return the names of the folders in outputs/."""
        folder = self.project.outputs
        return sorted(each.name for each in folder.iterdir() if each.is_dir()) if folder.is_dir() else []


@dataclass(frozen=True, kw_only=True)
class Commit:
    """The project's folder in a commit."""

    repository: Repository
    commit: str
    title: str

    def read(self, paths: Iterable[str]) -> dict[str, bytes]:
        """Return the contents of files by path; missing ones are left out."""
        return self.repository.read(self.commit, paths)

    def stages(self) -> list[str]:
        """Return the names of the folders in outputs/."""
        return self.repository.folders(self.commit, "outputs")


def find_source(project: Project, name: str, *, points: Iterable[str] = ()) -> Source | None:
    """Return the source that a name means; None if it is neither a revision nor an experiment.

    Args:
        project: The project.
        name: `workspace`, a revision, or the name of a DVC experiment.
        points: Names of experiments that the name may stand for, such as a point's of a sweep.

    Raises:
        ConfigError: several experiments have the name.
        OverwinterError: Git cannot read the repository.
    """
    if name == WORKSPACE:
        return Workspace(project=project)
    repository = Repository(project.root)
    if commit := repository.commit(name):
        is_commit = len(name) >= _SHORT and commit.startswith(name)
        title = name[:_LONGEST] if is_commit else f"{name} ({commit[:_SHORT]})"
        return Commit(repository=repository, commit=commit, title=title)
    wanted = {name, *points}
    found = [each for each in repository.experiments() if each.name in wanted]
    if not found:
        return None
    commit = _only(found, name, repository)
    return Commit(repository=repository, commit=commit, title=f"{name} ({commit[:_SHORT]})")


def unknown(project: Project, name: str) -> ConfigError:
    """Return the error for a name that nothing has, with the nearest one and, in a shallow clone, the remedy."""
    try:
        repository = Repository(project.root)
    except OverwinterError:
        return ConfigError(f"{name!r} is not known, and {project.root} is not in a Git repository.")
    known = [WORKSPACE, *repository.names(), *(each.name for each in repository.experiments())]
    text = f"{name!r} is no revision, no DVC experiment, no point of a sweep and no run of the ledger."
    text += nearest(name, known)
    if repository.is_shallow:
        text += (
            "\nThis is a shallow clone, which lacks most history. Run `git fetch --unshallow`; in GitHub Actions, set "
            "`fetch-depth: 0` of actions/checkout."
        )
    return ConfigError(text)


def _only(found: list[Experiment], name: str, repository: Repository) -> str:
    """Return the commit of the experiment of that name that started from HEAD, or of the only one."""
    if len(found) > 1:
        head = repository.commit("HEAD")
        found = [each for each in found if each.baseline == head] or found
    if len(found) > 1:
        commits = ", ".join(each.commit[:_SHORT] for each in found)
        raise ConfigError(f"{len(found)} experiments are called {name!r}. Name one by its commit: {commits}.")
    return found[0].commit
