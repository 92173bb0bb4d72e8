"""Our joules beside those of Slurm."""

from overwinter.slurm.accounting import account


def test_runs_are_summed_by_their_jobs(slurm):
    slurm.change(accounted="7_1.0|12")
    spent_j = {"s/2026-abc-job7_1": 3.0, "s/2026-def-job7_1": 4.0, "s/2026-abc-job8": 5.0, "s/2026-abcdef": 100.0}
    accounting = account(spent_j)
    assert {job: (each.energy_j, each.slurm_energy_j) for job, each in accounting.jobs.items()} == {
        "7_1": (7.0, 12.0),
        "8": (5.0, None),
    }
    assert accounting.describe() == (
        "2 jobs spent 12.0 J by Overwinter's meters; Slurm's accounting has 12.0 J for 1 of them"
    )


def test_what_slurm_does_not_know_is_said(slurm):
    accounting = account({"s/2026-abc-job8": 5.0})
    assert accounting.jobs["8"].slurm_energy_j is None
    assert accounting.describe().endswith("Slurm's accounting has no figure: Slurm accounting storage is disabled")
    assert account({}).describe().startswith("0 jobs")
