"""Slurm's own commands: what they refuse in words for the user, what is in the queue, what its accounting knows."""

from __future__ import annotations

import getpass
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from overwinter.errors import ConfigError, OverwinterError

_PATIENCE_S = 60.0
_LARGEST_ARRAY = 1000  # of a Slurm that does not say
_IDS_AT_ONCE = 500  # a command line is finite
_FULL = (
    "MaxSubmit",
    "MaxJobs",
    "MaxGRESSubmit",
    "violates accounting/QOS policy (job submit limit",
    "Slurm temporarily unable to accept job",
    "Resource temporarily unavailable",
)
_SILENT = (
    "Unable to contact slurm controller",
    "Unable to establish controller machine",
    "Socket timed out",
    "Connection refused",
    "Connection timed out",
    "Zero Bytes were transmitted",
    "Communication connection failure",
    "Transport endpoint is not connected",
)
_CLOCKS = ("Rewound credential", "Expired credential", "Replayed credential")
_MISTAKES = {  # Slurm's words -> the setting to look at
    "Invalid partition name": "partition",
    "invalid partition": "partition",
    "Requested time limit": "time_min",
    "More processors requested": "cpus",
    "Memory": "mem_gb",
    "Invalid generic resource": "gpus",
    "Invalid Trackable RESource": "gpus",
    "Requested node configuration is not available": "partition, cpus, mem_gb, gpus",
    "Invalid account": "options",
    "Invalid qos": "options",
    "Invalid feature": "options",
    "unrecognized option": "options",
}
_MAYBE_LATER = "Requested node configuration is not available"  # said also while all nodes are drained
_NO_ENERGY = ("", "0", str(2**64 - 2), str(2**64 - 1))  # and Slurm's two words for an unknown number


class QueueFullError(OverwinterError):
    """Slurm takes no more jobs of this user for now."""


class SilentSlurmError(OverwinterError):
    """Slurm's controller does not answer."""


@dataclass(frozen=True, kw_only=True)
class JobState:
    """What the queue says about a job.

    Attributes:
        state: Slurm's word, such as PENDING, RUNNING, COMPLETED, CANCELLED or NODE_FAIL.
        reason: Why it waits; `None` in Slurm's words if it does not.
    """

    state: str
    reason: str

    @property
    def is_active(self) -> bool:
        """Whether the job waits, runs, or is about to do so again."""
        return self.state in _ACTIVE


_ACTIVE = (
    "PENDING",
    "RUNNING",
    "COMPLETING",
    "CONFIGURING",
    "REQUEUED",
    "REQUEUE_FED",
    "REQUEUE_HOLD",
    "RESIZING",
    "SIGNALING",
    "SPECIAL_EXIT",
    "STAGE_OUT",
    "STOPPED",
    "SUSPENDED",
)


def require_slurm() -> None:
    """Check that jobs can be submitted from this machine.

    Raises:
        ConfigError: a command of Slurm or the package submitit is missing.
    """
    if lacking := [program for program in ("sbatch", "srun", "squeue", "scontrol") if shutil.which(program) is None]:
        raise ConfigError(
            f"{', '.join(lacking)} cannot be found, so no job can be submitted from this machine.\nRun the command on "
            "a machine of the Slurm cluster, or without it: hydra/launcher=overwinter."
        )
    try:
        import submitit  # noqa: F401 -- an optional package
    except ImportError:
        raise ConfigError(
            "hydra/launcher=overwinter_slurm needs submitit. Run: pip install 'overwinter[slurm]'"
        ) from None


