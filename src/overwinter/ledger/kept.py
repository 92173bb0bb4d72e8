"""The results and checkpoints that still exist, from the files in a project."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from overwinter.energy.record import ENERGY_FILE, find_energy

STATE_FOLDER = ".overwinter"
FINISHED = "finished"
"""The folder in `STATE_FOLDER` of results that DVC has not committed yet."""
_KEY_CHARACTERS = 16  # length of the configuration key's prefix in the name of a checkpoint folder


@dataclass(frozen=True, kw_only=True)
class Kept:
    """The results and checkpoints in a project.

    Attributes:
        results: Ids of the executions whose results are in outputs/, in a scratch folder, or kept for DVC to commit.
        stages: Stages with a result in outputs/ that names its execution.
        checkpoints: Stage and prefix of the configuration key of every checkpoint that can be resumed.
    """

    results: frozenset[str] = frozenset()
    stages: frozenset[str] = frozenset()
    checkpoints: frozenset[tuple[str, str]] = frozenset()

    def has_checkpoint(self, stage: str, configuration_key: str) -> bool:
        """Return whether there is a checkpoint of this stage and configuration."""
        return (stage, configuration_key[:_KEY_CHARACTERS]) in self.checkpoints


def kept_in(state: Path) -> Kept:
    """Return what exists in the project whose folder `.overwinter` is ``state``; nothing for a ledger elsewhere."""
    if state.name != STATE_FOLDER:
        return Kept()
    outputs = {
        path.parent.name: execution_id
        for path in (state.parent / "outputs").glob(f"*/{ENERGY_FILE}")
        if (execution_id := _id(path))
    }
    beside = [*(state / "scratch").glob(f"*/{ENERGY_FILE}"), *(state / FINISHED).glob(f"[!.]*/*/{ENERGY_FILE}")]
    return Kept(
        results=frozenset({*outputs.values(), *(execution_id for path in beside if (execution_id := _id(path)))}),
        stages=frozenset(outputs),
        checkpoints=frozenset(_checkpoints(state / "checkpoints")),
    )


def checkpoint_folder(state: Path, stage: str, configuration_key: str) -> Path:
    """Return the folder of a stage's checkpoints, for one configuration and its inputs."""
    return state / "checkpoints" / work_name(stage, configuration_key)


def work_name(stage: str, configuration_key: str) -> str:
    """Return the name of whatever belongs to a stage's work in one configuration: checkpoints, a lock, a result."""
    return f"{stage}-{configuration_key[:_KEY_CHARACTERS]}"


def has_checkpoint(folder: Path) -> bool:
    """Return whether a folder contains checkpoints."""
    return folder.is_dir() and any(folder.iterdir())


def _checkpoints(folder: Path) -> Iterator[tuple[str, str]]:
    for path in folder.glob("*-*"):
        if has_checkpoint(path):
            stage, _, key = path.name.rpartition("-")
            yield stage, key


def _id(path: Path) -> str | None:
    """Return the id of the execution that an energy.json names."""
    record = find_energy(path)
    return None if record is None else record.execution
