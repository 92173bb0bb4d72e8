"""Which executions of a ledger the page calls the latest run."""

from __future__ import annotations

from pathlib import Path

from overwinter.ledger import COMMAND_PREFIX, WATCH_PREFIX, Kept, Ledger
from overwinter.report.page.accounts import latest_run, ledger_figures
from tests.support.energy_records import energy_record


def test_a_script_or_a_command_after_the_run_is_in_the_sums_and_not_the_latest_run(tmp_path: Path):
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        for stage, run_id in (
            ("train", "a"),
            ("evaluate", "a"),
            (f"{WATCH_PREFIX}fit", "b"),
            (f"{COMMAND_PREFIX}ls", "c"),
        ):
            execution = ledger.begin(stage=stage, run_id=run_id, configuration_key=stage)
            execution.finish(status="done", exit_code=0, energy=energy_record(stage=stage))
        records = ledger.executions()
    assert [record.stage for record in latest_run(records)] == ["train", "evaluate"]
    figures = ledger_figures(records, Kept())
    assert figures is not None
    assert figures.total.executions == 3  # the command has a sum of its own
    assert figures.wasted.executions == 0
