"""Worker trees: copies of the repository in `.overwinter/sweeps/trees/`, in which points run beside each other.

A tree has the repository's files as they are when the sweep starts, uncommitted changes included, and outputs of its
own. The cache, the ledger and the checkpoints are the project's. What stages read but Git ignores is a link into the
project. A tree stays for the next sweep, which starts with its outputs; it can be deleted at any time.
"""

from __future__ import annotations

import configparser
import contextlib
import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from overwinter.config import Config, Project
from overwinter.errors import ConfigError, OverwinterError
from overwinter.files import write_error, write_text
from overwinter.pipeline.composing import write_rendered
from overwinter.pipeline.locks import repair_dvc_lock, repair_dvc_rwlock
from overwinter.pipeline.render import rendered_stages
from overwinter.sweep.repository import Repository, without_check
from overwinter.sweep.results import refuse_links

_LINKED_BYTES = 50 * 10**6  # larger files are links into the project
_LOCAL_CONFIG = ".dvc/config.local"
_OWN = ("outputs", "dvc.lock", ".overwinter", ".dvc/tmp", _LOCAL_CONFIG, ".dvc/cache")


@dataclass(kw_only=True)
class Tree:
    """One worker's copy of the repository.

    Attributes:
        top: Its top folder.
        main: The user's project.
        project: The project in this tree.
        links: Paths relative to `top` that are links into the user's repository.
    """

    top: Path
    main: Project
    project: Project
    links: list[str] = field(default_factory=list)

    def prepare(self, params: str, config: Config, dvc_yaml: str) -> None:
        """Write params.yaml and the files rendered from it, and repair what a killed dvc left."""
        repair_dvc_rwlock(self.project.root)
        repair_dvc_lock(self.project.root)
        write_rendered(self.project, params, config, dvc_yaml=dvc_yaml)
        self._link_missing(config)

    def forget_check(self) -> None:
        """Remove the check of another point from dvc.lock; DVC writes the whole file again after each stage."""
        path = self.project.root / "dvc.lock"
        text = path.read_text(encoding="utf-8")
        if (shorter := without_check(text)) != text:
            write_text(path, shorter)

    def _link_missing(self, config: Config) -> None:
        """Link what stages read and Git ignores, such as data, from the user's project."""
        stages = rendered_stages(config, self.main)
        for path in dict.fromkeys(path for stage in stages.values() for path in stage["deps"]):
            here, there = self.project.root / path, self.main.root / path
            if path.startswith("outputs/") or Path(path).is_absolute() or os.path.lexists(here):
                continue
            here, there = Path(os.path.normpath(here)), Path(os.path.normpath(there))
            if not here.is_relative_to(self.top):
                raise ConfigError(
                    f"{there} is outside the Git repository, so that the trees of a sweep lack it. Move it into the "
                    "repository, or name it by its absolute path."
                )
            if there.exists():
                _link(there, here)
                self.links.append(os.path.relpath(here, self.top))


def make_tree(name: int | str, main: Project, repository: Repository, *, cache: Path, anew: bool = False) -> Tree:
    """Make a worker's tree, or bring an earlier one up to date with the user's repository.

    Args:
        name: The worker's number, or the tree's name.
        main: The user's project.
        repository: Its repository.
        cache: The folder of DVC's cache.
        anew: Whether to start without what an earlier sweep left in it.

    Raises:
        IntegrityError: the folder is a link.
        OverwinterError: the disk is full, or the folder cannot be written.
    """
    top = _made_top(main, name, anew=anew)
    within = main.root.resolve().relative_to(repository.top.resolve())
    configs = Path(os.path.normpath(top / within / os.path.relpath(main.configs, main.root)))
    project = Project(root=top / within, configs=configs, config_name=main.config_name)
    tree = Tree(top=top, main=main, project=project)
    return _filled(tree, _wanted(main, repository), repository.top, cache)


def copy_tree(source: Tree, name: str, *, cache: Path, anew: bool = False) -> Tree:
    """Make a copy of a tree that nothing runs in, or bring an earlier copy up to date; errors as of `make_tree`.

    Args:
        source: A tree with the files of the repository as they were when it was made.
        name: The name of the copy.
        cache: The folder of DVC's cache.
        anew: Whether to start without what an earlier run left in it.
    """
    top = _made_top(source.main, name, anew=anew)
    root, configs = (top / path.relative_to(source.top) for path in (source.project.root, source.project.configs))
    project = Project(root=root, configs=configs, config_name=source.project.config_name)
    files = {
        os.path.relpath(Path(folder, each), source.top)
        for folder, folders, names in os.walk(source.top)
        for each in [*names, *(within for within in folders if Path(folder, within).is_symlink())]
    }
    own = os.path.relpath(source.project.root / _LOCAL_CONFIG, source.top)
    tree = Tree(top=top, main=source.main, project=project, links=list(source.links))
    return _filled(tree, files - {own}, source.top, cache)


