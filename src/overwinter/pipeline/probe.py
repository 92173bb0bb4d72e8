"""A short calibrated probe: start a stage for real, stop it after some seconds, and tell what all of it would cost.

The stage keeps its checkpoint, so that the run which follows goes on from there, and nothing is wasted.
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

_SPREAD = 0.3  # a few seconds of a stage tell the rest to about this share, one way or the other


def probe(project: Project, config: Config, stage: str, overrides: Sequence[str], duration_s: float) -> Forecast:
    """Run ``stage`` for about ``duration_s`` seconds of steps and extrapolate.

    Args:
        project: where it runs.
        config: the composed configuration.
        stage: its inputs must be there.
        overrides: with which `config` was composed.
        duration_s: seconds of steps; start-up comes on top.

    Returns:
        a forecast on the basis `probe`, or `unknown` where the stage reports no steps.

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
    """From the first and the last step to the whole; what came before the first is start-up and counts once."""
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
