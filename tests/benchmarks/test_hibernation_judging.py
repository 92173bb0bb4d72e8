"""Evaluation of `learned` on requests that were not used to choose its constants."""

import numpy as np
import pytest

from overwinter.serving.sleep import SleepLevel, SleepLevels


@pytest.fixture
def program(load_benchmark, monkeypatch):
    program = load_benchmark("hibernation_judging")
    monkeypatch.setattr(program, "GRID", program.GRID[:2])
    monkeypatch.setattr(program, "WAKES_S", (1.0, 5.0))
    return program


def levels_for(wake_s):
    off = SleepLevel(name="off", power_w=50.0, wake_s=wake_s, wake_j=100 * wake_s)
    return SleepLevels([SleepLevel(name="parked", power_w=100.0), off])


def test_the_constants_that_do_best_on_the_others_judge_the_trace_left_out(program, monkeypatch):
    first, second = program.GRID
    best = {"a": first, "b": second, "c": second}  # per recorded trace, distinguished by their first gap
    recorded = {name: np.array([0.0, 1.0 + place]) for place, name in enumerate(best)}

    def ratios(arrivals_s, constants, levels_for):
        name = "abc"[int(arrivals_s[1]) - 1]
        return [1.0 if constants == best[name] else 1.1] * 2

    monkeypatch.setattr(program, "_ratios", ratios)
    monkeypatch.setattr(program, "choosing_traces", lambda: iter(()))
    monkeypatch.setattr(program, "judging_traces", dict)
    report = program.judge(recorded, levels_for)
    assert [trace["constants"] for trace in report["recorded"]] == [second, first, first]
    assert report["constants"] == second
    assert report["recorded_worst"] == {"1": 1.1, "5": 1.1}
    assert not report["met"]


def test_a_family_tells_chance_from_the_policy(program):
    clockwork = [lambda random: np.full(200, 3.0)]
    family = program._judge_family(clockwork, program.GRID[0], levels_for)
    assert family["knowing_the_law_worst"] == {"1": 1.0, "5": 1.0}
    assert 1 < family["worst"]["1"] < 1.02
    assert family["above_limit"] == {"1": 0, "5": 0}


def test_judged_traces_are_of_no_family_that_is_chosen_by_and_the_short_ones_are_short(program):
    chosen = {name.split("_")[0] for name, _ in program.choosing_traces()}
    families = program.judging_traces()
    assert not chosen & set(families)
    for draw in families["short"]:
        assert 20 <= len(draw(np.random.default_rng(0))) <= 201
