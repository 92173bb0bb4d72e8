"""The benchmark of two ranks beside one process: what it makes of losses, weights and joules."""

import pytest
import torch


@pytest.fixture
def program(load_benchmark):
    return load_benchmark("distributed")


def test_losses_are_compared_step_by_step(program):
    found = program.compare([1.0, 0.9, 0.5, 0.5], [1.0, 0.9 + 1e-6, 0.6, 0.5])
    assert found == {"max_difference": pytest.approx(0.1), "steps_within": 2, "last": 0.5}
    assert program.compare([1.0], [1.0])["steps_within"] == 1
    with pytest.raises(ValueError, match="longer"):
        program.compare([1.0], [1.0, 2.0])


def test_runs_are_compared_with_the_first_and_with_what_was_seen_from_outside(program):
    def run(counted_j, *, weight=1.0, killed_at=None):
        restarts = int(killed_at is not None)
        weights = {"layer.weight": torch.tensor([weight, 2.0])}
        return program.Run(weights=weights, counted_j=counted_j, outside_j=10.0, killed_at=killed_at, restarts=restarts)

    found = program.summarize([run(9.9), run(10.3), run(9.8, killed_at=7), run(10.0, weight=1.5, killed_at=9)])
    assert (found["kills"], found["restarts"], found["same_weights"]) == (2, 2, 1)
    assert found["weights_max_difference"] == 0.5
    assert found["energy_error"] == {"median": pytest.approx(0.015), "worst": pytest.approx(0.03)}
    assert [each["killed_at"] for each in found["runs"]] == [None, None, 7, 9]


def test_a_disturbed_sweep_is_a_row(load_benchmark):
    killed = {
        "disturbances": [{"kind": "scancel"}, {"kind": "node down"}, {"kind": "scancel"}],
        "timeouts": 4,
        "resumed": 2,
        "executed_twice": 0,
    }
    ((what, value, target),) = load_benchmark("figure_rows_distributed").kill_rows(killed, "2; 6; 12")
    assert "(scancel 2, node down 1, time limit 4)" in what
    assert (value, target) == ("2; 6; 12; 2 from a checkpoint, 0 twice", "2; 6; 12")


def test_the_pages_rows_name_both_precisions(load_benchmark):
    rows = load_benchmark("figure_rows_distributed")
    compared = {"max_difference": 3.4e-7, "steps_within": 100, "last": 0.6}
    found = {
        "losses": {
            "steps": 100,
            "tolerance": 1e-5,
            "float32_from_float64": compared,
            **{kind: dict.fromkeys(("float32", "float64"), compared) for kind in ("ddp", "fsdp")},
        },
        "kills": 2,
        "same_weights": 2,
        "energy_error": {"median": 0.007, "worst": 0.0123},
        "runs": [{}] * 5,
    }
    rows.result = {"distributed": found}.get
    values = [value for _, value, _ in rows.distributed_rows()]
    assert values == ["3.4e-07 (within for 100 steps)"] * 5 + ["2 of 2", "0.70%, 1.23%"]
