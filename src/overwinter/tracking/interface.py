"""What a tracker is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Tracker(Protocol):
    """Shows the figures of one run as curves. A registered class is called with `folder` and `run`."""

    def log(self, figures: Mapping[str, float], *, step: int) -> None:
        """Add a point to the curve of each figure, such as `train/energy_j`."""

    def close(self) -> None:
        """Write what is left."""
