"""A ledger in a temporary folder, with its messages."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from overwinter.ledger import Execution, ExecutionRecord, Ledger


@dataclass
class Messages:
    """The messages of a ledger to the user."""

    texts: list[str] = field(default_factory=list)

    def __call__(self, text: str) -> None:
        self.texts.append(text)


@pytest.fixture
def messages() -> Messages:
    return Messages()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".overwinter" / "ledger.sqlite"


@pytest.fixture
def ledger(path: Path, messages: Messages) -> Iterator[Ledger]:
    with Ledger.open(path, log=messages) as opened:
        yield opened


@pytest.fixture(scope="session")
def begin() -> Callable[..., Execution]:
    def begun(ledger: Ledger, **values: Any) -> Execution:
        return ledger.begin(**{"stage": "train", "run_id": "run-1", "configuration_key": "key-1", **values})

    return begun


@pytest.fixture(scope="session")
def record() -> Callable[..., ExecutionRecord]:
    def made(**values: Any) -> ExecutionRecord:
        nothing = dict.fromkeys(ExecutionRecord.__dataclass_fields__)
        usual = {
            "id": "a",
            "stage": "train",
            "run_id": "run-1",
            "configuration_key": "key-1",
            "status": "done",
        }
        usual |= {"started_utc": datetime(2026, 7, 1, tzinfo=UTC), "host": "here", "heartbeats": 1}
        usual |= {"resumed_j": 0.0, "resumed_carbon_g": 0.0, "resumed_duration_s": 0.0}
        return ExecutionRecord(**{**nothing, **usual, **values})

    return made


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 512 kB; only root may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip(f"mounting a tmpfs needs root: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)
