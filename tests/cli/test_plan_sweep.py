"""What `overwinter plan -m` prints, and how it ends."""

from __future__ import annotations

import json

import pytest

from overwinter.budget import Range
from overwinter.cli import main
from overwinter.cli.plan_sweep import describe
from overwinter.sweep.costs import Cost
from overwinter.sweep.planning import StageOfSweep, SweepPlan

GRID = ("quantize=none,int8_dynamic", "sparsify.amount=0.5,0.7")


def test_the_plan_is_printed_as_json(capsys):
    assert main(["plan", "-m", "--json", *GRID, "--until", "hibernate"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["points"], document["jobs"], document["drawn"]) == (4, 4, False)
    assert {stage["name"]: stage["distinct"] for stage in document["stages"]} == {
        "train": 1,
        "sparsify": 2,
        "quantize": 4,
        "evaluate": 4,
        "hibernate": 4,
    }


def test_the_table_counts_points_and_distinct_stages(capsys):
    assert main(["plan", "-m", *GRID]) == 0
    printed = capsys.readouterr().out
    assert "Shared stages run once: 11 executions instead of 16" in " ".join(printed.split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["plan", "-m", "seed=1"], "several values"),
        (["plan", "-m", "seed=1,2", "train.epochs=0"], "train.epochs=0"),
        (["plan", "-m", *GRID, "quantize=none"], "quantize"),
        (["plan", "-m", *GRID, "--probe", "1"], "--probe"),
        (["plan", "-m", *GRID, "--budget", "2 apples"], "apples"),
        (["plan", "-m", *GRID, "--name", "../../x"], "cannot be a sweep's name"),
        (["plan", "-m", "+sweep=tpe", GRID[1], "hydra.sweeper.at_least={foo: 1}"], "a sweep does not know 'foo'"),
        (["plan", "--workers", "2"], "--workers belongs to a sweep"),
    ],
)
def test_a_wrong_sweep_is_explained(capsys, words, message):
    assert main(words) == 2
    assert message in capsys.readouterr().err


def _cost(joules: float, unknown: int = 0) -> Cost:
    range_ = Range(low=joules / 2, expected=joules, high=2 * joules)
    return Cost(energy_j=range_, duration_s=range_, unknown=unknown)


def test_what_is_saved_and_what_is_not_known_is_told():
    stage = StageOfSweep(name="train", points=6, distinct=3, done=1, cost=_cost(20.0))
    shown = SweepPlan(
        name="mine",
        points=6,
        jobs=8,
        drawn=True,
        stages=(stage,),
        cost=_cost(20.0, unknown=1),
        apart=_cost(60.0),
        shared=_cost(30.0),
        restored=_cost(10.0),
        budget=None,
    )
    text = " ".join(describe(shown))
    assert "8 jobs, of which 6 differ" in text
    assert "drawn at random" in text
    assert "3 executions instead of 6, which saves 30.0 J (15.0 J to 60.0 J)" in text
    assert "1 are done and come from DVC's cache, which saves 10.0 J" in text
    assert "1 executions have no forecast" in text
