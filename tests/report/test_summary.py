import io
import json

import pytest
from rich.console import Console

from overwinter.ledger import ExecutionRecord
from overwinter.records import write_record
from overwinter.report import StageSummary, render_summary, summarize
from overwinter.report.summary import describe_sources
from overwinter.tasks import Measure
from tests.support.energy_records import energy_record

ENERGY = {"duration_s": 2.0, "energy_j": 10.0, "uncertainty_j": 4.0, "measured_fraction": 0.0, "carbon_g": 0.001}


def _left(folder, metrics=None, passed=True):
    folder.mkdir(parents=True)
    write_record(folder / "energy.json", energy_record(stage=folder.name, **ENERGY))
    (folder / "metrics.json").write_text(
        json.dumps(metrics or {"headline": "accuracy", "accuracy": 0.5, "size_bytes": 100})
    )
    if passed:
        (folder / "gate.json").write_text("{}")


@pytest.mark.parametrize(
    ("passed", "report", "state"),
    [
        (True, None, "reused"),
        (False, '{"passed": false}', "refused"),
        (False, None, "not judged"),
        (None, None, "missing"),
    ],
)
def test_a_row_says_whether_its_stage_ran_was_reused_refused_or_is_missing(tmp_path, passed, report, state):
    _left(tmp_path / "a")
    if passed is not None:
        _left(tmp_path / "b", passed=passed)
    if report is not None:
        (tmp_path / "b" / "gate_report.json").write_text(report)
    assert [row.state for row in summarize(tmp_path, ["a", "b"], ran={"a"})] == ["run", state]


def test_what_lies_behind_a_stage_that_did_not_pass_is_of_an_earlier_run(tmp_path):
    for name, passed in (("a", False), ("b", True), ("c", True)):
        _left(tmp_path / name, passed=passed)
    rows = summarize(tmp_path, ["a", "b", "c", "d"], ran={"a", "c"})
    assert [row.state for row in rows] == ["not judged", "not reached", "run", "not reached"]
    assert rows[1].energy_j is None


def _evaluated(dense, chosen):
    usual = {
        "headline": "accuracy",
        "name": "dense@torch",
        "size_bytes": 7,
        "latency_p50_s": 0.1,
        "energy_per_response_j": 1.0,
        "energy_per_response_low_j": 0.9,
        "energy_per_response_high_j": 1.1,
        "measured": False,
    }
    both = {"dense": usual | dense, "chosen": usual | chosen}
    return both | {"pays": False, "saving": 0.0, "size_ratio": 1.0, "device": "cpu"}


def test_the_chosen_variant_speaks_for_evaluate(tmp_path):
    _left(tmp_path / "evaluate", metrics=_evaluated({"accuracy": 0.9}, {"accuracy": 0.8}))
    (row,) = summarize(tmp_path, ["evaluate"], ran=(), headline=Measure(name="accuracy"))
    assert row.quality == "accuracy 80.00 %"
    assert row.size_bytes == 7


@pytest.mark.parametrize(("origin", "expected"), [({}, ""), ({"origin": "dequantized Q4_1"}, " (of dequantized Q4_1)")])
def test_a_perplexity_says_what_dense_is(tmp_path, origin, expected):
    chosen = {"headline": "perplexity", "perplexity": 29.1384} | origin
    _left(tmp_path / "evaluate", metrics=_evaluated({"accuracy": 0.9}, chosen))
    headline = Measure(name="perplexity", higher_is_better=False, relative=True)
    assert summarize(tmp_path, ["evaluate"], ran=(), headline=headline)[0].quality == f"perplexity 29.1{expected}"


@pytest.mark.parametrize(
    ("headline", "expected"),
    [(Measure(name="r2", share=False), "R2 0.981"), (None, "r2 0.9812"), (Measure(name="accuracy"), "r2 0.9812")],
)
def test_the_headline_is_described_by_its_measure_and_one_that_is_not_known_by_its_name(tmp_path, headline, expected):
    _left(tmp_path / "train", metrics={"headline": "r2", "r2": 0.98123, "rmse": 3.0})
    assert summarize(tmp_path, ["train"], ran=(), headline=headline)[0].quality == expected


