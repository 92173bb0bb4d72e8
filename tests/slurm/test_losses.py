"""What becomes of a job that left the queue without a record."""

import pytest

from overwinter.slurm.losses import AGAIN, CANCELLED, GIVEN_UP, Losses, describe_loss
from overwinter.slurm.queue import JobState


def ended(word):
    return JobState(state=word, reason="None")


@pytest.mark.parametrize(("state", "looks"), [(ended("NODE_FAIL"), 2), (ended("COMPLETED"), 6), (None, 6)])
def test_a_record_may_be_seen_late(state, looks):
    losses = Losses()
    assert [losses.missed("train", state) for _ in range(looks)] == [False] * (looks - 1) + [True]


def test_a_job_that_is_seen_again_was_never_missed():
    losses = Losses()
    losses.missed("train", ended("NODE_FAIL"))
    assert losses.is_missed("train")
    losses.seen("train")
    assert not losses.missed("train", ended("NODE_FAIL"))


def test_a_lost_job_runs_again_but_not_for_ever():
    losses = Losses()
    assert [losses.verdict("train", ended("NODE_FAIL")) for _ in range(3)] == [AGAIN, AGAIN, GIVEN_UP]
    assert losses.verdict("other", ended("TIMEOUT")) == AGAIN


def test_who_cancels_a_job_wants_it_to_stop():
    assert Losses().verdict("train", ended("CANCELLED")) == CANCELLED


def test_too_little_memory_is_no_accident():
    assert Losses().verdict("train", ended("OUT_OF_MEMORY")) == GIVEN_UP
    assert "Raise its mem_gb" in describe_loss("train", "7_1", ended("OUT_OF_MEMORY"))
    assert describe_loss("train", "7_1", None) == "train: Slurm's job 7_1 left the queue without a result."
