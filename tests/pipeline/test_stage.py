"""What a stage does at a step: a pause waits where work would be lost, a request to end does not."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from overwinter.config import find_project, load_config
from overwinter.pipeline.invocation import Invocation
from overwinter.pipeline.stage import InterruptedStageError, Stage
from overwinter.power.control.pausing import Pause, PausedError

_ROOT = Path(__file__).parents[2]
_PAUSE = Pause(reason="the grid is dirty", since_utc=datetime(2026, 6, 10, tzinfo=UTC))


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """In a scratch folder, under a power policy that wants a pause."""
    project = find_project(_ROOT)
    made = Stage(
        Invocation(stage="train", project=project, config=load_config(project), folder=tmp_path / "train", scratch=True)
    )
    control: Any = SimpleNamespace(pause=_PAUSE, step=lambda done, total: None, paused_work=lambda: "work")
    made.control = control
    return made


def test_work_that_is_kept_is_paused_at_a_step(stage: Stage):
    with pytest.raises(PausedError, match="the grid is dirty"):
        stage.progress(3, 10)
    assert stage.paused_work == "work"


def test_work_that_would_begin_anew_is_paused_before_it_begins_and_not_after(stage: Stage):
    stage.unsaved_progress(3, 10)
    assert stage.paused_work is None
    with pytest.raises(PausedError):
        stage.unsaved_progress(0, 10)


def test_who_interrupts_is_told_what_happens_next_time(stage: Stage):
    stage.interrupted = True
    with pytest.raises(InterruptedStageError, match=r"interrupted at 3 of 10; it goes on from there next time"):
        stage.progress(3, 10)
    with pytest.raises(InterruptedStageError, match=r"interrupted at 3 of 10; it begins anew next time"):
        stage.unsaved_progress(3, 10)
