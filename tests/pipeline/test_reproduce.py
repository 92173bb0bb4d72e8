"""What is known of a `dvc repro` from the events of its stages."""

from pathlib import Path

from overwinter.pipeline import reproduce
from overwinter.pipeline.reproduce import Reproduction


def test_a_stage_whose_finished_result_was_kept_has_not_run():
    outcome = Reproduction(run_id="1", log=Path("log"))
    for kind, stage in [("start", "check"), ("start", "train"), ("restored", "train"), ("start", "gate-train")]:
        reproduce._note({"event": kind, "stage": stage}, outcome, [])
    assert outcome.ran == ["check", "gate-train"]
