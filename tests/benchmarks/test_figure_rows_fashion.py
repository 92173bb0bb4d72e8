"""Rows of figures, from results that the programs make of made-up measurements; each has its target."""

import json

import pytest

SEEDS = ("0", "1", "2")


@pytest.fixture
def rows_of(load_benchmark, monkeypatch, tmp_path):
    """Write a program's result, and return what a function of figure_rows_fashion makes of it: quantity -> cells."""
    rows = load_benchmark("figure_rows_fashion")
    monkeypatch.setattr("figure_rows.RESULTS", tmp_path)

    def rows_of(function, program, measured, **more):
        made = load_benchmark(program).summary(measured)
        (tmp_path / f"{program}.json").write_text(json.dumps(more | made))
        return {what: (value, target) for what, value, target in getattr(rows, function)()}

    return rows_of


def test_without_a_result_there_is_no_row(load_benchmark, monkeypatch, tmp_path):
    rows = load_benchmark("figure_rows_fashion")
    monkeypatch.setattr("figure_rows.RESULTS", tmp_path)
    assert [*rows._lever_rows(), *rows._structured_rows(), *rows.sparse_fashion_rows()] == []


def test_levers_are_over_the_plain_script_and_the_last_has_both_targets(rows_of):
    def seeds(*costs_s, accuracy=0.915, reached=True):
        each = {"accuracy_test": accuracy, "reached": reached}
        return {seed: each | {"cpu_s": cost_s} for seed, cost_s in zip(SEEDS, costs_s, strict=True)}

    measured = {
        "plain script": seeds(400.0, 500.0, 900.0, accuracy=0.899, reached=False),
        "+ bf16": seeds(150.0, 100.0, 90.0),
        "+ whitened first convolution, frozen": seeds(25.0, 30.0, 20.0),
    }
    rows = rows_of("_lever_rows", "training", measured, target=0.92)
    what = "Fashion-MNIST, CPU time to 92% on validation over a plain script's: "
    assert rows[f"{what}+ bf16"] == ("0.200 (test 91.5%, 91.5%, 91.5%)", "")
    assert rows[f"{what}+ whitened first convolution, frozen"] == (
        "0.050 (test 91.5%, 91.5%, 91.5%)",
        "0.12, then 0.06",
    )
    assert rows[f"{what}plain script"][0].endswith("not always reached)")


def test_a_lever_waits_for_the_plain_script(rows_of):
    measured = {"+ bf16": {"0": {"cpu_s": 1.0, "accuracy_test": 0.9, "reached": True}}}
    assert rows_of("_lever_rows", "training", measured, target=0.92) == {}


def test_channels_have_the_points_the_operations_and_the_time_that_were_asked_for(rows_of):
    def fits(change):
        def fit(accuracy, flops, cpu_s, response_s):
            times = {"onnxruntime": response_s, "torch": 2 * response_s}
            return {"accuracy": accuracy, "flops_per_sample": flops, "fit_cpu_s": cpu_s, "cpu_s_per_response": times}

        return {
            "dense": fit(0.92, 300, 100.0, 3.0),
            "shrunk": fit(0.917 + change, 135, 70.0, 1.5),
            "pruned": fit(0.914 + change, 100, 50.0, 1.2),
        }

    rows = rows_of("_structured_rows", "structured", dict(zip(SEEDS, map(fits, (-0.001, 0.0, 0.001)), strict=True)))
    shrunk, pruned = (f"Fashion-MNIST, channels removed {how}" for how in ("while training", "from the trained model"))
    assert rows[f"{shrunk}: points lost"] == ("+0.30 (+0.05 to +0.55)", "0.5")
    assert rows[f"{pruned}: points lost"] == ("+0.60 (+0.35 to +0.85)", "1")
    assert rows[f"{pruned}: operations over dense's"] == ("0.33", "0.34")
    assert rows[f"{pruned}: times less CPU time per response, batch 128"] == ("onnxruntime 2.50, torch 2.50", "2.2")
    assert rows[f"{shrunk}: CPU time of training over dense's"] == ("0.70", "0.75")


def test_weights_removed_have_the_points_and_the_bytes_that_were_asked_for(rows_of):
    def seeds(accuracy, size, **more):
        each = {"size_bytes": size, "sparsity": 0.8, **more}
        return {seed: each | {"accuracy": accuracy + place / 1000} for place, seed in enumerate(SEEDS)}

    measured = {
        "dense": seeds(0.920, 1000),
        "sparse_80": seeds(0.917, 250),
        "sparse_80_int8": seeds(0.916, 90),
        "rigl_90": seeds(0.912, 160, flops=30.0, flops_dense=100.0),
    }
    rows = rows_of("sparse_fashion_rows", "sparsity_fashion", measured)
    lost = {what.partition(", ")[2].partition(":")[0]: cells for what, cells in rows.items() if "points lost" in what}
    assert [target for _, target in lost.values()] == ["0.5", "0.7", "1"]
    assert [value.partition(" ")[0] for value, _ in lost.values()] == ["+0.30", "+0.40", "+0.80"]
    assert rows["Fashion-MNIST, the same in int8: the weights' file over dense's"] == ("0.090", "0.10")
    (operations,) = (cells for what, cells in rows.items() if "operations in training" in what)
    assert operations == ("0.30", "below 1")
