"""Git, as far as a sweep needs it: the files of the repository, and experiments as `dvc exp show` lists them.

DVC keeps an experiment as a commit under `refs/exps/<commit it started from>/<name>`. `dvc exp save` makes one in one
and a half seconds, refuses while a stage of dvc.yaml has not run yet, and needs a clone of the repository per worker.
The same commit is made here by Git alone, from a worker's tree, in a few hundredths of a second.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from overwinter.config import Project
from overwinter.errors import ConfigError, OverwinterError

_STATE = ".overwinter"
# Whatever .gitignore says: credentials of remotes, and state.
_NEVER_SAVED = tuple(f":(exclude,top,glob)**/{path}" for path in (f"{_STATE}/**", ".dvc/config.local", ".dvc/tmp/**"))
_CHECK = re.compile(r"^  check:\n(?:    .*\n)*", re.MULTILINE)  # as DVC writes it: it holds all of params.yaml
_LOCK = "dvc.lock"
_FALLBACK_IDENTITY = {
    "GIT_AUTHOR_NAME": "Overwinter",
    "GIT_AUTHOR_EMAIL": "overwinter@localhost",
    "GIT_COMMITTER_NAME": "Overwinter",
    "GIT_COMMITTER_EMAIL": "overwinter@localhost",
}


@dataclass(frozen=True, kw_only=True)
class Repository:
    """The Git repository of a project.

    Attributes:
        top: The top folder of the working tree; the project may be a folder in it.
        git: The folder of Git's own files.
        head: The commit that is checked out, from which experiments start.
    """

    top: Path
    git: Path
    head: str

    def files(self) -> list[str]:
        """Return the present tracked files, and the untracked ones that are not ignored, relative to `top`."""
        listed = _git(self.top, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
        paths = dict.fromkeys(path for path in listed.split("\0") if path)
        return [path for path in paths if _STATE not in Path(path).parts and os.path.lexists(self.top / path)]

    def experiment(self, name: str) -> str | None:
        """Return the commit of an experiment that starts from the present commit; None if there is none."""
        done = _run(self.top, ["rev-parse", "--verify", "--quiet", self._reference(name)])
        return done.stdout.strip() or None

    def save(self, name: str, tree: Path, *, message: str, without: Sequence[str] = ()) -> str:
        """Save the files of a tree as an experiment that starts from the present commit, and return its commit.

        An earlier experiment of this name stays as it is if its files are the same, apart from the stage `check` in
        dvc.lock, which a worker leaves out. Otherwise it is replaced.

        Args:
            name: The experiment's name.
            tree: A folder with the files of the repository, as changed by the experiment.
            message: The message of its commit.
            without: Paths in it that are left as they are in the present commit.
        """
        index = tree.with_name(f"{tree.name}.index")
        try:
            content = self._written(tree, index, without)
        except OverwinterError:  # a git that was killed may have left the index damaged
            index.unlink(missing_ok=True)
            content = self._written(tree, index, without)
        earlier = self.experiment(name)
        if earlier is not None and self._has(earlier, content):
            return earlier
        identity = {} if _run(self.top, ["var", "GIT_COMMITTER_IDENT"]).returncode == 0 else _FALLBACK_IDENTITY
        words = ["commit-tree", content, "-p", self.head, "-m", message]
        commit = _git(self.top, *words, environment=identity).strip()
        _git(self.top, "update-ref", self._reference(name), commit)
        return commit

    def _has(self, commit: str, content: str) -> bool:
        """Return whether a commit has these files, apart from the check in dvc.lock."""
        listed = _git(self.top, "diff-tree", "-r", "-z", "--name-only", commit, content)
        return all(
            PurePosixPath(path).name == _LOCK
            and without_check(self._text(commit, path)) == without_check(self._text(content, path))
            for path in listed.split("\0")
            if path
        )

    def _text(self, content: str, path: str) -> str:
        """Return a file of a commit or of a written tree; empty if it is not there."""
        return _run(self.top, ["cat-file", "blob", f"{content}:{path}"]).stdout

    def _written(self, tree: Path, index: Path, without: Sequence[str]) -> str:
        """Write the files of a tree into Git, and return the name of their content."""
        within = {"GIT_DIR": str(self.git), "GIT_WORK_TREE": str(tree), "GIT_INDEX_FILE": str(index)}
        index.with_name(f"{index.name}.lock").unlink(missing_ok=True)  # of a git that was killed
        if not index.exists():
            _git(tree, "read-tree", self.head, environment=within)
        left_out = [*(f":(exclude,top,literal){path}" for path in without), *_NEVER_SAVED]
        _git(tree, "add", "--all", "--", ".", *left_out, environment=within)
        return _git(tree, "write-tree", environment=within).strip()

    def _reference(self, name: str) -> str:
        return f"refs/exps/{self.head[:2]}/{self.head[2:]}/{name}"


def without_check(lock: str) -> str:
    """Return the text of a dvc.lock without its stage `check`, which holds all settings of one point."""
    return _CHECK.sub("", lock)


def find_repository(project: Project) -> Repository:
    """Return the Git repository of a project.

    Raises:
        ConfigError: there is none, it has no commit, or Git is not installed.
    """
    try:
        found = _run(project.root, ["rev-parse", "--show-toplevel", "--absolute-git-dir"])
    except FileNotFoundError:
        raise ConfigError("A sweep needs git, which is not installed. Install it.") from None
    if found.returncode != 0:
        raise ConfigError(
            f"{project.root} is not in a Git repository, and each point of a sweep is saved as a commit that `dvc exp "
            "show` lists.\nRun `git init`, `git add -A` and `git commit`, then the same command again."
        )
    top, git = found.stdout.splitlines()
    head = _run(project.root, ["rev-parse", "--verify", "--quiet", "HEAD^{commit}"])
    if head.returncode != 0:
        raise ConfigError(
            f"{top} has no commit yet, and the experiments of a sweep start from one.\n"
            "Run `git add -A` and `git commit`, then the same command again."
        )
    return Repository(top=Path(top), git=Path(git), head=head.stdout.strip())


def _git(folder: Path, *words: str, environment: Mapping[str, str] | None = None) -> str:
    done = _run(folder, words, environment)
    if done.returncode != 0:
        raise OverwinterError(f"git {words[0]} failed in {folder}: {done.stderr.strip()}")
    return done.stdout


def _run(
    folder: Path, words: Sequence[str], environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    variables = {name: value for name, value in os.environ.items() if name not in ("GIT_DIR", "GIT_INDEX_FILE")}
    return subprocess.run(
        ["git", *words],
        cwd=folder,
        env=variables | dict(environment or {}),
        capture_output=True,
        text=True,
        errors="surrogateescape",
        check=False,
    )
