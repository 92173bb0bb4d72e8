"""The tree of jobs: each distinct stage once, names that Kubernetes takes, and starts that leave time for the rest."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from overwinter.deploy.job_tree import JobTree, StageJob, without_shared
from overwinter.errors import ConfigError

DEADLINE = datetime(2026, 7, 1, 12, tzinfo=UTC)


def job(stage, key, *needs, duration_s=60.0):
    return StageJob(
        stage=stage, key=key * 8, overrides=(), needs=tuple(each * 8 for each in needs), duration_s=duration_s
    )


CHAIN = (job("train", "a"), job("sparsify", "b", "a"), job("evaluate", "c", "a", "b"))


def before(minutes):
    return DEADLINE - timedelta(minutes=minutes)


def test_shared_stages_are_one_job_with_the_overrides_of_the_first():
    first, other = job("train", "a"), job("train", "a")
    again = StageJob(**{**vars(other), "overrides": ("seed=0",)})
    assert without_shared([first, CHAIN[1], again, job("sparsify", "d", "a")]) == (
        first,
        CHAIN[1],
        job("sparsify", "d", "a"),
    )


def test_a_job_starts_so_that_the_longest_chain_behind_it_ends_in_time():
    long = job("evaluate", "d", "a", duration_s=600.0)
    tree = JobTree("tree", (*CHAIN, long), DEADLINE)
    assert [tree.latest_start_utc(each) for each in tree.jobs] == [before(11), before(2), before(1), before(10)]
    assert tree.needs(CHAIN[2]) == ["tree-train-aaaaaaaa", "tree-sparsify-bbbbbbbb"]


def test_nothing_waits_for_what_takes_unknown_time():
    tree = JobTree("tree", (job("train", "a"), job("evaluate", "b", "a", duration_s=None)), DEADLINE)
    assert [tree.latest_start_utc(each) for each in tree.jobs] == [None, None]
    assert tree.unknown == ["evaluate"]
    assert JobTree("tree", CHAIN, None).latest_start_utc(CHAIN[0]) is None


def test_a_deadline_that_is_too_near_is_refused():
    tree = JobTree("tree", CHAIN, DEADLINE)
    tree.check_deadline(before(3))
    with pytest.raises(ConfigError, match="3 min 00 s"):
        tree.check_deadline(before(2))


@pytest.mark.parametrize("name", ["", "Tree", "a" * 31, "-a", "a_b", "1a"])
def test_names_that_kubernetes_would_refuse(name):
    with pytest.raises(ConfigError, match="--name"):
        JobTree(name, CHAIN, None)


def test_names_of_jobs_are_dns_labels():
    tree = JobTree("t" * 30, (job("My_Own.stage" * 5, "a"),), None)
    name = tree.job_name(tree.jobs[0])
    assert len(name) <= 63
    assert name.startswith("t" * 30 + "-my-own-stage")
    assert name.endswith("-aaaaaaaa")
