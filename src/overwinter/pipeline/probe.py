"""A short probe: run a stage for some seconds, and extrapolate its costs.

The stage keeps its checkpoint, so the following run resumes from it and no work is wasted.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from overwinter.budget import Forecast, Range
from overwinter.config import Config, Project
from overwinter.errors import OverwinterError
from overwinter.pipeline.events import EVENTS_FILE, EventReader
from overwinter.pipeline.render import stage_program
from overwinter.pipeline.stage import PROBE_S

_SPREAD = 0.3  # relative error of an extrapolation from a few seconds


def probe(project: Project, config: Config, stage: str, overrides: Sequence[str], duration_s: float) -> Forecast:
    """Run ``stage`` for about ``duration_s`` seconds of steps and extrapolate.

    Args:
        project: The project.
        config: The composed configuration.
        stage: The stage to probe; its inputs must exist.
        overrides: The overrides of `config`.
        duration_s: Seconds of steps, in addition to start-up.

    Returns:
        A forecast with the basis `probe`, or `unknown` if the stage reports no steps.

    Raises:
        OverwinterError: the stage failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        events = Path(folder) / "events"
        command = [sys.executable, stage_program(stage, config), *overrides, f"seed={config.seed}"]
        environment = os.environ | {EVENTS_FILE: str(events), PROBE_S: str(duration_s)}
        done = subprocess.run(
            command, cwd=project.root, env=environment, capture_output=True, text=True, check=False, timeout=3600
        )
        if done.returncode != 0:
            raise OverwinterError(f"The probe of {stage} failed: {done.stderr.strip()}")
        steps = [event for event in EventReader(events).new() if event["event"] == "progress"]
    return _extrapolated(stage, steps)


def _extrapolated(stage: str, steps: Sequence[dict[str, Any]]) -> Forecast:
    """Extrapolate from the first and the last step; the cost before the first step is start-up and counts once."""
    if len(steps) < 2 or steps[-1]["done"] <= steps[0]["done"]:
        return Forecast(stage=stage, basis="unknown")
    return Forecast(
        stage=stage,
        basis="probe",
        executions=1,
        energy_j=_whole(steps, "energy_j"),
        carbon_g=_whole(steps, "carbon_g"),
        duration_s=_whole(steps, "duration_s"),
    )


def _whole(steps: Sequence[dict[str, Any]], name: str) -> Range:
    first, last = steps[0], steps[-1]
    per_unit = (last[name] - first[name]) / (last["done"] - first["done"])
    expected = last[name] + per_unit * (last["total"] - last["done"])
    return Range(low=expected * (1 - _SPREAD), expected=expected, high=expected * (1 + _SPREAD))
