"""Curves of a run in TensorBoard or MLflow, from the events that stages and watched scripts emit anyway.

`interface` has what a tracker is, `stream` the reader of events that feeds some; `tensorboard` and `mlflow` are the
trackers, whose libraries load only when they are asked for. Others are added by entry points (`overwinter.trackers`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from overwinter.lazy_imports import lazily

if TYPE_CHECKING:
    from overwinter.tracking.interface import Tracker
    from overwinter.tracking.stream import Tracking, open_tracking

__all__ = ["Tracker", "Tracking", "open_tracking"]

__getattr__ = lazily(__name__, {"Tracker": "interface", "Tracking": "stream", "open_tracking": "stream"})