def test_unreadable_files_make_a_missing_row_and_no_traceback(tmp_path):
    _left(tmp_path / "a")
    (tmp_path / "a" / "energy.json").write_text("{")
    assert summarize(tmp_path, ["a"], ran=())[0].state == "missing"


def test_the_table_adds_up_joules_and_their_uncertainty(tmp_path):
    _left(tmp_path / "a")
    _left(tmp_path / "b")
    console = Console(width=120, record=True, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115 -- closed with it
    console.print(render_summary(summarize(tmp_path, ["a", "b"], ran={"a", "b"})))
    console.file.close()
    total = next(line for line in console.export_text().splitlines() if "total" in line)
    assert "20.0 J ± 8.00 J" in total
    assert "4.00 s" in total


@pytest.mark.parametrize(
    ("measured", "expected"),
    [(0.0, "modelled from CPU time"), (0.75, "75% of the joules were measured"), (None, "No energy was recorded")],
)
def test_it_says_how_much_was_measured(measured, expected):
    rows = [
        StageSummary(stage="a", state="run", energy_j=None if measured is None else 10.0, measured_fraction=measured)
    ]
    assert expected in describe_sources(rows)


def _execution(**values):
    nothing = dict.fromkeys(ExecutionRecord.__dataclass_fields__)
    usual = {"id": "1", "stage": "a", "resumed_j": 0.0, "resumed_carbon_g": 0.0, "resumed_duration_s": 0.0}
    return ExecutionRecord(**{**nothing, **usual, **values})


@pytest.mark.parametrize("status", ["failed", "refused", "interrupted", "killed"])
def test_a_stage_that_left_nothing_is_reported_with_what_was_spent_on_it(tmp_path, status):
    spent = {"energy_j": 45.0, "uncertainty_j": 9.0, "measured_fraction": 0.5, "duration_s": 4.0, "carbon_g": 0.5}
    rows = summarize(tmp_path, ["a", "b"], ran={"a"}, executions=[_execution(status=status, **spent)])
    assert [row.state for row in rows] == [status, "not reached"]
    assert (rows[0].energy_j, rows[0].uncertainty_j, rows[0].measured_fraction) == (45.0, 9.0, 0.5)
    assert "45.0 J ± 9.00 J" in _total(rows)


def test_what_it_went_on_from_is_counted_once(tmp_path):
    first = _execution(status="interrupted", energy_j=10.0, resumed_from="0", resumed_j=30.0)
    second = _execution(id="2", status="refused", energy_j=5.0, uncertainty_j=1.0, resumed_from="1", resumed_j=40.0)
    (row,) = summarize(tmp_path, ["a"], ran={"a"}, executions=[first, second])
    assert (row.state, row.energy_j) == ("refused", 45.0)


def test_an_attempt_of_which_nothing_is_known_is_no_zero(tmp_path):
    rows = summarize(tmp_path, ["a"], ran={"a"}, executions=[_execution(status="refused")])
    assert rows[0].energy_j is None
    assert "unknown" in _total(rows)


def test_a_stage_that_was_done_in_the_end_is_reported_by_what_it_left(tmp_path):
    _left(tmp_path / "a")
    stopped, done = _execution(status="interrupted", energy_j=3.0), _execution(id="2", status="done", energy_j=7.0)
    (row,) = summarize(tmp_path, ["a"], ran={"a"}, executions=[stopped, done])
    assert (row.state, row.energy_j) == ("run", 10.0)


def test_a_result_that_was_restored_after_an_attempt_is_reported_not_the_attempt(tmp_path):
    _left(tmp_path / "a")
    _left(tmp_path / "b")
    rows = summarize(tmp_path, ["a", "b"], ran=(), executions=[_execution(status="interrupted", energy_j=3.0)])
    assert [(row.state, row.energy_j) for row in rows] == [("reused", 10.0), ("reused", 10.0)]


def _total(rows):
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(render_summary(rows))
    return next(line for line in console.export_text().splitlines() if "total" in line)
