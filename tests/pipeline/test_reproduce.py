"""What is known of a `dvc repro` from the events of its stages."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from overwinter.pipeline import reproduce
from overwinter.pipeline.reproduce import Reproduction, RunningDvc


def test_a_stage_whose_finished_result_was_kept_has_not_run():
    outcome = Reproduction(run_id="1", log=Path("log"))
    for kind, stage in [("start", "check"), ("start", "train"), ("restored", "train"), ("start", "gate-train")]:
        reproduce._note({"event": kind, "stage": stage}, outcome, [])
    assert outcome.ran == ["check", "gate-train"]


def concluded(tmp_path, *lines, dvc_code=255):
    log = tmp_path / "log"
    log.write_text("\n".join(lines))
    outcome = Reproduction(run_id="1", log=log)
    reproduce._conclude(outcome, dvc_code, [])
    return outcome


def error(code):
    return f"ERROR: failed to reproduce 'train': failed to run: python stages/train.py, exited with {code}"


def test_a_program_that_ends_before_it_can_report_has_failed_with_its_last_line(tmp_path):
    outcome = concluded(tmp_path, "Running stage 'train':", "> python stages/train.py", "broken by an edit", error(1))
    assert (outcome.exit_code, outcome.failed) == (1, "train")
    assert outcome.message == f"train: exited with 1: broken by an edit\nSee {tmp_path / 'log'}."


def test_a_program_that_ends_in_silence_is_named_with_its_log(tmp_path):
    outcome = concluded(tmp_path, "Running stage 'train':", "> python stages/train.py", error(7))
    assert outcome.failed == "train"
    assert outcome.message == f"train: exited with 7 without a word.\nSee {tmp_path / 'log'}."


@pytest.mark.parametrize("code", [-9, 137])
def test_a_program_that_was_killed_has_not_failed_by_itself(tmp_path, code):
    outcome = concluded(tmp_path, "> python stages/train.py", error(code))
    assert (outcome.exit_code, outcome.failed) == (1, None)
    assert outcome.message == error(code)


def test_an_interrupt_while_no_stage_runs_says_that_finished_ones_are_kept(tmp_path):
    project = SimpleNamespace(root=tmp_path)
    running = RunningDvc(project, run_id="1", log=tmp_path / "log")
    running.interrupt()
    outcome = running.outcome()
    assert outcome.exit_code == 130
    assert "Finished stages are kept" in outcome.message
