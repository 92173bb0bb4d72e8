"""The joules of a sweep's jobs: by our meters on the nodes, as the ledger has them, and by Slurm's own accounting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from overwinter.slurm.queue import accounted_j
from overwinter.units import format_si

JOB_MARK = "-job"  # before the job's name, at the end of the id of its run in the ledger


@dataclass(frozen=True, kw_only=True)
class JobEnergy:
    """The joules of one job: by our meters, and by Slurm's accounting, None where it has no figure."""

    energy_j: float
    slurm_energy_j: float | None


@dataclass(frozen=True, kw_only=True)
class Accounting:
    """The joules of the jobs of a sweep that ran a stage.

    Attributes:
        jobs: Job -> its joules.
        reason: Why Slurm has no figure for any of them; empty if it has.
    """

    jobs: Mapping[str, JobEnergy]
    reason: str

    def describe(self) -> str:
        """Return both sums in words."""
        known = [each.slurm_energy_j for each in self.jobs.values() if each.slurm_energy_j is not None]
        ours_j = sum(each.energy_j for each in self.jobs.values())
        ours = f"{len(self.jobs)} jobs spent {format_si(ours_j, 'J')} by Overwinter's meters"
        if not known:
            return f"{ours}; Slurm's accounting has no figure: {self.reason}"
        return f"{ours}; Slurm's accounting has {format_si(sum(known), 'J')} for {len(known)} of them"


def account(spent_j: Mapping[str, float]) -> Accounting:
    """Return the joules of the jobs that ran stages.

    Args:
        spent_j: The ledger's joules of each run of the sweep, by the run's id.
    """
    ours: dict[str, float] = {}
    for run, energy_j in spent_j.items():
        _, mark, job = run.rpartition(JOB_MARK)
        if mark:
            ours[job] = ours.get(job, 0.0) + energy_j
    theirs, reason = accounted_j(ours) if ours else ({}, "no job has run a stage")
    jobs = {job: JobEnergy(energy_j=energy_j, slurm_energy_j=theirs.get(job)) for job, energy_j in ours.items()}
    return Accounting(jobs=jobs, reason=reason)
