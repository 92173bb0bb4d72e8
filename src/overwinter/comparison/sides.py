"""From a name on the command line to a side: a revision, a DVC experiment, a sweep's point, a run, the workspace."""

from __future__ import annotations

import subprocess
import sys
from functools import cache, partial
from pathlib import Path

from overwinter.comparison.contents import Fetch, Side, read_side
from overwinter.comparison.history import find_run
from overwinter.comparison.sources import find_source, unknown
from overwinter.config import Project
from overwinter.errors import ConfigError, IntegrityError
from overwinter.ledger import Ledger
from overwinter.sweep.results import POINTS_FILE, SweepRecord, read_sweep

_CACHE_TIMEOUT_S = 60.0


def open_side(project: Project, name: str, ledger: Ledger) -> Side:
    """Read what a name means: `workspace`, a revision, a DVC experiment, a sweep's point, or a run of the ledger.

    Args:
        project: The project.
        name: The name; of a point, POINT or SWEEP/POINT; of a run, its id or the beginning of it.
        ledger: The project's ledger.

    Raises:
        ConfigError: nothing has that name, or several things have.
        OverwinterError: it has no metrics, or Git cannot read the repository.
    """
    source = find_source(project, name, points=point_experiments(project, name))
    if source is not None:
        return read_side(source, dvc_cache(project.root))
    run = find_run(ledger, name)
    if run is None:
        raise unknown(project, name)
    return run


def point_experiments(project: Project, name: str) -> list[str]:
    """Return the experiments of the points of sweeps that a name means: POINT, or SWEEP/POINT.

    Raises:
        ConfigError: the point of that sweep has no experiment, since it was not done.
    """
    sweep, _, point = name.rpartition("/")
    folder = project.state / "sweeps"
    names = [sweep] if sweep else sorted(each.parent.name for each in folder.glob(f"*/{POINTS_FILE}"))
    records = [each for each in map(partial(_sweep, project), names) if each is not None]
    found = [each for record in records for each in record.points if each.name == point]
    if sweep and found and found[0].experiment is None:
        raise ConfigError(f"{name} has no experiment: it is {found[0].status}. {found[0].message}".rstrip())
    return list(dict.fromkeys(each.experiment for each in found if each.experiment))


def _sweep(project: Project, name: str) -> SweepRecord | None:
    try:
        return read_sweep(project, name)
    except (ConfigError, IntegrityError):
        return None  # such as `origin` of `origin/main`, if that could be no sweep's name


@cache  # both sides are of one project, and DVC takes half a second to start
def dvc_cache(root: Path) -> Fetch:
    """Return a reader of the DVC cache of a project; DVC is asked for another place than the default only if needed."""

    @cache
    def elsewhere() -> Path | None:
        command = [sys.executable, "-m", "dvc", "cache", "dir"]
        try:
            done = subprocess.run(
                command, cwd=root, capture_output=True, text=True, check=False, timeout=_CACHE_TIMEOUT_S
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return root / done.stdout.strip() if done.returncode == 0 and done.stdout.strip() else None

    def fetch(md5: str) -> bytes | None:
        inner = Path("files") / "md5" / md5[:2] / md5[2:]
        file = root / ".dvc" / "cache" / inner
        if not file.is_file():
            folder = elsewhere()
            if folder is None or not (file := folder / inner).is_file():
                return None
        return file.read_bytes()

    return fetch
