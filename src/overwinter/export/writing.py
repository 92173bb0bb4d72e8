"""Writing a source in a format: refused first, staged, read back and compared, then renamed into place."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from overwinter import files
from overwinter.errors import ConfigError, OverwinterError
from overwinter.export.checking import apart
from overwinter.export.interface import ExportFormat
from overwinter.export.source import Source
from overwinter.models import own_models
from overwinter.outputs import check_output_folder
from overwinter.registries import EXPORT_FORMATS

_MODE, _FOLDER_MODE = 0o644, 0o755


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What was written.

    Attributes:
        format: name of the format.
        source: address of what was exported.
        variant: its name.
        folder: where the files are.
        files: name -> bytes.
        divergence_nats: mean Kullback-Leibler divergence of the files' predictions, read back, from the saved model's,
            over the positions of texts; None if `ExportFormat.write` has compared the outputs.
        read_by: what read them back; None likewise.
        notes: what the user should know.
    """

    format: str
    source: str
    variant: str
    folder: str
    files: Mapping[str, int]
    divergence_nats: float | None
    read_by: str | None
    notes: tuple[str, ...]


def export(source: Source, format_name: str, folder: Path) -> Exported:
    """Write a source in a format, completely or not at all.

    Args:
        source: of `open_source`.
        format_name: name of a format in `EXPORT_FORMATS`.
        folder: new or empty folder.

    Raises:
        ConfigError: the format is unknown, or cannot hold the source; or the folder is not empty.
        OutputError: the folder is a file, or cannot be written.
        OverwinterError: what was written predicts something else than the source, or the disk is full.
    """
    form: ExportFormat = EXPORT_FORMATS.find(format_name)()
    _refuse_occupied(folder)
    reason = form.refusal(source)
    if reason is not None:
        raise ConfigError(f"{source.address} ({source.variant}) cannot be exported as {format_name}: {reason}.")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Readable by the owner alone while it is written: a sealed bundle's content may be in it.
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as parent:
            staging = Path(parent) / "export"
            staging.mkdir()
            with own_models(False):
                notes = form.write(source, staging)
                divergence, reader = _compared(form, source, staging)
            sizes = _finish(staging)
            staging.replace(folder)
            files.sync(folder.parent)
    except OSError as error:
        raise files.write_error(folder, error) from error
    return Exported(
        format=format_name,
        source=source.address,
        variant=source.variant,
        folder=str(folder),
        files=sizes,
        divergence_nats=divergence,
        read_by=reader,
        notes=notes,
    )


def _compared(form: ExportFormat, source: Source, folder: Path) -> tuple[float, str] | tuple[None, None]:
    reading = form.read(source, folder)
    if reading is None:
        return None, None
    divergence = apart(source, reading.logits)
    if not divergence <= reading.tolerance:  # NaN is too far
        raise OverwinterError(
            f"{source.address}: what was written predicts otherwise than the saved model, by {divergence:.2g} nats as "
            f"{reading.reader} reads it; the tolerance is {reading.tolerance:g}. Nothing was exported."
        )
    return divergence, reading.reader


def _refuse_occupied(folder: Path) -> None:
    check_output_folder(folder)
    if folder.exists() and any(folder.iterdir()):
        raise ConfigError(f"{folder} is not empty. Name a new folder, or remove it.")


def _finish(folder: Path) -> dict[str, int]:
    """Flush everything to the disk; return name -> bytes."""
    sizes = {}
    for path in sorted(folder.rglob("*")):
        path.chmod(_FOLDER_MODE if path.is_dir() else _MODE)
        files.sync(path)
        if path.is_file():
            sizes[path.relative_to(folder).as_posix()] = path.stat().st_size
    folder.chmod(_FOLDER_MODE)
    files.sync(folder)
    return sizes
