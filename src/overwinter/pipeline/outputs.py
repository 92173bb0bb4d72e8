"""A stage's outputs: written under temporary names, and published together when the stage succeeds."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from overwinter.errors import OverwinterError
from overwinter.files import sync, write_error
from overwinter.pipeline.render import STAGING


class Outputs:
    """The folder `outputs/<stage>/` while its stage runs.

    Files that a killed execution left in staging are removed at the start. No partial output ever has its final name.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._pending: list[str] = []
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for leftover in folder.glob(f"{STAGING}*"):
                _remove(leftover)
        except OSError as error:
            raise write_error(folder, error) from error

    def staging(self, name: str) -> Path:
        """Return the path to write the output ``name`` to: a new folder, or a file's path if it has a suffix."""
        path = self.folder / f"{STAGING}{name}"
        if name not in self._pending:
            self._pending.append(name)
            if not path.suffix:
                path.mkdir()
        return path

    def complete(self) -> dict[str, Path]:
        """Flush every output to the disk, and return the outputs' present paths by name.

        Raises:
            OverwinterError: an output was opened but not written, or cannot be flushed.
        """
        staged = {name: self.folder / f"{STAGING}{name}" for name in self._pending}
        for name, source in staged.items():
            if not source.exists() or (source.is_dir() and not any(source.iterdir())):
                raise OverwinterError(
                    f"The stage did not write {self.folder.name}/{name}. Write it to stage.out({name!r})."
                )
        try:
            for source in staged.values():
                for path in [source, *source.rglob("*")]:
                    sync(path)
        except OSError as error:
            raise write_error(self.folder, error) from error
        return staged

    def publish(self) -> None:
        """Move every output to its final path.

        Raises:
            OverwinterError: an output was opened but not written, or cannot be moved.
        """
        staged = self.complete()
        try:
            for name, source in staged.items():
                _put(source, self.folder / name)
            sync(self.folder)
        except OSError as error:
            raise write_error(self.folder, error) from error
        self._pending.clear()

    def discard(self) -> None:
        """Remove everything written under temporary names."""
        for name in self._pending:
            _remove(self.folder / f"{STAGING}{name}")
        self._pending.clear()


def _put(source: Path, target: Path) -> None:
    if target.is_dir():
        old = target.with_name(f"{STAGING}old-{target.name}")
        target.replace(old)
        source.replace(target)
        shutil.rmtree(old)
    else:
        source.replace(target)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif os.path.lexists(path):
        path.unlink()
