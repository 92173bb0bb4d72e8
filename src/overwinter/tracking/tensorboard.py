"""TensorBoard: a folder of event files for each run, written by TensorBoard's own writer, which needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from overwinter.errors import ConfigError

FOLDER = "tensorboard"


class TensorBoardTracker:
    """Writes `FOLDER/tensorboard/RUN/`.

    Args:
        folder: The ledger's folder.
        run: The run's name.

    Raises:
        ConfigError: TensorBoard is not installed.
    """

    def __init__(self, *, folder: Path, run: str) -> None:
        try:
            from tensorboard.summary import Writer
        except ImportError:
            raise ConfigError("TensorBoard is not installed: pip install 'overwinter[tracking]'.") from None
        self._writer = Writer(str(folder / FOLDER / run))

    def log(self, figures: Mapping[str, float], *, step: int) -> None:
        """Add a point to the curve of each figure."""
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()
