"""What a runtime promises. Third parties add theirs as entry points in the group ``overwinter.runtimes``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from overwinter.serving import Session


class Runtime(Protocol):
    """Turns a saved model into files that it can run, and opens them. Made without arguments."""

    name: str

    def refusal(self, description: Mapping[str, Any]) -> str | None:
        """Return why this runtime cannot run the form that ``model.json`` describes, or None if it can."""

    def build(self, model_folder: Path, out: Path, *, trusted: Sequence[str]) -> None:
        """Write what `open` needs into the existing folder ``out``; equal models give equal bytes.

        Raises:
            ConfigError: the model uses what this runtime lacks.
            OverwinterError: the answers differ from torch's by more than the runtime's tolerance.
        """

    def open(self, folder: Path, *, threads: int, trusted: Sequence[str]) -> Session:
        """Load what `build` wrote."""
