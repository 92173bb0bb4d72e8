"""The stages of one or more configurations as a tree of jobs: each distinct stage once, and when it must start."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

from overwinter.errors import ConfigError
from overwinter.units import format_duration

_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_MAX_NAME, _MAX_JOB_NAME = 30, 63  # a job's name is a DNS label, and a label of its pods
_KEY_DIGITS = 8


@dataclass(frozen=True, kw_only=True)
class StageJob:
    """One distinct stage.

    Attributes:
        stage: The stage.
        key: The digest of all that determines its result.
        overrides: The overrides of a configuration that has it.
        needs: The keys of the stages whose results it reads.
        duration_s: The upper end of its forecast duration; None if it is not known.
    """

    stage: str
    key: str
    overrides: tuple[str, ...]
    needs: tuple[str, ...]
    duration_s: float | None


@dataclass(frozen=True)
class JobTree:
    """Jobs in an order in which each comes after those it needs.

    Attributes:
        name: The name of the tree, with which the names of its jobs begin.
        jobs: The jobs.
        deadline_utc: The time by which all must have ended; None: nothing waits for cleaner hours.
    """

    name: str
    jobs: tuple[StageJob, ...]
    deadline_utc: datetime | None

    def __post_init__(self) -> None:
        if len(self.name) > _MAX_NAME or not _NAME.fullmatch(self.name):
            raise ConfigError(
                f"--name {self.name!r} must be lower-case letters, digits and hyphens, {_MAX_NAME} at most, beginning "
                "with a letter."
            )

    @property
    def digest(self) -> str:
        """Return what tells this tree from another of the same name, for labels."""
        return self.jobs[-1].key[:12]

    def job_name(self, job: StageJob) -> str:
        """Return the name of a job: that of the tree, the stage, and the beginning of its key."""
        stage = re.sub(r"[^a-z0-9]+", "-", job.stage.lower()).strip("-")
        room = _MAX_JOB_NAME - len(self.name) - _KEY_DIGITS - 2
        return f"{self.name}-{stage[:room].rstrip('-')}-{job.key[:_KEY_DIGITS]}"

    def needs(self, job: StageJob) -> list[str]:
        """Return the names of the jobs that must have succeeded before a job."""
        return [self.job_name(each) for each in self.jobs if each.key in job.needs]

    def latest_start_utc(self, job: StageJob) -> datetime | None:
        """Return when a job must start so that all that follows it ends by the deadline.

        Returns:
            The time; None without a deadline, or if a duration on the way is not known: then nothing waits.
        """
        rest_s = self._rest_s[job.key]
        if self.deadline_utc is None or rest_s is None:
            return None
        return self.deadline_utc - timedelta(seconds=rest_s)

    @property
    def unknown(self) -> list[str]:
        """Return the stages whose duration is not known, each once."""
        return list(dict.fromkeys(each.stage for each in self.jobs if each.duration_s is None))

    def check_deadline(self, now_utc: datetime) -> None:
        """Refuse a deadline that cannot be met.

        Raises:
            ConfigError: the jobs that follow one another take longer than the time until the deadline.
        """
        late = [start for job in self.jobs if (start := self.latest_start_utc(job)) is not None and not job.needs]
        if late and min(late) < now_utc:
            needed_s = max(rest for rest in self._rest_s.values() if rest is not None)
            raise ConfigError(
                f"--deadline: by their forecasts, the jobs that follow one another need up to "
                f"{format_duration(needed_s)}, which is more than the time until then. Name a later one."
            )

    @cached_property
    def _rest_s(self) -> dict[str, float | None]:
        """Return, for each key, the seconds of its job and the longest chain that follows; None if not known."""
        rest: dict[str, float | None] = {}
        for job in reversed(self.jobs):
            following = [rest[each.key] for each in self.jobs if job.key in each.needs]
            known = [each for each in following if each is not None]
            missing = job.duration_s is None or len(known) < len(following)
            rest[job.key] = None if missing else (job.duration_s or 0.0) + max(known, default=0.0)
        return rest


def without_shared(jobs: Sequence[StageJob]) -> tuple[StageJob, ...]:
    """Return the jobs of several configurations, each distinct one once, in order."""
    return tuple({job.key: job for job in reversed(jobs)}[key] for key in dict.fromkeys(job.key for job in jobs))
