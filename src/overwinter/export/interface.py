"""Interface of export formats. Third parties add theirs as entry points in the group ``overwinter.export_formats``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from overwinter.export.source import Source
from overwinter.inputs import Array


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Written files, read back.

    Attributes:
        reader: what reads them, such as ``transformers``.
        logits: returns logits at every position (batch, length, vocabulary) of tokens (batch, length), int64.
        tolerance: largest allowed divergence from the saved model's predictions in nats, the mean over positions.
    """

    reader: str
    logits: Callable[[Array], Array]
    tolerance: float


class ExportFormat(Protocol):
    """Writes a source as another program's files. Created without arguments."""

    def refusal(self, source: Source) -> str | None:
        """Return why the format cannot hold the source, or None if it can."""

    def write(self, source: Source, folder: Path) -> tuple[str, ...]:
        """Write the files to an existing empty folder; return notes for the user."""

    def read(self, source: Source, folder: Path) -> Reading | None:
        """Read a language model back to compare its predictions; None if `write` has compared the outputs."""
