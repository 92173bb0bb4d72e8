"""What the ledger knows of stages: the same as from all its records, found by key."""

from __future__ import annotations

import platform
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overwinter.budget import forecast
from overwinter.config import Config, find_project, load_config
from overwinter.ledger import SCRATCH, ExecutionRecord
from overwinter.pipeline.history import History
from overwinter.pipeline.identity import declared_work, likeness

KEYS = {"train": "prefix-train", "sparsify": "prefix-sparsify"}
CONFIG: Config = load_config(find_project(Path(__file__).parents[2]))
_statuses = st.sampled_from(["done", "failed", "killed", "interrupted", "running"])


def _record(number: int = 0, **values: Any) -> ExecutionRecord:
    usual = {"id": str(number), "stage": "train", "configuration_key": "key-1", "status": "done"}
    usual |= {"host": platform.node(), "started_utc": datetime(2026, 7, 1, tzinfo=UTC) + timedelta(minutes=number)}
    usual |= {"resumed_j": 0.0, "resumed_carbon_g": 0.0, "resumed_duration_s": 0.0}
    return ExecutionRecord(**{**dict.fromkeys(ExecutionRecord.__dataclass_fields__), **usual, **values})


@pytest.fixture
def record() -> Callable[..., ExecutionRecord]:
    return _record


@st.composite
def _records(draw: st.DrawFn) -> list[ExecutionRecord]:
    rows = st.tuples(
        st.sampled_from(["train", "sparsify"]),
        st.sampled_from(["key-1", "key-2"]),
        st.sampled_from([likeness(CONFIG, "train"), "other"]),
        _statuses,
        st.none() | st.floats(1, 1000),
        st.sampled_from([None, 8.0, 16.0]),
    )
    names = ("stage", "configuration_key", "workload", "status", "energy_j", "work")
    drawn = draw(st.lists(rows, max_size=12))
    return [_record(number, **dict(zip(names, row, strict=True))) for number, row in enumerate(drawn)]


@given(records=_records(), key=st.sampled_from([None, "key-1", "key-3"]))
def test_a_forecast_is_that_of_all_records(records, key):
    expected = forecast(
        records,
        stage="train",
        configuration_key=key,
        work=declared_work(CONFIG, "train"),
        workload=likeness(CONFIG, "train"),
        inputs={},
        host=platform.node(),
    )
    assert History(records).forecast(CONFIG, "train", KEYS, configuration_key=key) == expected


@pytest.mark.parametrize(
    ("values", "done"),
    [
        ({"prefix_key": "prefix-train"}, True),
        ({"prefix_key": "prefix-train", "status": "failed"}, False),
        ({"prefix_key": "prefix-train", "stage": "sparsify"}, False),
        ({"prefix_key": "another"}, False),  # even with the same configuration key: DVC would run it
        ({}, True),  # older than prefix keys
        ({"experiment": SCRATCH}, False),
        ({"status": "killed"}, False),
    ],
)
def test_done_before_is_what_the_pipeline_finished_with_the_same_key(record, values, done):
    history = History([record(1, **values)])
    assert history.is_done("train", prefix_key="prefix-train", configuration_key="key-1") is done


def test_a_stage_that_was_stopped_is_forecast_from_its_own_start_even_if_its_inputs_are_not_there(record):
    stopped = record(1, prefix_key="prefix-train", status="interrupted", energy_j=25.0, done=50, total=100)
    seen = History([stopped]).forecast(CONFIG, "train", KEYS)
    assert (seen.basis, seen.energy_j.expected) == ("unfinished", pytest.approx(50.0))


def test_inputs_that_only_the_ledger_knows_narrow_the_range(record):
    train = record(1, prefix_key="prefix-train", artifact_digest="model", energy_j=1.0)
    like = {"stage": "sparsify", "workload": likeness(CONFIG, "sparsify"), "work": declared_work(CONFIG, "sparsify")}
    like |= {"configuration_key": "key-2", "inputs": {"train": "model"}, "energy_j": 20.0}
    like |= {"steps": 11, "steps_j": 18.0, "done": 12, "total": 12}
    known = History([train, record(2, **like)]).forecast(CONFIG, "sparsify", KEYS).energy_j
    unknown = History([record(2, **like)]).forecast(CONFIG, "sparsify", KEYS).energy_j
    assert unknown.low < known.low < known.high < unknown.high
