"""Adapters are compared with all weights as they fared on validation, and judged once on the test split."""

import pytest


def fit(cpu_s, validation, test, trained=100):
    return {
        "cpu_s": cpu_s,
        "energy_j": 10 * cpu_s,
        "trained_parameters": trained,
        "accuracy_validation": validation,
        "accuracy_test": test,
    }


def test_the_adapters_that_are_compared_are_chosen_by_validation(load_benchmark):
    benchmark = load_benchmark("training_lora")
    rows = {
        benchmark.ALL: {"0": fit(50.0, 0.28, 0.27), "1": fit(70.0, 0.30, 0.29)},
        benchmark.SLOW: {"0": fit(40.0, 0.20, 0.30, trained=10)},
        benchmark.FAST: {"0": fit(42.0, 0.26, 0.25, trained=10), "1": fit(42.0, 0.27, 0.25, trained=10)},
    }
    found = benchmark.summary(rows)
    assert (found["chosen"], found["seeds"]) == (benchmark.FAST, 2)
    assert found["ratios"] == pytest.approx({"cpu_s": 0.7, "energy_j": 0.7, "trained_parameters": 0.1})
    assert found["accuracy_test"] == pytest.approx({benchmark.ALL: 0.28, benchmark.FAST: 0.25})


def test_one_side_alone_is_not_compared(load_benchmark):
    benchmark = load_benchmark("training_lora")
    assert benchmark.summary({benchmark.ALL: {"0": fit(50.0, 0.28, 0.27)}}) == {}


def test_every_fit_is_the_case_but_for_what_the_row_names(load_benchmark):
    pytest.importorskip("transformers", reason="the extra llm is not installed")
    benchmark = load_benchmark("training_lora")
    whole, adapted = (benchmark.settings(row, 3).train for row in (benchmark.ALL, benchmark.SLOW))
    assert whole.low_rank() is None
    assert adapted.low_rank().rank == 16
    assert (whole.epochs, whole.batch_size) == (adapted.epochs, adapted.batch_size) == (1, 32)
    heads = [each.learning_rate * each.optimizer["head_factor"] for each in (whole, adapted)]
    assert heads[0] == pytest.approx(heads[1])
