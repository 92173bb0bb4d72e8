"""What Slurm refuses in words for the user, and what its commands print."""

import pytest

from overwinter.errors import ConfigError, OverwinterError
from overwinter.slurm.queue import (
    QueueFullError,
    SilentSlurmError,
    accounted_j,
    cancel,
    check_accepted,
    explained,
    job_states,
    largest_array,
    require_slurm,
)

KEY = "hydra.launcher.stages.train"


# The words of Slurm 22.05, or of its source.
@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        (
            "sbatch: error: invalid partition specified: x\nallocation failure: Invalid partition name specified\n",
            ConfigError,
            "Slurm refuses hydra.launcher.stages.train: Invalid partition name specified. Change its partition.",
        ),
        (
            "allocation failure: Requested node configuration is not available",
            ConfigError,
            "Change its partition, cpus, mem_gb, gpus.",
        ),
        (
            "Batch job submission failed: Requested time limit is invalid (missing or exceeds some limit)",
            ConfigError,
            "Change its time_min.",
        ),
        (
            "sbatch: error: Memory specification can not be satisfied\nsbatch: error: Batch job submission failed",
            ConfigError,
            "Change its mem_gb.",
        ),
        ("sbatch: unrecognized option '--colour=red'", ConfigError, "Change its options."),
        (
            "sbatch: error: QOSMaxSubmitJobPerUserLimit\nJob violates accounting/QOS policy (job submit limit, user's)",
            QueueFullError,
            "takes no more jobs of yours for now",
        ),
        (
            "sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying",
            QueueFullError,
            "takes no more jobs",
        ),
        (
            "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)",
            SilentSlurmError,
            "the same command goes on",
        ),
        ("sbatch: error: Munge decode failed: Expired credential", SilentSlurmError, "clocks of the machines differ"),
        (
            "sbatch: error: no such luck",
            OverwinterError,
            "sbatch refused a job of hydra.launcher.stages.train: no such",
        ),
        ("", OverwinterError, "without a word"),
    ],
)
def test_a_refusal_says_what_to_change(said, kind, words):
    error = explained(said, setting=KEY)
    assert type(error) is kind
    assert words in str(error)
    assert len(str(error).splitlines()) <= 3


def test_a_missing_partition_names_those_that_exist(slurm):
    slurm.change(refuse="Invalid partition name specified")
    with pytest.raises(ConfigError, match="Partitions: long, short"):
        check_accepted(["--partition=x"], setting=KEY)


@pytest.mark.parametrize("said", ["QOSMaxSubmitJobPerUserLimit", "Requested node configuration is not available"])
def test_a_full_queue_and_drained_nodes_are_no_reason_not_to_begin(slurm, said):
    slurm.change(refuse=said)
    check_accepted([], setting=KEY)


def test_a_machine_without_slurm_is_told_so(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="sbatch, srun, squeue, scontrol cannot be found"):
        require_slurm()


def test_the_queue_is_read(slurm):
    jobs = {"3": ("RUNNING", "None"), "4_1": ("PENDING", "QOSMaxJobsPerUserLimit"), "4_2": ("NODE_FAIL", "None")}
    slurm.change(jobs={name: {"state": state, "reason": reason} for name, (state, reason) in jobs.items()})
    states = job_states()
    assert {name: (each.state, each.reason) for name, each in states.items()} == jobs
    assert [each.is_active for each in states.values()] == [True, True, False]
    cancel(["3", "99"])
    assert not job_states()["3"].is_active


def test_a_controller_that_does_not_answer_is_an_error(slurm):
    slurm.change(silent=True)
    with pytest.raises(SilentSlurmError, match="Slurm does not answer"):
        job_states()


def test_the_largest_array_is_asked_for(slurm):
    assert largest_array() == 1000


def test_energy_of_slurm_is_summed_over_steps_and_unknown_where_it_has_none(slurm):
    slurm.change(accounted="7|\n7.batch|100\n7.0|23\n8_1|\n8_1.0|5\n9.0|0\n10.0|18446744073709551614")
    assert accounted_j(["7", "8_1", "9", "10"]) == ({"7": 123.0, "8_1": 5.0}, "")
    slurm.change(accounted="7.0|0")
    assert accounted_j(["7"]) == ({}, "Slurm gathers no energy here (AcctGatherEnergyType)")
    slurm.change(accounted=None)
    assert accounted_j(["7"]) == ({}, "Slurm accounting storage is disabled")
