"""Jobs that ended without writing how: cancelled, killed by their node or their time limit, or never seen again."""

from __future__ import annotations

from dataclasses import dataclass, field

from overwinter.slurm.queue import JobState

CANCELLED, AGAIN, GIVEN_UP = "cancelled", "again", "given up"
_MOST = 3  # losses of one program; a node that kills every job would otherwise go on for ever
_LAG_LOOKS = 6  # looks at the queue until a job's record, seen late over a network file system, is missed
_LOOKS = 2
_WITH_RECORD = ("COMPLETED", "FAILED")  # a job that ends in this way has usually written how


@dataclass
class Losses:
    """How often each program was lost, and how long each job that left the queue has been missed."""

    _counts: dict[str, int] = field(default_factory=dict)
    _looks: dict[str, int] = field(default_factory=dict)

    def seen(self, program: str) -> None:
        """Note that a program's job is in the queue, or that its record was found."""
        self._looks.pop(program, None)

    def is_missed(self, program: str) -> bool:
        """Return whether a program's job has left the queue, without a record so far."""
        return program in self._looks

    def missed(self, program: str, state: JobState | None) -> bool:
        """Note that a program's job is no more in the queue; return whether it has to be taken for lost."""
        self._looks[program] = self._looks.get(program, 0) + 1
        may_have_record = state is None or state.state in _WITH_RECORD
        return self._looks[program] >= (_LAG_LOOKS if may_have_record else _LOOKS)

    def verdict(self, program: str, state: JobState | None) -> str:
        """Return what becomes of a lost program: its points are interrupted, it runs again, or it has failed."""
        self._looks.pop(program, None)
        word = "" if state is None else state.state
        if word == "CANCELLED":
            return CANCELLED
        self._counts[program] = self._counts.get(program, 0) + 1
        too_often = self._counts[program] >= _MOST or word == "OUT_OF_MEMORY"
        return GIVEN_UP if too_often else AGAIN


def describe_loss(name: str, job: str, state: JobState | None) -> str:
    """Return in words how a job was lost.

    Args:
        name: The program's name in dvc.yaml.
        job: The job's name.
        state: What the queue last said; None if the job is not there.
    """
    word = "left the queue" if state is None else f"ended as {state.state}"
    remedy = " Raise its mem_gb." if state is not None and state.state == "OUT_OF_MEMORY" else ""
    return f"{name}: Slurm's job {job} {word} without a result.{remedy}"
