"""The release of suspended Jobs: once what they need has succeeded, and at the cleanest hour within the deadline.

All that a decision needs is in the Jobs' annotations and status, and in the carbon forecast: nothing is remembered
between two releases, so that one that fails or is repeated loses nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from overwinter.carbon.cleanest import cleanest_start
from overwinter.carbon.provider import Point
from overwinter.deploy.jobs import DURATION, LATEST, NEEDS
from overwinter.errors import IntegrityError


@dataclass(frozen=True, kw_only=True)
class JobState:
    """One Job of a tree, as Kubernetes has it.

    Attributes:
        name: Its name.
        needs: The Jobs that must have succeeded before it.
        status: `suspended`, `running`, `complete` or `failed`.
        duration_s: The upper end of its forecast duration; zero if it is not known.
        latest_utc: When it must start; None if it waits for nothing but its needs.
    """

    name: str
    needs: tuple[str, ...]
    status: str
    duration_s: float
    latest_utc: datetime | None


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What to do now.

    Attributes:
        resume: The Jobs to resume.
        waiting: For each Job that waits for a cleaner hour: its name, the time, and the intensities then and now.
        failed: The Jobs that failed.
        blocked: The Jobs that will not run, since one that they need has failed.
        done: Whether no Job will ever have to be resumed again.
    """

    resume: tuple[str, ...]
    waiting: tuple[tuple[str, datetime, float, float], ...]
    failed: tuple[str, ...]
    blocked: tuple[str, ...]
    done: bool


def read_job(content: Mapping[str, Any]) -> JobState:
    """Return the state of a Job.

    Raises:
        IntegrityError: it was not rendered by `overwinter deploy job`.
    """
    metadata = content.get("metadata") or {}
    notes = metadata.get("annotations") or {}
    try:
        latest = notes.get(LATEST)
        return JobState(
            name=str(metadata["name"]),
            needs=tuple(name for name in notes[NEEDS].split(",") if name),
            status=_status(content),
            duration_s=float(notes.get(DURATION, 0.0)),
            latest_utc=None if latest is None else datetime.fromisoformat(latest),
        )
    except (KeyError, ValueError, AttributeError) as error:
        raise IntegrityError(
            f"the Job {metadata.get('name')} was changed or not rendered by `overwinter deploy job` ({error!r}). Apply "
            "its file again."
        ) from None


def decide(jobs: Sequence[JobState], *, now_utc: datetime, forecast: Sequence[Point]) -> Decision:
    """Return which Jobs to resume now.

    Args:
        jobs: All Jobs of a tree.
        now_utc: The present time.
        forecast: The carbon intensity from now on; empty if it is not known, and then nothing waits for it.
    """
    status = {job.name: job.status for job in jobs}
    failed = tuple(job.name for job in jobs if job.status == "failed")
    blocked = _blocked(jobs, failed)
    ready = [
        job for job in jobs if job.status == "suspended" and all(status.get(need) == "complete" for need in job.needs)
    ]
    resume, waiting = [], []
    for job in ready:
        start = None
        if job.latest_utc is not None:
            start = cleanest_start(forecast, now_utc=now_utc, duration_s=job.duration_s, latest_utc=job.latest_utc)
        if start is None or start.start_utc <= now_utc:
            resume.append(job.name)
        else:
            waiting.append((job.name, start.start_utc, start.g_per_kwh, start.now_g_per_kwh))
    open_ = [job for job in jobs if job.status == "suspended" and job.name not in {*blocked, *resume}]
    return Decision(
        resume=tuple(resume), waiting=tuple(waiting), failed=failed, blocked=blocked, done=bool(jobs) and not open_
    )


def _blocked(jobs: Sequence[JobState], failed: Sequence[str]) -> tuple[str, ...]:
    lost = set(failed)
    while more := {job.name for job in jobs if job.name not in lost and not lost.isdisjoint(job.needs)}:
        lost |= more
    return tuple(job.name for job in jobs if job.name in lost and job.name not in failed)


def _status(content: Mapping[str, Any]) -> str:
    conditions = (content.get("status") or {}).get("conditions") or []
    held = {each.get("type") for each in conditions if each.get("status") == "True"}
    if "Complete" in held:
        return "complete"
    if "Failed" in held:
        return "failed"
    return "suspended" if (content.get("spec") or {}).get("suspend") else "running"
