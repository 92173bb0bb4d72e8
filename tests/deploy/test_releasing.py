"""Which Jobs are resumed: ready ones, at the cleanest hour, and never too late for the deadline."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from overwinter.carbon.provider import Point
from overwinter.deploy.jobs import DURATION, LATEST, NEEDS
from overwinter.deploy.releasing import JobState, decide, read_job
from overwinter.errors import IntegrityError

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
# Clean from 14 to 15 o'clock.
FORECAST = [Point(time_utc=NOW + timedelta(hours=hour), g_per_kwh=100 if hour == 2 else 500) for hour in range(24)]


def job(name, *needs, status="suspended", latest_h=10.0):
    latest_utc = None if latest_h is None else NOW + timedelta(hours=latest_h)
    return JobState(name=name, needs=needs, status=status, duration_s=1800.0, latest_utc=latest_utc)


def decided(*jobs, now_utc=NOW, forecast=FORECAST):
    return decide(jobs, now_utc=now_utc, forecast=forecast)


def test_a_ready_job_waits_for_the_cleanest_hour_and_then_runs():
    found = decided(job("a"), job("b", "a"))
    assert (found.resume, found.done) == ((), False)
    assert found.waiting == (("a", NOW + timedelta(hours=2), 100.0, 500.0),)
    assert decided(job("a"), now_utc=NOW + timedelta(hours=2)).resume == ("a",)


@pytest.mark.parametrize("latest_h", [None, -1.0, 0.0])
def test_what_may_not_wait_runs_now(latest_h):
    assert decided(job("a", latest_h=latest_h)).resume == ("a",)


def test_a_clean_hour_beyond_the_deadline_is_none():
    assert decided(job("a", latest_h=1.0)).resume == ("a",)


def test_without_a_forecast_nothing_waits():
    assert decided(job("a"), forecast=[]).resume == ("a",)


@pytest.mark.parametrize("status", ["suspended", "running", "failed"])
def test_a_job_never_runs_before_what_it_needs(status):
    found = decided(job("a", status=status), job("b", "a", latest_h=-1))
    assert "b" not in found.resume
    assert decided(job("a", status="complete"), job("b", "a", latest_h=-1)).resume == ("b",)


def test_behind_a_failure_nothing_runs_and_beside_it_everything_does():
    found = decided(
        job("a", status="failed"), job("b", "a"), job("c", "b"), job("d", latest_h=None), job("e", "missing")
    )
    assert (found.failed, found.blocked, found.resume, found.done) == (("a",), ("b", "c"), ("d",), False)


def test_it_is_done_once_nothing_is_left_to_resume():
    assert decided(job("a", status="complete"), job("b", "a", status="running")).done
    assert decided(job("a", status="failed"), job("b", "a")).done
    assert decided(job("a", latest_h=None)).done  # it is resumed now
    assert not decided(job("a", status="running"), job("b", "a")).done


def kubernetes(*, suspend=True, condition=None, **notes):
    found = {"metadata": {"name": "a", "annotations": notes}, "spec": {"suspend": suspend}}
    return found | ({"status": {"conditions": [{"type": condition, "status": "True"}]}} if condition else {})


@pytest.mark.parametrize(
    ("values", "status"),
    [
        ({}, "suspended"),
        ({"suspend": False}, "running"),
        ({"suspend": False, "condition": "Complete"}, "complete"),
        ({"suspend": False, "condition": "Failed"}, "failed"),
        ({"suspend": False, "condition": "FailureTarget"}, "running"),
        ({"condition": "Suspended"}, "suspended"),
    ],
)
def test_the_status_of_a_job(values, status):
    assert read_job(kubernetes(**{NEEDS: ""}, **values)).status == status


def test_what_the_annotations_say():
    read = read_job(kubernetes(**{NEEDS: "b,c", DURATION: "90", LATEST: "2026-07-01T12:00:00+00:00"}))
    assert (read.needs, read.duration_s, read.latest_utc) == (("b", "c"), 90.0, NOW)


@pytest.mark.parametrize("notes", [{}, {NEEDS: "", DURATION: "long"}, {NEEDS: "", LATEST: "noon"}])
def test_a_job_of_someone_else_is_refused(notes):
    with pytest.raises(IntegrityError, match="Job a"):
        read_job(kubernetes(**notes))