def _made_top(main: Project, name: int | str, *, anew: bool) -> Path:
    top = main.state / "sweeps" / "trees" / str(name)
    refuse_links(top.parent, top)
    try:
        if anew:
            shutil.rmtree(top, ignore_errors=True)
            top.with_name(f"{top.name}.index").unlink(missing_ok=True)
        top.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(top, error) from error
    return top


def _filled(tree: Tree, files: Iterable[str], source: Path, cache: Path) -> Tree:
    try:
        _copy(tree, files, source)
        _write_local_config(tree, cache)
    except OSError as error:
        raise write_error(tree.top, error) from error
    return tree


@functools.cache
def cache_folder(project: Project) -> Path:
    """Return the folder of the project's DVC cache.

    Raises:
        OverwinterError: dvc cannot say.
    """
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "cache", "dir"], cwd=project.root, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise OverwinterError(f"dvc does not find its cache in {project.root}: {done.stderr.strip()}")
    return Path(done.stdout.strip())


def _wanted(main: Project, repository: Repository) -> set[str]:
    """Return the files of a tree, relative to its top: the repository's, and all of configs/, whose digest counts."""
    own = tuple(os.path.normpath(main.root / name) for name in _OWN)
    files = {
        path
        for path in repository.files()
        if not os.path.normpath(repository.top / path).startswith(tuple(f"{name}{os.sep}" for name in own))
        and os.path.normpath(repository.top / path) not in own
    }
    if not main.configs.resolve().is_relative_to(repository.top.resolve()):
        raise ConfigError(
            f"{main.configs} is outside the Git repository {repository.top}. Move it into the repository."
        )
    configs = (path for path in main.configs.rglob("*") if path.is_file())
    return files | {os.path.relpath(path, repository.top) for path in configs}


def _copy(tree: Tree, wanted: Iterable[str], source: Path) -> None:
    wanted = set(wanted)
    _remove_others(tree, wanted)
    for path in sorted(wanted):
        there, here = source / path, tree.top / path
        if not os.path.lexists(there) or (there.is_dir() and not there.is_symlink()):
            continue  # deleted, or another repository inside this one
        if there.is_file() and not there.is_symlink() and there.stat().st_size > _LINKED_BYTES:
            _link(there, here)
            tree.links.append(path)
        elif not _is_same(there, here):
            here.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                here.unlink()
            shutil.copy2(there, here, follow_symlinks=False)


def _remove_others(tree: Tree, wanted: set[str]) -> None:
    """Remove files that the repository no longer has, but not what belongs to the tree itself."""
    own = {Path(os.path.normpath(tree.project.root / name)) for name in _OWN}
    for folder, folders, names in os.walk(tree.top):
        linked = [name for name in folders if Path(folder, name).is_symlink()]
        folders[:] = [name for name in folders if Path(folder, name) not in own]
        for path in (Path(folder, name) for name in [*names, *linked]):
            if path not in own and path.relative_to(tree.top).as_posix() not in wanted:
                path.unlink()


def _is_same(there: Path, here: Path) -> bool:
    if not os.path.lexists(here):
        return False
    one, other = there.lstat(), here.lstat()
    return (one.st_mode, one.st_size, one.st_mtime_ns) == (other.st_mode, other.st_size, other.st_mtime_ns)


def _link(there: Path, here: Path) -> None:
    here.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        here.unlink()
    here.symlink_to(there)


def _write_local_config(tree: Tree, cache: Path) -> None:
    """Write the tree's .dvc/config.local: the user's own, with the project's cache, and without Git."""
    local = configparser.ConfigParser(strict=False, interpolation=None)
    local.read(tree.main.root / ".dvc" / "config.local", encoding="utf-8")
    for section, name, value in (("cache", "dir", str(cache)), ("core", "no_scm", "true")):
        if not local.has_section(section):
            local.add_section(section)
        local.set(section, name, value)
    lines = [
        f"[{section}]\n" + "".join(f"    {name} = {value}\n" for name, value in local.items(section))
        for section in local.sections()
    ]
    write_text(tree.project.root / _LOCAL_CONFIG, "".join(lines))
