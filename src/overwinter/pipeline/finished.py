"""Finished results that DVC has not committed yet: a kill between the two must not cost the work a second time.

DVC removes a stage's outputs before it runs the stage. So a stage whose outputs were complete, but whose dvc died
before it recorded them, would run again. Until then the outputs are also kept under `.overwinter/finished/`, by hard
links. The stage's next start finds them, publishes them and ends; so does a stage in another tree that waited for the
same work. The next gate, which starts only after DVC has committed, removes them.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from overwinter import files
from overwinter.config import Config, Project
from overwinter.energy.record import ENERGY_FILE
from overwinter.errors import IntegrityError
from overwinter.ledger.kept import FINISHED, work_name
from overwinter.manifest import describe_files, read_sealed, verify_files, write_sealed
from overwinter.pipeline.contents import Contents
from overwinter.pipeline.locks import locked_if_free
from overwinter.pipeline.outputs import Outputs
from overwinter.pipeline.render import STAGING, rendered_stage

Described = Mapping[str, Mapping[str, Any]]
"""Relative file name -> its SHA-256 and size, as `manifest.describe_files` returns them."""

_MARKER = "finished.json"
_OUTPUTS = "outputs"
_WORK_LOCKS = f"*-{'[0-9a-f]' * 16}.lock"
_GONE = ".gone-"  # name prefix of a result that is being removed
_MOST = 16  # results kept at once; a sweep that is killed leaves one per worker
_MOST_BYTES = 20 * 10**9
_NO_LINKS = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS}


@dataclass(frozen=True, kw_only=True)
class FinishedWork:
    """The place of the finished result of a stage, in one configuration.

    Attributes:
        project: The project.
        stage: The stage's name.
        configuration_key: The digest of the result's parameters, inputs and code.
        result_key: The digest of all of that and of whatever else DVC counts as the stage's dependencies.
    """

    project: Project
    stage: str
    configuration_key: str
    result_key: str

    @property
    def folder(self) -> Path:
        """Folder of the kept result."""
        return self.project.state / FINISHED / work_name(self.stage, self.configuration_key)

    def keep(self, staged: Mapping[str, Path], described: Described, row: Mapping[str, Any]) -> None:
        """Keep outputs that are complete and flushed; the marker comes last, and the folder gets its name after it.

        Args:
            staged: The outputs' paths by name.
            described: Their digests.
            row: The execution's row in the ledger, once it is done.

        Raises:
            OverwinterError: the disk is full, or read-only.
        """
        part = self.folder.with_name(f"{STAGING}{self.folder.name}")
        try:
            _delete(part)
            part.joinpath(_OUTPUTS).mkdir(parents=True)
            for name, path in staged.items():
                _mirror(path, part / _OUTPUTS / name)
            facts = {"stage": self.stage, "configuration_key": self.configuration_key, "result_key": self.result_key}
            write_sealed(part / _MARKER, {**facts, "execution": dict(row), "files": dict(described)})
            for folder in [part, *(path for path in part.rglob("*") if path.is_dir())]:
                files.sync(folder)
            _delete(self.folder)
            part.rename(self.folder)
            files.sync(self.folder.parent)
        except OSError as error:
            shutil.rmtree(part, ignore_errors=True)
            raise files.write_error(self.folder, error) from error
        _bound(self.project.state, besides=self.folder)

    def find(self) -> dict[str, Any] | None:
        """Return the row in the ledger of the execution whose result is kept; None without a whole, uncommitted result.

        A result that DVC has already committed is not offered: whoever runs the stage again wants it run.
        """
        if not self.folder.is_dir():
            return None
        try:
            content = _verified(self.folder)
        except (IntegrityError, OSError, ValueError):
            content = {}
        if content.get("result_key") != self.result_key or _is_committed(self.folder, _dvc_lock(self.project)):
            _delete(self.folder)
            return None
        row: dict[str, Any] = content["execution"]
        return row

    def take(self, outputs: Outputs) -> None:
        """Publish the kept outputs; they stay kept until DVC has committed them.

        Raises:
            OverwinterError: the outputs cannot be written.
        """
        for kept in sorted((self.folder / _OUTPUTS).iterdir()):
            target = outputs.staging(kept.name)
            try:
                for path in sorted(kept.iterdir()) if kept.is_dir() else [kept]:
                    _mirror(path, target / path.name if kept.is_dir() else target)
            except OSError as error:
                raise files.write_error(target, error) from error
        outputs.publish()


def work_lock(state: Path, name: str) -> Path:
    """Return the lock file of a stage's work in one configuration, for all trees of a project."""
    return state / "locks" / f"{name}.lock"


def result_key(config: Config, project: Project, stage: str, lineage: Mapping[str, Any]) -> str:
    """Return the digest of everything that DVC counts as a dependency of ``stage``, and of its `lineage`."""
    rendered = rendered_stage(stage, config, project)
    read = [dependency for dependency in rendered["deps"] if not dependency.startswith("outputs/")]
    contents = Contents(project.state)  # large data is hashed once as long as it does not change
    content = {path: contents.digest(project.root / path) for path in read}
    return files.digest({"lineage": lineage, "cmd": rendered["cmd"], "outs": rendered["outs"], "files": content})


