"""The report of ledgers: every execution counts once, in its group and period, and the sums are those of the ledger."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from overwinter.cli import main
from overwinter.errors import ConfigError
from overwinter.ledger import Ledger, Origin
from overwinter.ledger.execution import insert
from overwinter.ledger.merging import read_executions
from overwinter.ledger.schema import to_row
from overwinter.report.page.ledger_report import group_keys, report_ledgers
from overwinter.report.page.rendering import amount, render_ledger
from tests.support.energy_records import energy_record

KWH = 3.6e6


def _spend(path, when, stage, joules, *, person="Ada", status="done", measured=1.0, artifact="it"):
    """Record an execution that began at a time."""
    with Ledger.open(path) as ledger:
        execution = ledger.begin(
            stage=stage, run_id="r", configuration_key=stage, origin=Origin(project="winter", person=person)
        )
        energy = energy_record(energy_j=joules, measured_fraction=measured, carbon_g=joules / KWH * 400)
        energy = replace(energy, cost=joules / KWH * 0.3, currency="EUR")
        code = 0 if status == "done" else 1
        execution.finish(
            status=status, exit_code=code, energy=energy, metrics=None, message=None, artifact_digest=artifact
        )
        record = next(each for each in read_executions(path) if each.id == execution.id)
        moved = vars(replace(record, started_utc=datetime.fromisoformat(when).replace(tzinfo=UTC)))
        ledger._database.write(lambda db: insert(db, [to_row(moved)]), busy_timeout_s=5.0, durable=False)


@pytest.fixture
def path(tmp_path):
    """Three months of two people, a failure, a server, a measured command and a watched script, outside any project."""
    path = tmp_path / "all.sqlite"
    _spend(path, "2026-09-30T23:59:59", "train", 9 * KWH)
    _spend(path, "2026-10-01T00:00:00", "train", 2 * KWH, measured=0.5, artifact="a")
    _spend(path, "2026-10-20", "train", 1 * KWH, status="failed", artifact=None)
    _spend(path, "2026-10-31T23:59:59", "evaluate", 1 * KWH, person="Grace")
    _spend(path, "2026-11-01", "measure: serve-mine", 3 * KWH)
    _spend(path, "2026-11-02", "measure: make", 4 * KWH, person=None)
    _spend(path, "2026-11-03", "watch: fit", 5 * KWH)
    return path


def test_a_period_has_its_first_moment_and_not_its_last(path):
    october = report_ledgers(
        [path], by=(), since=datetime(2026, 10, 1, tzinfo=UTC), until=datetime(2026, 11, 1, tzinfo=UTC)
    )
    assert (october.total.executions, october.total.energy_kwh) == (3, pytest.approx(4.0))
    assert (october.since, october.until) == ("2026-10-01", "2026-11-01")
    assert october.total.carbon_kg == pytest.approx(1.6)
    assert october.total.cost == {"EUR": pytest.approx(1.2)}
    assert october.total.measured_share == pytest.approx(0.75)


def test_groups_add_up_to_the_total(path):
    report = report_ledgers([path], by=("project", "person", "month"))
    assert report.groups[0].keys == ("winter", "Ada", "2026-09")
    for figure in (
        "executions",
        "energy_kwh",
        "carbon_kg",
        "pipeline_kwh",
        "wasted_kwh",
        "served_kwh",
        "commands_kwh",
        "scripts_kwh",
    ):
        assert sum(getattr(each, figure) for each in report.groups) == pytest.approx(getattr(report.total, figure))


def test_waste_servers_and_commands_stand_apart(path):
    total = report_ledgers([path], by=()).total
    assert total.pipeline_kwh == pytest.approx(13.0)
    assert total.wasted_kwh == pytest.approx(10.0)  # replaced in October, and failed
    assert (total.served_kwh, total.commands_kwh) == (pytest.approx(3.0), pytest.approx(4.0))
    assert total.scripts_kwh == pytest.approx(5.0)
    parts_kwh = total.pipeline_kwh + total.served_kwh + total.commands_kwh + total.scripts_kwh
    assert parts_kwh == pytest.approx(total.energy_kwh)


def test_an_execution_in_two_ledgers_counts_once(path, tmp_path):
    copy = tmp_path / "copy.sqlite"
    copy.write_bytes(path.read_bytes())
    assert report_ledgers([path, copy], by=()).total == report_ledgers([path], by=()).total


def test_an_unknown_key_is_refused_with_the_nearest():
    assert group_keys("project, month") == ("project", "month")
    with pytest.raises(ConfigError, match="Did you mean 'month'"):
        group_keys("project,mont")


def test_the_command_prints_it_as_table_json_and_page(path, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["report", "--ledger", "--file", str(path), "--by", "person,month", "--until", "2026-11-01"]
    assert main([*words, "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["total"]["energy_kwh"] == pytest.approx(13.0)
    assert main([*words, "-o", "ledger.html"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].split()[:2] == ["person", "month"]
    assert "Grace" in (tmp_path / "ledger.html").read_text()
    page = render_ledger(report_ledgers([path], by=("person", "month")))
    assert f">{amount(25.0)}</data> kWh" in page
    assert "https://" not in page.replace('xmlns="http', "")


@pytest.mark.parametrize("until", ["2026-11-01", "2026-12-01"])
def test_a_period_without_a_moment_is_refused(path, capsys, until):
    words = ["report", "--ledger", "--file", str(path), "--since", "2026-12-01", "--until", until]
    assert main(words) == 2
    said = capsys.readouterr()
    assert (said.out, f"--since 2026-12-01 is not before --until {until}" in said.err) == ("", True)


def test_figures_into_a_file_are_refused_before_anything_is_written(tmp_path, monkeypatch, capsys):
    pytest.importorskip("vl_convert", reason="the extra report is not installed")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "f").write_text("mine")
    assert main(["report", "--figures", "f"]) == 2
    assert "f is a file. Name another folder." in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


def test_ledger_merge_is_a_command(path, tmp_path, capsys):
    assert main(["ledger", "merge", str(path), "--into", str(tmp_path / "more.sqlite")]) == 0
    assert "7 added" in capsys.readouterr().out
    assert main(["ledger", "merge", str(path)]) == 2
    assert "--into" in capsys.readouterr().err


@pytest.mark.parametrize(("value", "text"), [(0.0, "0"), (0.0000552, "0.0000552"), (13.04, "13"), (12345.6, "12 346")])
def test_amounts_have_no_exponent(value, text):
    assert amount(value).replace("\N{NARROW NO-BREAK SPACE}", " ") == text
