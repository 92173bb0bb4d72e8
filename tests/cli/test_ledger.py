"""`overwinter ledger`: lists, filters, sums, exports."""

from __future__ import annotations

import csv
import io
import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from overwinter.cli import main
from overwinter.ledger import Ledger, Origin
from tests.support.energy_records import energy_record


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in which train was killed and resumed, and quantize done twice with another result."""
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    with Ledger.open(tmp_path / ".overwinter" / "ledger.sqlite") as ledger:
        run(ledger, "train", "run-1", status="interrupted", joules=400.0)
        resumed = ledger.earlier(stage="train", configuration_key="train")
        run(ledger, "train", "run-2", joules=600.0, resumed=resumed, experiment="blue-cat")
        ada = Origin(project="winter", person="Ada Lovelace <ada@example.org>")
        run(ledger, "quantize", "run-2", joules=50.0, artifact="old", origin=ada)
        run(ledger, "quantize", "run-3", joules=60.0, artifact="new")
        run(ledger, "evaluate", "run-3", status="failed", message="NaN\nloss")
    return tmp_path


def run(
    ledger: Ledger,
    stage: str,
    run_id: str,
    *,
    status: str = "done",
    joules: float | None = None,
    artifact: str | None = None,
    message: str | None = None,
    **values,
) -> None:
    execution = ledger.begin(stage=stage, run_id=run_id, configuration_key=stage, **values)
    energy = None
    if joules is not None:
        figures = {"uncertainty_j": joules / 10, "measured_fraction": 0.5, "carbon_g": joules / 1000}
        energy = energy_record(energy_j=joules, **figures)
    code = 0 if status == "done" else 1
    execution.finish(
        status=status,
        exit_code=code,
        energy=energy,
        metrics={"x": 1},
        message=message,
        artifact_digest=artifact,
    )


@pytest.fixture
def message(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def called(*words: str) -> str:
        assert main(["ledger", *words]) == 0
        out, err = capsys.readouterr()
        assert err == ""
        return str(out)

    return called


def test_it_lists_every_execution_and_their_sum(project: Path, message):
    lines = message().splitlines()
    assert len([line for line in lines if line.startswith("20")]) == 5
    assert any("interrupted" in line and "400 J ± 40.0 J" in line for line in lines)
    assert any("evaluate" in line and "unknown" in line and "NaN loss" in line for line in lines)
    assert any(line.startswith("all ") and "1.11 kJ ± 111 J" in line for line in lines)
    assert any(line.startswith("later wasted") and "50.0 J" in line for line in lines)
    assert lines[-1] == "The energy of 1 of them is unknown; the sums leave them out."


def test_output_that_is_no_terminal_is_plain(project: Path, message):
    assert message().isascii() or "─" not in message()
    assert "\x1b" not in message()


@pytest.mark.parametrize("terminal", [False, True])
def test_names_that_a_terminal_would_obey_are_shown_escaped(
    project: Path, message, monkeypatch: pytest.MonkeyPatch, terminal: bool
):
    with Ledger.open(project / ".overwinter" / "ledger.sqlite") as ledger:
        run(ledger, "watch: a\nb\x1b[2J", "run-4", joules=1.0, origin=Origin(project="x\x1b[31my", person=None))
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")
    assert r"watch: a\nb\x1b[2J" in message()
    assert r"x\x1b[31my" in message("--by", "project")


def test_on_a_terminal_it_is_a_table(project: Path, message, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "200")
    assert "───" in message()


@pytest.mark.parametrize(
    ("words", "stages"),
    [
        (("--stage", "quantize"), ["quantize", "quantize"]),
        (("--status", "failed"), ["evaluate"]),
        (("--experiment", "blue-cat"), ["train"]),
        (("--run", "run-3"), ["quantize", "evaluate"]),
        (("--run", "run-", "--stage", "train"), ["train", "train"]),
        (("--since", "1h"), ["train", "train", "quantize", "quantize", "evaluate"]),
        (("--since", "2020-01-01"), ["train", "train", "quantize", "quantize", "evaluate"]),
        (("--since", "2999-01-01T00:00:00+02:00"), []),
        (("--wasted",), ["quantize", "evaluate"]),
        (("--project", "winter"), ["quantize"]),
        (("--person", "LOVELACE"), ["quantize"]),
        (("--person", "charles"), []),
        (("--host", platform.node()), ["train", "train", "quantize", "quantize", "evaluate"]),
        (("--host", "elsewhere"), []),
    ],
)
def test_filters(project: Path, message, words: tuple[str, ...], stages: list[str]):
    assert [each["stage"] for each in json.loads(message("--json", *words))["executions"]] == stages


def test_json_has_everything(project: Path, message):
    document = json.loads(message("--json"))
    first, second = document["executions"][:2]
    assert first["energy"]["energy_j"] == first["energy_j"] == 400.0
    assert first["metrics"] == {"x": 1}
    assert second["resumed_from"] == first["id"]
    assert (second["resumed_j"], first["wasted"]) == (400.0, False)
    assert (first["project"], first["person"], first["host"]) == (None, None, platform.node())
    assert document["executions"][2]["person"] == "Ada Lovelace <ada@example.org>"
    assert document["total"]["energy_j"] == 1110.0
    assert document["wasted"]["energy_j"] == 50.0


def test_csv_has_a_line_for_each(project: Path, message):
    rows = list(csv.DictReader(io.StringIO(message("--csv"))))
    assert [row["stage"] for row in rows] == ["train", "train", "quantize", "quantize", "evaluate"]
    assert [row["energy_j"] for row in rows] == ["400.0", "600.0", "50.0", "60.0", ""]
    assert rows[4]["message"] == "NaN\nloss"
    assert [row["wasted"] for row in rows] == ["False", "False", "True", "False", "True"]


def test_sums_by_stage(project: Path, message):
    sums = {each["name"]: each for each in json.loads(message("--json", "--by", "stage"))["sums"]}
    assert {name: each["energy_j"] for name, each in sums.items()} == {
        "train": 1000.0,
        "quantize": 110.0,
        "evaluate": 0,
    }
    assert sums["evaluate"]["unknown"] == 1
    by_person = {each["name"]: each for each in json.loads(message("--json", "--by", "person"))["sums"]}
    assert by_person["Ada Lovelace <ada@example.org>"]["energy_j"] == 50.0
    assert by_person["(not recorded)"]["energy_j"] == 1060.0
    rows = list(csv.DictReader(io.StringIO(message("--csv", "--by", "status"))))
    assert {row["name"]: row["executions"] for row in rows} == {
        "interrupted": "1",
        "done": "3",
        "failed": "1",
    }
    assert any(line.startswith("train") and "1.00 kJ" in line for line in message("--by", "stage").splitlines())


@pytest.mark.parametrize("by", ["stage", "day", "experiment", "status", "run", "project", "person", "host"])
def test_every_sum_can_be_shown(project: Path, message, by: str):
    assert "all" in message("--by", by)


def test_a_project_without_a_ledger_says_so_and_stays_as_it_is(
    tmp_path: Path, message, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    assert "nothing has run yet" in message()
    assert json.loads(message("--json"))["executions"] == []
    assert message("--csv").startswith("id,stage,")
    assert list(tmp_path.iterdir()) == []


def test_nothing_found_says_so(project: Path, message):
    assert "holds no such execution" in message("--stage", "hibernate")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--since", "yesterday"), "--since 'yesterday' is not a time"),
        (("--since", "5 kJ"), "--since '5 kJ' is not a time"),
        (("--file", "nowhere.sqlite"), "--file nowhere.sqlite does not exist"),
    ],
)
def test_wrong_usage_is_one_clear_message(
    project: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str
):
    assert main(["ledger", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err


def test_it_is_quick_and_loads_no_torch(project: Path):
    code = """import sys; from overwinter.cli import main; main(['ledger'])
assert not {'torch', 'rich', 'hydra', 'omegaconf'} & set(sys.modules)"""
    before_s = time.monotonic()
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert time.monotonic() - before_s < 5.0  # about 0.15 s on an idle machine


def test_joules_to_target_are_a_table(project, message, monkeypatch):
    assert "holds no finished training with a target" in message("--to-target")
    with Ledger.open(project / ".overwinter" / "ledger.sqlite") as ledger:
        for joules, accuracy in ((500.0, 0.92), (200.0, 0.913)):
            execution = ledger.begin(stage="train", run_id="run-4", configuration_key="train")
            metrics = {"accuracy": accuracy, "epochs": 3, "to": {"accuracy": 0.91}, "reached": True}
            execution.finish(status="done", exit_code=0, energy=energy_record(energy_j=joules), metrics=metrics)
    table = message("--to-target")
    assert table.index("0.913") < table.index("0.92 ")
    assert "accuracy 0.91" in table
    rows = json.loads(message("--to-target", "--json"))["to_target"]
    assert [row["energy_j"] for row in rows] == [200.0, 500.0]
