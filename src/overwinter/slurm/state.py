"""What a sweep on Slurm keeps in `.overwinter/sweeps/NAME/slurm/`, on the file system that all nodes share.

- `params/`: the params.yaml of each point; `source/` is beside the worker trees.
- `ended/`: a record per program that ended by itself, written by its job.
- `accounting.json`: the joules of each job, by our meters and by Slurm.
- `places.json`: the job of each submitted program, so that the same command follows jobs that an earlier one submitted.
- `jobs/`: submitit's own files, and what the jobs printed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from overwinter.errors import IntegrityError
from overwinter.files import read_json, write_json
from overwinter.records import read_record, write_record
from overwinter.slurm.accounting import Accounting
from overwinter.slurm.arrays import Place
from overwinter.sweep.results import PointRecord

_REMEDY = "Run the sweep again: what is done is not run again."


@dataclass(frozen=True, kw_only=True)
class EndedProgram:
    """How a program ended, as its job writes it.

    Attributes:
        id: The program's id.
        status: `done`, `failed` or `refused`.
        message: Why it is not done; empty if it is.
        failed: The stage or gate that failed; empty if none did.
        job: The job's name in Slurm.
        host: The node.
        started_s: When the job began, by the node's clock, in seconds since 1970.
        ended_s: When it ended.
        run_id: The id of its run in the ledger.
        ran: The stages that were executed, not restored.
        points: What the points gave whose last program it is.
    """

    id: str
    status: str
    message: str = ""
    failed: str = ""
    job: str
    host: str
    started_s: float
    ended_s: float
    run_id: str
    ran: tuple[str, ...] = ()
    points: tuple[PointRecord, ...] = ()


@dataclass(frozen=True, kw_only=True)
class SlurmFolder:
    """The files of one sweep."""

    path: Path

    @property
    def jobs(self) -> Path:
        """Folder of submitit's files."""
        return self.path / "jobs"

    def params(self, point: str) -> Path:
        """Return the path of a point's params.yaml."""
        return self.path / "params" / f"{point}.yaml"

    def log(self, program: str) -> Path:
        """Return the path of what DVC and a program printed."""
        return self.path / "logs" / f"{program}.log"

    def note(self, ended: EndedProgram) -> None:
        """Write how a program ended."""
        write_record(self._ended(ended.id), ended)

    def forget(self, program: str) -> None:
        """Remove the record of an earlier end of a program, which runs again."""
        self._ended(program).unlink(missing_ok=True)

    def ended(self, program: str) -> EndedProgram | None:
        """Return how a program ended; None while it has not, or if the record is damaged."""
        path = self._ended(program)
        if not path.exists():
            return None
        try:
            return read_record(EndedProgram, path, remedy=_REMEDY)
        except IntegrityError:
            return None

    def all_ended(self) -> set[str]:
        """Return the ids of the programs that have a record of their end."""
        folder = self._ended("").parent
        return {path.stem for path in folder.glob("*.json")} if folder.is_dir() else set()

    def note_accounting(self, accounting: Accounting) -> None:
        """Write the joules of each job, by our meters and by Slurm."""
        write_record(self.path / "accounting.json", accounting)

    def _ended(self, program: str) -> Path:
        return self.path / "ended" / f"{program}.json"

    def write_places(self, places: Mapping[str, Place]) -> None:
        """Write where programs were submitted."""
        write_json(self.path / "places.json", {program: list(place) for program, place in places.items()})

    def read_places(self) -> dict[str, Place]:
        """Return where programs were submitted; nothing if the file is missing or damaged."""
        try:
            content = read_json(self.path / "places.json", remedy=_REMEDY)
            return {str(program): (str(job), task) for program, (job, task) in content.items()}
        except (IntegrityError, AttributeError, TypeError, ValueError):
            return {}
