"""The plan of a sweep: distinct stages, what is done, what it costs, what sharing saves, what the budget holds."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from overwinter.config import Project, find_project
from overwinter.config.groups.sweep import SweepSettings
from overwinter.errors import ConfigError
from overwinter.ledger import ExecutionRecord
from overwinter.pipeline.identity import declared_work, likeness
from overwinter.sweep import planning
from overwinter.sweep.expanding import Expansion
from overwinter.sweep.planning import plan_sweep
from overwinter.sweep.points import make_points

JOBS = tuple(
    (f"quantize={choice}", f"sparsify.amount={amount}") for choice in ("none", "int8_dynamic") for amount in (0.5, 0.7)
)
COST_J = {"train": 100.0, "sparsify": 50.0, "quantize": 5.0, "evaluate": 10.0}


@pytest.fixture(scope="module")
def project():
    return find_project()


@pytest.fixture(scope="module")
def points(project):
    return make_points(project, JOBS, until="evaluate")


def _record(point, stage, **values):
    usual = {"id": f"{point.name}-{stage}", "stage": stage, "configuration_key": f"{point.keys[stage]}-c"}
    usual |= {"prefix_key": point.keys[stage], "status": "done", "host": "here", "run_id": "run"}
    usual |= {"workload": likeness(point.config, stage), "work": declared_work(point.config, stage)}
    usual |= {"energy_j": COST_J[stage], "duration_s": COST_J[stage] / 10, "inputs": {}}
    usual |= {"started_utc": datetime(2026, 7, 1, tzinfo=UTC)}
    usual |= {"resumed_j": 0.0, "resumed_carbon_g": 0.0, "resumed_duration_s": 0.0}
    return ExecutionRecord(**{**dict.fromkeys(ExecutionRecord.__dataclass_fields__), **usual, **values})


class _Ledger:
    """A ledger with the records of a test."""

    def __init__(self, records):
        self._records = records

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        return None

    def reap(self):
        return []

    def executions(self):
        return self._records


@pytest.fixture
def plan(project: Project, monkeypatch):
    def made(records=(), jobs=JOBS, **settings):
        monkeypatch.setattr(planning.Ledger, "open", lambda _path: _Ledger(list(records)))
        expansion = Expansion(jobs=jobs, settings=SweepSettings(**settings), drawn=False)
        return plan_sweep(project, expansion, ["quantize=none,int8_dynamic", "sparsify.amount=0.5,0.7"])

    return made


def test_without_history_it_counts_and_says_what_is_not_known(plan):
    made = plan()
    counts = {stage.name: (stage.points, stage.distinct, stage.done, stage.runs) for stage in made.stages}
    assert counts == {
        "train": (4, 1, 0, 1),
        "sparsify": (4, 2, 0, 2),
        "quantize": (4, 4, 0, 4),
        "evaluate": (4, 4, 0, 4),
    }
    assert (made.points, made.jobs, made.cost.unknown, made.cost.energy_j.high) == (4, 4, 11, 0.0)
    assert made.budget is None


def test_what_is_done_is_restored_and_what_is_shared_is_paid_once(plan, points):
    made = plan([_record(points[0], stage) for stage in COST_J])
    assert [stage.done for stage in made.stages] == [1, 1, 1, 1]
    shared = 3 * COST_J["train"] + 2 * COST_J["sparsify"]
    assert made.shared.energy_j.expected == pytest.approx(shared, rel=0.3)
    assert made.restored.energy_j.expected == pytest.approx(sum(COST_J.values()), rel=0.3)
    assert made.stages[0].cost.energy_j.high == 0.0
    assert made.cost.energy_j.low < made.cost.energy_j.expected < made.cost.energy_j.high


def test_equal_jobs_are_one_point(plan):
    made = plan(jobs=(*JOBS, *JOBS))
    assert (made.jobs, made.points, made.stages[0].distinct) == (8, 4, 1)


@pytest.mark.parametrize(("budget", "fitting"), [("10 kJ", 4), ("29 J", 0), ("50 J", 2)])
def test_the_budget_is_judged_on_what_remains_and_says_how_many_points_it_holds(plan, points, budget, fitting):
    # Trained and sparsified with both amounts: each point still has to be quantized and evaluated.
    records = [_record(points[0], stage) for stage in ("train", "sparsify")]
    records.append(_record(points[1], "sparsify"))
    records += [_record(points[0], stage, prefix_key="other", run_id="mine/1") for stage in ("quantize", "evaluate")]
    made = plan(records, budget=budget, name="mine").budget
    assert made is not None
    assert made.spent_j == 15.0
    assert (made.points, made.holds) == (fitting, fitting == 4)
    assert ("Raise the budget" in made.message) is not made.holds


def test_a_wrong_budget_is_refused_before_anything_is_composed(plan):
    with pytest.raises(ConfigError, match="budget"):
        plan(budget="20 apples")


def test_a_last_stage_that_does_not_exist_is_refused(plan):
    with pytest.raises(ConfigError, match="no such stage"):
        plan(until="hibernat")


def test_a_pipeline_that_ends_earlier_is_planned_to_its_end(plan):
    assert [stage.name for stage in plan(until="sparsify").stages] == ["train", "sparsify"]