def explained(said: str, *, setting: str) -> OverwinterError:
    """Return the error for what sbatch said as it refused a job.

    Args:
        said: Its error output.
        setting: The key of the settings by which the job was asked for, such as `hydra.launcher.stages.train`.
    """
    lines = [re.sub(r"^\w+: (?:error: )?", "", line) for line in said.splitlines() if line.strip()]
    last = lines[-1].removeprefix("allocation failure: ") if lines else "sbatch ended without a word"
    if any(word in said for word in _CLOCKS):
        return SilentSlurmError(
            f"Slurm refuses this machine's credentials: {last}. The clocks of the machines differ by minutes: set them "
            "by NTP, then run the same command again."
        )
    if any(word in said for word in _SILENT):
        return SilentSlurmError(f"Slurm does not answer: {last}. When it does, the same command goes on.")
    if any(word in said for word in _FULL):
        return QueueFullError(f"Slurm takes no more jobs of yours for now: {last}")
    key = next((key for words, key in _MISTAKES.items() if words in said), None)
    if key is None:
        return OverwinterError(f"sbatch refused a job of {setting}: {last}")
    known = f" Partitions: {', '.join(names)}." if key == "partition" and (names := _partitions()) else ""
    return ConfigError(f"Slurm refuses {setting}: {last}. Change its {key}.{known}")


def check_accepted(flags: Sequence[str], *, setting: str) -> None:
    """Ask Slurm whether it would take a job, without submitting one; it finds some mistakes only in a real one.

    Args:
        flags: Options of sbatch.
        setting: As of `explained`.

    Raises:
        OverwinterError: it would not; a ConfigError if a setting is wrong.
    """
    done = _run(["sbatch", "--test-only", *flags, "--wrap=true"])
    if done.returncode != 0 and _MAYBE_LATER not in done.stderr:
        error = explained(done.stderr, setting=setting)
        if not isinstance(error, QueueFullError):  # the queue may be free when a job is submitted
            raise error


def largest_array() -> int:
    """Return the most tasks of one array that this Slurm allows."""
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", _run(["scontrol", "show", "config"]).stdout, re.MULTILINE)
    return max(1, int(found[1]) - 1) if found else _LARGEST_ARRAY


def job_states() -> dict[str, JobState]:
    """Return the user's jobs that wait or run, or ended a short while ago, by name: `12`, or `12_3` in an array.

    Raises:
        SilentSlurmError: squeue failed.
    """
    words = ["--noheader", "--array", "--states=all", f"--user={getpass.getuser()}", "--format=%i|%T|%r"]
    done = _run(["squeue", *words])
    if done.returncode != 0:
        raise SilentSlurmError(f"Slurm does not answer: {done.stderr.strip() or 'squeue failed'}")
    rows = (line.split("|", 2) for line in done.stdout.splitlines() if line.count("|") >= 2)
    return {name: JobState(state=state, reason=reason) for name, state, reason in rows}


def cancel(jobs: Iterable[str]) -> None:
    """Cancel jobs; those that have ended by now are no mistake."""
    names = sorted(set(jobs))
    for start in range(0, len(names), _IDS_AT_ONCE):
        _run(["scancel", *names[start : start + _IDS_AT_ONCE]])


def accounted_j(jobs: Iterable[str]) -> tuple[Mapping[str, float], str]:
    """Return the joules of jobs by Slurm's own accounting.

    Returns:
        Job -> joules, of the jobs for which it has a figure; and why it has none, if it has none at all.
    """
    names = sorted(set(jobs))
    found: dict[str, float] = {}
    for start in range(0, len(names), _IDS_AT_ONCE):
        words = ["--noheader", "--parsable2", "--format=JobID,ConsumedEnergyRaw"]
        done = _run(["sacct", *words, f"--jobs={','.join(names[start : start + _IDS_AT_ONCE])}"])
        if done.returncode != 0:
            return {}, done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "sacct failed"
        for line in done.stdout.splitlines():
            step, _, joules = line.partition("|")
            if joules not in _NO_ENERGY and "." in step:
                job = step.partition(".")[0]
                found[job] = found.get(job, 0.0) + float(joules)
    return found, "" if found else "Slurm gathers no energy here (AcctGatherEnergyType)"


def _partitions() -> list[str]:
    done = _run(["sinfo", "--noheader", "--format=%R"])
    return sorted(set(done.stdout.split())) if done.returncode == 0 else []


def _run(words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a command of Slurm; one that is missing or hangs has failed."""
    try:
        return subprocess.run(words, capture_output=True, text=True, check=False, timeout=_PATIENCE_S)
    except FileNotFoundError:
        return subprocess.CompletedProcess(words, 127, "", f"{words[0]} is not installed")
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(words, 124, "", f"Socket timed out: {words[0]} ran for {_PATIENCE_S:g} s")
