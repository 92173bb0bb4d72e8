"""Sums: nothing twice, nothing lost, and what was spent without success."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overwinter.ledger import SUM_KEYS, total, total_spent, totals, wasted
from overwinter.ledger.aggregation import unfinished

_energies = st.lists(st.none() | st.floats(0, 1e9), max_size=20)


@given(_energies, st.sampled_from(SUM_KEYS), st.data())
def test_the_groups_sums_are_the_whole(record, energies, by, data):
    stages = st.sampled_from(["train", "sparsify"])
    records = [record(id=str(place), energy_j=each, stage=data.draw(stages)) for place, each in enumerate(energies)]
    groups = totals(records, by)
    assert sum(group.executions for group in groups) == len(records)
    assert sum(group.energy_j for group in groups) == pytest.approx(total("all", records).energy_j)
    assert sum(group.unknown for group in groups) == energies.count(None)


def test_measured_share_is_weighed_by_joules_and_money_kept_by_currency(record):
    records = [
        record(id="a", energy_j=90.0, measured_fraction=1.0, cost=1.0, currency="EUR"),
        record(id="b", energy_j=10.0, measured_fraction=0.0, cost=2.0, currency="USD"),
        record(id="c", energy_j=None, measured_fraction=None),
    ]
    summed = total("all", records)
    assert summed.measured_fraction == pytest.approx(0.9)
    assert summed.cost == {"EUR": 1.0, "USD": 2.0}
    assert summed.unknown == 1


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=8), st.integers(0, 8))
def test_a_chain_of_resumptions_is_counted_once_wherever_a_run_is_cut(record, energies, cut):
    """Each execution resumes all before it; however many belong to this run, all joules count once."""
    chain = [
        record(
            id=str(place),
            energy_j=each,
            resumed_from=str(place - 1) if place else None,
            resumed_j=sum(energies[:place]),
        )
        for place, each in enumerate(energies)
    ]
    this_run = chain[min(cut, len(chain) - 1) :]
    assert total_spent(this_run).energy_j == pytest.approx(sum(energies))


def test_what_is_unfinished_begins_after_the_last_done(record):
    records = [
        record(id="1", status="killed"),
        record(id="2", status="done"),
        record(id="3", status="refused"),
        record(id="4", status="running"),
        record(id="5", status="interrupted"),
    ]
    assert [each.id for each in unfinished(records)] == ["3", "5"]


def test_an_artifact_that_was_replaced_is_wasted(record):
    records = [
        record(id="old", artifact_digest="x"),
        record(id="other stage", stage="sparsify", artifact_digest="x"),
        record(id="other experiment", experiment="blue-cat", artifact_digest="z"),
        record(id="new", artifact_digest="y"),
    ]
    assert [each.id for each in wasted(records)] == ["old"]


def test_an_artifact_made_again_is_kept(record):
    records = [
        record(id="first", artifact_digest="x"),
        record(id="tried", artifact_digest="y"),
        record(id="again", artifact_digest="x"),
    ]
    assert [each.id for each in wasted(records)] == ["tried"]


def test_what_ended_badly_is_wasted_unless_it_was_resumed_to_a_good_end(record):
    records = [
        record(id="lost", status="failed"),
        record(id="first", status="killed"),
        record(id="second", status="refused", resumed_from="first"),
        record(id="end", status="done", resumed_from="second"),
        record(id="vain", status="killed", resumed_from="no one knows"),
        record(id="goes on", status="running", resumed_from="vain"),
    ]
    assert [each.id for each in wasted(records)] == ["lost"]


def test_measured_commands_stand_by_themselves_and_are_never_wasted(record):
    stage = record(stage="train", artifact_digest="a")
    commands = [record(stage="measure: make"), record(stage="measure: make")]
    assert wasted([stage, *commands]) == []
    for by in ("day", "experiment", "status"):
        groups = {each.name: each.executions for each in totals([stage, *commands], by)}
        assert groups.pop("(measured commands)") == 2
        assert list(groups.values()) == [1]
    assert [each.name for each in totals([stage, *commands], "stage")] == ["train", "measure: make"]