def described(staged: Mapping[str, Path]) -> dict[str, dict[str, Any]]:
    """Return the digest and size of every file of some outputs, by its path relative to the stage's folder."""
    found: dict[str, dict[str, Any]] = {}
    for name, path in staged.items():
        within = describe_files(path, list(_names(path))) if path.is_dir() else describe_files(path.parent, [path.name])
        found |= {f"{name}/{file}" if path.is_dir() else name: facts for file, facts in within.items()}
    return found


def artifact_digest(outs: Sequence[str], content: Described) -> str:
    """Return the digest of a stage's outputs from that of their files; equal to one of `files.tree_digest` of each."""
    return files.digest({out: _out_digest(out, content) for out in outs})


def forget_committed(project: Project) -> None:
    """Remove what is kept of results that DVC has committed, and what a kill left of their checkpoints."""
    folder = project.state / FINISHED
    if not folder.is_dir():
        return
    committed = _dvc_lock(project)
    for kept in _kept(folder):
        if _is_committed(kept, committed):
            _forget(project.state, kept)


def _out_digest(out: str, content: Described) -> str:
    if out in content:
        return str(content[out]["sha256"])
    inside = {
        name.removeprefix(f"{out}/"): facts["sha256"] for name, facts in content.items() if name.startswith(f"{out}/")
    }
    return files.digest({name: sha256 for name, sha256 in inside.items() if "__pycache__" not in name.split("/")})


def _verified(folder: Path) -> dict[str, Any]:
    """Return what the marker of a kept result says, if every file is as it was.

    Raises:
        IntegrityError: it is not.
    """
    remedy = "The stage runs again."
    content = read_sealed(folder / _MARKER, remedy=remedy)
    verify_files(folder / _OUTPUTS, content["files"], remedy=remedy)
    if set(_names(folder / _OUTPUTS)) != set(content["files"]):
        raise IntegrityError(f"{folder} has files that its {_MARKER} does not list. {remedy}")
    return content


def _names(folder: Path) -> Iterator[str]:
    return (path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file())


def _dvc_lock(project: Project) -> str:
    try:
        return (project.root / "dvc.lock").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _is_committed(kept: Path, dvc_lock: str) -> bool:
    """Return whether DVC's list of results names this one: it holds the MD5 of energy.json, which no two runs share."""
    try:
        content = (kept / _OUTPUTS / ENERGY_FILE).read_bytes()
    except OSError:
        return False
    return hashlib.md5(content, usedforsecurity=False).hexdigest() in dvc_lock


def _kept(folder: Path) -> list[Path]:
    """Return the kept results, the latest first."""
    found = [path for path in folder.glob("[!.]*") if path.is_dir()]
    return sorted(found, key=_age_ns)


def _age_ns(kept: Path) -> int:
    try:
        return -(kept / _MARKER).stat().st_mtime_ns
    except OSError:
        return 0


def _bound(state: Path, *, besides: Path) -> None:
    """Remove what killed processes left, and the oldest results beyond the bounds on number and size."""
    folder = besides.parent
    for lock in (state / "locks").glob(_WORK_LOCKS):
        with locked_if_free(lock):
            pass  # which removes it
    for half in folder.glob(".*"):
        with locked_if_free(work_lock(state, half.name.removeprefix(STAGING).removeprefix(_GONE))) as free:
            if free:
                _delete(half)
    number, size_bytes = 1, _size_bytes(besides)
    for kept in _kept(folder):
        if kept == besides:
            continue
        number, size_bytes = number + 1, size_bytes + _size_bytes(kept)
        if number > _MOST or size_bytes > _MOST_BYTES:
            _forget(state, kept)


def _forget(state: Path, kept: Path) -> None:
    """Remove a kept result with its checkpoints, unless a stage works on it now."""
    with locked_if_free(work_lock(state, kept.name)) as free:
        if free:
            shutil.rmtree(state / "checkpoints" / kept.name, ignore_errors=True)
            _delete(kept)


def _size_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _delete(folder: Path) -> None:
    """Remove a folder; a kept result loses its name first, so that no half of it is ever found under it."""
    if not folder.name.startswith("."):
        gone = folder.with_name(f"{_GONE}{folder.name}")
        shutil.rmtree(gone, ignore_errors=True)
        try:
            folder.rename(gone)
        except FileNotFoundError:
            return
        folder = gone
    shutil.rmtree(folder, ignore_errors=True)


def _mirror(source: Path, target: Path) -> None:
    """Make hard links to a file, or to all files of a folder; copy them where links are impossible."""
    if source.is_dir():
        target.mkdir()
        for path in sorted(source.iterdir()):
            _mirror(path, target / path.name)
        return
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        shutil.copy2(source, target)
        files.sync(target)
