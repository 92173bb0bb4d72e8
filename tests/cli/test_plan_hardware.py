"""What `overwinter plan --compare-hardware` prints, and what it refuses."""

from __future__ import annotations

import json

import pytest

from overwinter.cli import main
from overwinter.energy import nvml
from tests.support.two_machines import HERE, THERE


@pytest.fixture
def two(machines, monkeypatch):
    monkeypatch.setattr(nvml, "nvml_status", lambda: (False, "", ""))
    machines.ran(machines.own, joules=100.0)
    machines.ran(machines.other, joules=30.0, host=THERE, device="gpu:0")
    return machines


def test_the_ranking_is_printed(two, capsys):
    words = ["plan", "--compare-hardware", "--ledger", str(two.other), "--hardware", "t4", "--region", "FRA"]
    assert main(words) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line]
    table = [line.split()[0] for line in lines[2:5]]
    assert table.index(THERE) < table.index(HERE)
    assert "100% of its joules measured" in next(line for line in lines if line.startswith(THERE))
    assert "modelled from public figures" in next(line for line in lines if line.startswith("t4"))
    assert f"Regions, for the joules and the time of {THERE}, gpu:" in lines
    assert "FRA: no forecast, so a later start cannot be judged." in lines


def test_as_json_with_another_figure_to_rank_by(two, capsys):
    assert main(["plan", "--compare-hardware", "--ledger", str(two.other), "--json", "--rank-by", "money"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [(each["name"], each["cost"]) for each in document["machines"]] == [(HERE, None), (THERE, None)]
    assert document["machines"][0]["energy_j"]["expected"] == pytest.approx(500)
    assert document["regions"][0]["start_utc"] is None
    assert document["regions_for"] == {"name": HERE, "device": "cpu"}


@pytest.mark.usefixtures("machines")
def test_without_history_it_says_what_is_missing(capsys):
    assert main(["plan", "--compare-hardware"]) == 0
    assert "Regions are compared once" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--ledger", "missing.sqlite"], "missing.sqlite does not exist"),
        (["--hardware", "h900"], "h900"),
        (["--region", "ATL"], "ATL"),
        (["--deadline", "2020-01-01T00:00:00Z"], "--deadline 2020-01-01T00:00:00Z is in the past"),
        (["--deadline", "2020-01-01T00:00:00"], "no time zone"),
        (["--deadline", "soon"], "--deadline='soon'"),
        (["--price", "2EUR"], "names no machine"),
        (["--price", "here=2W"], "--price here"),
        (["--probe", "1"], "--probe"),
        (["-m"], "-m"),
    ],
)
def test_wrong_questions_are_explained(two, capsys, words, message):
    assert main(["plan", "--compare-hardware", *words]) == 2
    assert message in capsys.readouterr().err


def test_options_of_the_comparison_need_it(two, capsys):
    assert main(["plan", "--rank-by", "time"]) == 2
    assert "--rank-by belongs to --compare-hardware" in capsys.readouterr().err
