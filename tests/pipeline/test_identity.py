"""Digests of equal workloads, and of the inputs of a result."""

from __future__ import annotations

from pathlib import Path

import fsspec
import pytest

from overwinter.config import compose, find_project, validate
from overwinter.files import digest
from overwinter.pipeline.identity import artifacts_read, likeness, lineage

_PROJECT = find_project(Path(__file__).parents[2])


def _likeness(*overrides: str, stage: str = "train") -> str:
    return likeness(validate(compose(_PROJECT, overrides)), stage)


@pytest.mark.parametrize("same", ["train.epochs=3", "seed=7", "train.learning_rate=0.01", "train.patience_epochs=0"])
def test_what_leaves_a_step_as_it_is_leaves_executions_alike(same: str) -> None:
    assert _likeness(same) == _likeness()


@pytest.mark.parametrize("other", ["train.batch_size=32", "threads=2", "train.precision=bf16", "power=static"])
def test_what_changes_a_step_makes_them_unlike(other: str) -> None:
    assert _likeness(other) != _likeness()


def test_stages_are_never_alike() -> None:
    assert _likeness(stage="sparsify") != _likeness()


def test_what_is_read_is_known_as_the_artifact_that_the_earlier_stage_made() -> None:
    inputs = {"train/model": "a", "quantize/model": "b", "quantize/extra": "c"}
    expected = {"train": digest({"model": "a"}), "quantize": digest({"model": "b", "extra": "c"})}
    assert artifacts_read({"inputs": inputs}) == expected


def test_data_at_an_address_is_in_the_lineage_of_the_stages_that_read_it() -> None:
    files = fsspec.filesystem("memory")
    files.pipe("/lineage/a.csv", b"1")
    config = validate(compose(_PROJECT, ["+data.root=memory://lineage"]))
    before = lineage(config, _PROJECT, "train")["data"]
    assert list(before) == ["memory://lineage"]
    files.pipe("/lineage/a.csv", b"2")
    assert lineage(config, _PROJECT, "train")["data"] != before
    assert "data" not in lineage(validate(compose(_PROJECT)), _PROJECT, "train")


def test_a_model_at_an_address_is_in_the_lineage_of_the_stage_that_reads_it() -> None:
    files = fsspec.filesystem("memory")
    files.pipe("/lineage/model.gguf", b"1")
    config = validate(compose(_PROJECT, ["+model.root=memory://lineage/model.gguf"]))
    before = lineage(config, _PROJECT, "train")["model"]
    files.pipe("/lineage/model.gguf", b"2")
    assert lineage(config, _PROJECT, "train")["model"] != before
    assert list(before) == ["memory://lineage/model.gguf"]
