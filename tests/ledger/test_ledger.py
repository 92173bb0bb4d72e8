"""The entry point: filters, spending, and executions whose process is gone."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from overwinter.errors import OverwinterError
from overwinter.ledger import Filter, Ledger, Spent, ledger_path
from overwinter.ledger import ledger as module
from overwinter.ledger.process import ProcessIdentity, this_process
from overwinter.records import to_json

EIGHT_WRITERS = """
import sys
from pathlib import Path
from overwinter.ledger import Ledger

with Ledger.open(Path(sys.argv[1])) as ledger:
    for number in range(5):
        execution = ledger.begin(stage=f"stage{number}", run_id=sys.argv[2], configuration_key="k")
        for beat in range(20):
            execution.heartbeat(energy_j=float(beat + 1), done=beat, total=20)
        execution.finish(status="done", exit_code=0)
"""


def as_process(monkeypatch: pytest.MonkeyPatch, **changes: object) -> None:
    """Let the next execution begin in another process."""
    identity = ProcessIdentity(**{**this_process().to_row(), **changes})  # type: ignore[arg-type]
    monkeypatch.setattr(module, "this_process", lambda: identity)


def test_a_ledger_that_is_not_there_is_empty_and_asking_does_not_make_it(ledger: Ledger, path: Path):
    assert ledger.executions() == []
    assert ledger.reap() == []
    assert ledger.spent(run_id="r") == Spent()
    assert not path.parent.exists()


def test_every_filter_finds_its_own(ledger: Ledger, begin):
    begin(ledger, stage="train", run_id="aaaa", experiment="blue", configuration_key="k1").finish(
        status="done", exit_code=0
    )
    begin(ledger, stage="quantize", run_id="aabb", configuration_key="k2").finish(status="failed", exit_code=1)
    begin(ledger, stage="quantize", run_id="bbbb", configuration_key="k2")

    def found(**which: object) -> list[str]:
        return [each.run_id for each in ledger.executions(Filter(**which))]  # type: ignore[arg-type]

    assert found() == ["aaaa", "aabb", "bbbb"]
    assert found(stage="quantize") == ["aabb", "bbbb"]
    assert found(stage="quantize", status="running") == ["bbbb"]
    assert found(run_id="aabb") == ["aabb"]
    assert found(run_id="aa") == []
    assert found(experiment="blue") == ["aaaa"]
    assert found(configuration_key="k2") == ["aabb", "bbbb"]
    assert found(since_utc=datetime.now(UTC) - timedelta(minutes=1)) == ["aaaa", "aabb", "bbbb"]
    assert found(since_utc=datetime.now(UTC) + timedelta(minutes=1)) == []
    assert found(stage="'; DROP TABLE executions; --") == []


def test_a_resumed_stage_carries_what_it_spent_before(ledger: Ledger, begin):
    first = begin(ledger, run_id="monday")
    first.heartbeat(energy_j=100.0, carbon_g=2.0)
    first.finish(status="refused", exit_code=3)
    earlier = ledger.earlier(stage="train", configuration_key="key-1")
    assert (earlier.energy_j, earlier.carbon_g, earlier.executions) == (100.0, 2.0, (first.id,))

    second = begin(ledger, run_id="tuesday", resumed=earlier)
    assert ledger.spent(run_id="tuesday").energy_j == 100.0
    second.heartbeat(energy_j=30.0)
    second.finish(status="done", exit_code=0)
    assert ledger.spent(run_id="tuesday").energy_j == 130.0
    assert ledger.spent(run_id="tuesday", stage="quantize").energy_j == 0.0
    assert ledger.earlier(stage="train", configuration_key="key-1") == Spent()
    assert ledger.executions()[1].resumed_from == first.id


def test_resuming_within_a_run_counts_once(ledger: Ledger, begin):
    first = begin(ledger)
    first.heartbeat(energy_j=100.0)
    first.finish(status="interrupted", exit_code=130)
    begin(ledger, resumed=ledger.earlier(stage="train", configuration_key="key-1")).heartbeat(energy_j=1.0)
    assert ledger.spent(run_id="run-1").energy_j == 101.0


def test_an_execution_whose_process_is_gone_is_closed_as_killed(ledger: Ledger, begin, monkeypatch):
    with monkeypatch.context() as patched:
        as_process(patched, process_start=1)  # our pid, long ago
        gone = begin(ledger)
    gone.heartbeat(energy_j=10.0, uncertainty_j=2.0)
    power_w = ledger.executions()[0].power_w
    living = begin(ledger, stage="sparsify")
    (closed,) = ledger.reap()
    assert closed.id == gone.id
    killed, running = ledger.executions()
    assert (killed.status, killed.energy_j) == ("killed", 10.0)
    assert killed.uncertainty_j == pytest.approx(2.0 + power_w * 1.0)
    assert killed.ended_utc == killed.heartbeat_utc
    assert (running.id, running.status) == (living.id, "running")
    assert ledger.reap() == []


def test_joules_that_no_heartbeat_reported_stay_unknown(ledger: Ledger, begin, monkeypatch):
    with monkeypatch.context() as patched:
        as_process(patched, process_start=1)
        begin(ledger)
    ledger.reap()
    (killed,) = ledger.executions()
    assert (killed.status, killed.energy_j, killed.uncertainty_j) == ("killed", None, None)
    assert killed.ended_utc == killed.started_utc


def test_another_machine_is_given_time_and_reopens_itself(ledger: Ledger, begin, monkeypatch):
    with monkeypatch.context() as patched:
        as_process(patched, boot_id="another", host="elsewhere")
        far = begin(ledger)
    far.heartbeat(energy_j=1.0)
    assert ledger.reap() == []
    monkeypatch.setattr(module, "_SILENCE", timedelta(0))
    assert [each.id for each in ledger.reap()] == [far.id]
    far.heartbeat(energy_j=2.0)  # it was only stopped
    (record,) = ledger.executions()
    assert (record.status, record.energy_j, record.ended_utc, record.message) == ("running", 2.0, None, None)


def test_a_heartbeat_between_the_look_and_the_end_saves_the_execution(ledger: Ledger, begin):
    execution = begin(ledger)
    (seen,) = ledger.executions()
    execution.heartbeat(energy_j=1.0)
    assert ledger._close_as_killed(seen) is False
    assert ledger.executions()[0].status == "running"


def test_eight_processes_write_at_once(ledger: Ledger, path: Path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", EIGHT_WRITERS, str(path)]
    writers = [
        subprocess.Popen([*command, f"run-{number}"], env=environment, stderr=subprocess.PIPE) for number in range(8)
    ]
    for writer in writers:
        assert writer.communicate(timeout=60)[1] == b""
        assert writer.returncode == 0
    records = ledger.executions()
    assert len(records) == 8 * 5
    assert {(each.status, each.energy_j, each.heartbeats) for each in records} == {("done", 20.0, 20)}
    assert {each.run_id for each in records} == {f"run-{number}" for number in range(8)}


def test_a_ledger_that_cannot_be_read_is_reported_to_the_user_and_stops_no_stage(path: Path, messages):
    path.mkdir(parents=True)  # a folder in its place
    with Ledger.open(path, log=messages) as ledger:
        with pytest.raises(OverwinterError, match="cannot be read"):
            ledger.executions()
        assert ledger.spent(run_id="r") == Spent()
        assert ledger.reap() == []
    assert len(messages.texts) == 1


def test_trouble_is_reported_on_standard_error_by_default(tmp_path: Path, begin, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "file").touch()
    with Ledger.open(tmp_path / "file" / "ledger.sqlite") as ledger:
        begin(ledger)
    assert capsys.readouterr().err.startswith("WARNING: The ledger")


def test_dvc_tells_the_main_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    assert ledger_path() == tmp_path / ".overwinter" / "ledger.sqlite"


def test_without_dvc_the_project_is_looked_for_upwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("DVC_ROOT", raising=False)
    (tmp_path / "project" / ".dvc").mkdir(parents=True)
    inside = tmp_path / "project" / "a" / "b"
    inside.mkdir(parents=True)
    monkeypatch.chdir(inside)
    assert ledger_path() == tmp_path / "project" / ".overwinter" / "ledger.sqlite"
    assert ledger_path(inside) == ledger_path()


def test_a_temporary_copy_of_the_project_keeps_the_main_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    copy = tmp_path / ".dvc" / "tmp" / "exps" / "copy"
    (copy / ".dvc").mkdir(parents=True)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    assert ledger_path(copy) == tmp_path / ".overwinter" / "ledger.sqlite"


def test_documents_are_read_only_when_asked_for(ledger: Ledger, begin, energy):
    begin(ledger).finish(status="done", exit_code=0, energy=energy(energy_j=1.0), metrics={"accuracy": 0.9})
    (short,), (full,) = ledger.executions(), ledger.executions(documents=True)
    assert (short.energy, short.metrics, short.energy_j) == (None, None, 1.0)
    assert (full.energy, full.metrics) == (to_json(energy(energy_j=1.0)), {"accuracy": 0.9})
