"""Signals that ask supervised work to stop."""

import signal
from types import SimpleNamespace

import pytest

from overwinter.pipeline import supervising
from overwinter.pipeline.supervising import signals_handled


def test_one_request_that_arrives_twice_stops_at_the_next_step_and_a_second_one_at_once(monkeypatch):
    now_s = 100.0
    monkeypatch.setattr(supervising.time, "monotonic", lambda: now_s)
    work = SimpleNamespace(name="train", last_progress_s=99.5, interrupted=False, kept=lambda: "")
    with signals_handled(work):
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        assert work.interrupted
        now_s = 101.5
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
