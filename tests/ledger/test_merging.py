"""Merging ledgers: nothing counts twice, what has ended since is updated, and no source or project is changed."""

import sqlite3

import pytest

from overwinter.errors import ConfigError, IntegrityError
from overwinter.ledger import Ledger, Origin, merge_ledgers, wasted_in
from overwinter.ledger.merging import read_executions
from tests.support.energy_records import energy_record


def _ended(ledger, stage="train", *, project="winter", joules=100.0, status="done", artifact="it"):
    execution = ledger.begin(stage=stage, run_id="r", configuration_key=stage, origin=Origin(project=project))
    energy = energy_record(energy_j=joules)
    code = 0 if status == "done" else 1
    execution.finish(status=status, exit_code=code, energy=energy, metrics=None, message=None, artifact_digest=artifact)
    return execution.id


@pytest.fixture
def ledgers(tmp_path):
    """Return the paths of two ledgers with one execution each."""
    paths = [tmp_path / name / ".overwinter" / "ledger.sqlite" for name in ("a", "b")]
    for path in paths:
        with Ledger.open(path) as ledger:
            _ended(ledger, project=path.parents[1].name)
    return paths


def test_the_executions_of_all_are_in_one(ledgers, tmp_path):
    merged = merge_ledgers(ledgers, tmp_path / "all.sqlite")
    assert [(each.added, each.updated, each.known) for each in merged] == [(1, 0, 0), (1, 0, 0)]
    both = [record for path in ledgers for record in read_executions(path)]
    assert read_executions(tmp_path / "all.sqlite") == both


def test_merging_again_adds_only_what_is_new(ledgers, tmp_path):
    merge_ledgers(ledgers, tmp_path / "all.sqlite")
    with Ledger.open(ledgers[0]) as ledger:
        _ended(ledger, "sparsify")
    merged = merge_ledgers(ledgers, tmp_path / "all.sqlite")
    assert [(each.added, each.updated, each.known) for each in merged] == [(1, 0, 1), (0, 0, 1)]


def test_what_ran_when_it_was_merged_is_updated_once_it_has_ended(ledgers, tmp_path):
    with Ledger.open(ledgers[0]) as ledger:
        running = ledger.begin(stage="evaluate", run_id="r", configuration_key="e")
        merge_ledgers(ledgers, tmp_path / "all.sqlite")
        energy = energy_record(energy_j=7.0)
        running.finish(status="done", exit_code=0, energy=energy, metrics=None, message=None, artifact_digest=None)
    assert merge_ledgers(ledgers, tmp_path / "all.sqlite")[0].updated == 1
    found = {record.stage: record.energy_j for record in read_executions(tmp_path / "all.sqlite")}
    assert found["evaluate"] == 7.0


def test_sources_stay_as_they_are(ledgers, tmp_path):
    before = ledgers[0].read_bytes()
    merge_ledgers(ledgers, tmp_path / "all.sqlite")
    assert ledgers[0].read_bytes() == before


def test_a_projects_own_ledger_is_no_target(ledgers, tmp_path):
    with pytest.raises(ConfigError, match="a project's own ledger"):
        merge_ledgers(ledgers, tmp_path / ".overwinter" / "ledger.sqlite")


def test_a_source_is_no_target(ledgers, tmp_path):
    merge_ledgers(ledgers, tmp_path / "all.sqlite")
    with pytest.raises(ConfigError, match="one of the ledgers to merge"):
        merge_ledgers([tmp_path / "all.sqlite"], tmp_path / "all.sqlite")


@pytest.mark.parametrize("content", [None, b"", b"no database", b"SQLite format 3\0" + bytes(100)])
def test_what_is_no_ledger_is_refused_and_kept(tmp_path, content):
    path = tmp_path / "other.sqlite"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"does not exist|cannot be read as a ledger"):
        merge_ledgers([path], tmp_path / "all.sqlite")
    assert (path.read_bytes() if path.exists() else None) == content
    assert not (tmp_path / "all.sqlite").exists()


def test_a_damaged_execution_is_refused(ledgers, tmp_path):
    with sqlite3.connect(ledgers[1]) as connection:
        connection.execute("UPDATE executions SET started_utc = 'yesterday'")
    with pytest.raises(IntegrityError, match="an execution is damaged"):
        merge_ledgers(ledgers, tmp_path / "all.sqlite")
    assert not (tmp_path / "all.sqlite").exists()


def test_of_a_merged_ledger_the_latest_result_of_every_project_is_in_use(ledgers, tmp_path):
    with Ledger.open(ledgers[1]) as ledger:
        _ended(ledger, project="b", artifact="another")
    merge_ledgers(ledgers, tmp_path / "all.sqlite")
    records = read_executions(tmp_path / "all.sqlite")
    lost = wasted_in(tmp_path, records)
    assert [(record.project, record.artifact_digest) for record in lost] == [("b", "it")]


def test_a_ledger_of_a_newer_version_is_read_as_far_as_it_is_known(ledgers, tmp_path):
    with sqlite3.connect(ledgers[0]) as connection:
        connection.execute("ALTER TABLE executions ADD COLUMN coolant TEXT DEFAULT 'water'")
        connection.execute("PRAGMA user_version = 99")
    merged = merge_ledgers(ledgers, tmp_path / "all.sqlite")
    assert [(each.added, each.newer) for each in merged] == [(1, True), (1, False)]


def test_a_table_without_a_column_of_every_version_is_no_ledger(ledgers, tmp_path):
    with sqlite3.connect(ledgers[0]) as connection:
        connection.execute("ALTER TABLE executions DROP COLUMN host")
    with pytest.raises(ConfigError, match="no column host"):
        merge_ledgers(ledgers, tmp_path / "all.sqlite")
    assert not (tmp_path / "all.sqlite").exists()
