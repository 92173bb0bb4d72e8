"""A folder of its own for each test, in which its ledger is made."""

from __future__ import annotations

from pathlib import Path

import pytest

from overwinter.ledger import ExecutionRecord, Ledger, ledger_path


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, outside every project."""
    for variable in ("DVC_ROOT", "DVC_STAGE", "LOCAL_RANK"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("OVERWINTER_PERSON", "none")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def executions(folder: Path):
    """A function that reads the ledger, after it closed the executions of killed processes."""

    def read() -> list[ExecutionRecord]:
        with Ledger.open(ledger_path(folder)) as ledger:
            ledger.reap()
            return ledger.executions(documents=True)

    return read
