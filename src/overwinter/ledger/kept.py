"""What of the results and the checkpoints is still there, by the files that the stages have left in a project."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from overwinter.energy.record import ENERGY_FILE, find_energy

STATE_FOLDER = ".overwinter"
_KEY_CHARACTERS = 16  # of the configuration key, in the name of a folder of checkpoints


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What lies in a project.

    Attributes:
        results: ids of the executions whose results lie in outputs/ or in a scratch folder.
        stages: stages of which a result lies in outputs/ and names its execution.
        checkpoints: stage and beginning of the configuration key, of the checkpoints that wait to be resumed.
    """

    results: frozenset[str] = frozenset()
    stages: frozenset[str] = frozenset()
    checkpoints: frozenset[tuple[str, str]] = frozenset()

    def has_checkpoint(self, stage: str, configuration_key: str) -> bool:
        """Return whether an attempt at this very work left something to go on from."""
        return (stage, configuration_key[:_KEY_CHARACTERS]) in self.checkpoints


def kept_in(state: Path) -> Kept:
    """Look at the project whose folder `.overwinter` is ``state``; beside a ledger elsewhere, nothing is known."""
    if state.name != STATE_FOLDER:
        return Kept()
    outputs = {
        path.parent.name: execution_id
        for path in (state.parent / "outputs").glob(f"*/{ENERGY_FILE}")
        if (execution_id := _id(path))
    }
    scratch = {execution_id for path in (state / "scratch").glob(f"*/{ENERGY_FILE}") if (execution_id := _id(path))}
    return Kept(
        results=frozenset({*outputs.values(), *scratch}),
        stages=frozenset(outputs),
        checkpoints=frozenset(_checkpoints(state / "checkpoints")),
    )


def checkpoint_folder(state: Path, stage: str, configuration_key: str) -> Path:
    """Return the folder of a stage's checkpoints, for one configuration and its very inputs."""
    return state / "checkpoints" / f"{stage}-{configuration_key[:_KEY_CHARACTERS]}"


def has_checkpoint(folder: Path) -> bool:
    """Return whether a folder of checkpoints holds any."""
    return folder.is_dir() and any(folder.iterdir())


def _checkpoints(folder: Path) -> Iterator[tuple[str, str]]:
    for path in folder.glob("*-*"):
        if has_checkpoint(path):
            stage, _, key = path.name.rpartition("-")
            yield stage, key


def _id(path: Path) -> str | None:
    """Return which execution an energy.json is of."""
    record = find_energy(path)
    return None if record is None else record.execution
