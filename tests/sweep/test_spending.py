"""A sweep's own budget."""

import pytest

from overwinter.errors import ConfigError
from overwinter.ledger import Ledger, ledger_path
from overwinter.sweep.costs import Costs
from overwinter.sweep.spending import Spending, read_budget_j


@pytest.fixture
def ran(project):
    """Record executions of runs with the joules that they have spent so far."""

    def record(**joules):
        with Ledger.open(ledger_path(project.root)) as ledger:
            for run, energy_j in joules.items():
                execution = ledger.begin(stage="train", run_id=f"{run[:-1]}/{run[-1]}", configuration_key=run)
                execution.heartbeat(
                    energy_j=energy_j,
                    uncertainty_j=0.0,
                    measured_fraction=0.0,
                    idle_j=None,
                    carbon_g=0.0,
                    cost=None,
                    currency=None,
                )
                execution.finish(status="failed", exit_code=1)

    return record


@pytest.fixture
def expects(monkeypatch):
    """Let every point be expected to cost the same."""
    monkeypatch.setattr(Spending, "expected_j", lambda self, point, finished, records=None: 10.0)


def test_all_runs_of_this_sweep_count_and_no_others(project, ran):
    ran(mine1=3.0, mine2=4.0, other1=100.0, minelike1=100.0)
    assert Spending(project, "mine/", None).spent_j() == {"mine/1": 3.0, "mine/2": 4.0}


def test_a_point_may_start_if_what_is_spent_and_expected_fits(project, ran, point, expects):
    ran(mine1=5.0)
    assert Spending(project, "mine/", 15.0).refusal(point("1", train="a"), (), {}) is None
    refusal = Spending(project, "mine/", 14.9).refusal(point("1", train="a"), (), {})
    assert "14.9 J does not hold this point: 5.00 J spent, 10.0 J more expected" in refusal


def test_running_points_count_with_what_they_are_expected_to_cost(project, ran, point, expects):
    ran(mine1=5.0)
    running = {"mine/1": 8.0, "mine/2": 8.0}
    assert Spending(project, "mine/", 26.0).refusal(point("1", train="a"), (), running) is None
    assert Spending(project, "mine/", 25.9).refusal(point("1", train="a"), (), running) is not None


def test_more_than_the_budget_is_noticed(project, ran):
    ran(mine1=5.0)
    assert Spending(project, "mine/", 4.9).exceeded()
    assert not Spending(project, "mine/", 5.0).exceeded()
    assert not Spending(project, "mine/", None).exceeded()


def test_a_budget_is_an_amount_of_energy():
    assert read_budget_j("20 kJ") == 20e3
    assert read_budget_j(None) is None
    for text in ("20", "20 g", "0 J", "-1 J"):
        with pytest.raises(ConfigError, match=r"hydra\.launcher\.budget"):
            read_budget_j(text)


def test_cheap_points_start_first_if_there_is_a_budget(project, point, monkeypatch):
    points = [point("1", train="long"), point("2", train="short")]
    cost_j = {"train=long": 90.0, "train=short": 10.0}
    monkeypatch.setattr(Costs, "by_key", lambda self, points: cost_j)
    assert Spending(project, "mine/", None).order(points) == [0, 1]
    assert Spending(project, "mine/", 50.0).order(points) == [1, 0]


def test_what_another_sweep_finished_costs_nothing(project, point, monkeypatch):
    with Ledger.open(ledger_path(project.root)) as ledger:
        ledger.begin(stage="train", run_id="other/1", configuration_key="k", prefix_key="train=a").finish(
            status="done", exit_code=0
        )
    monkeypatch.setattr(Costs, "expected_j", lambda self, point, stage: 10.0)
    spending = Spending(project, "mine/", 50.0)
    assert spending.expected_j(point("1", train="a", quantize="x"), ()) == 10.0
    assert spending.expected_j(point("2", train="b", quantize="x"), ()) == 20.0
