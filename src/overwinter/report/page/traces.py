"""The traces of a report: power over time from power.csv, and what stages reported while they ran from a run's events.

Long traces are thinned: power is averaged over equal parts of the time, so that its area stays; of a curve, points are
left out.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from overwinter.report.page.content import CurvePoint, PowerSample, StageFigures

_POWER_POINTS = 240  # of one device, over all stages
_CURVE_POINTS = 240  # of one stage


def read_power(outputs: Path, stages: Sequence[StageFigures]) -> tuple[PowerSample, ...]:
    """Return the power of every device over the stages, set end to end."""
    whole_s = sum(stage.duration_s or 0.0 for stage in stages) or 1.0
    begun_s = 0.0
    samples: list[PowerSample] = []
    for stage in stages:
        if stage.devices:
            read = list(_samples(outputs / stage.stage / "power.csv", stage.stage, begun_s))
            for device in dict.fromkeys(sample.device for sample in read):
                samples += _averaged([each for each in read if each.device == device], whole_s / _POWER_POINTS)
        begun_s += stage.duration_s or 0.0
    return tuple(samples)


def read_curves(runs: Path, run_ids: Mapping[str, str], stages: Sequence[StageFigures]) -> tuple[CurvePoint, ...]:
    """Return what the stages reported while they made the present results.

    Args:
        runs: The folder of the runs' events; those of old runs are deleted.
        run_ids: The run that made a stage's result, by stage.
        stages: The stages, in order.
    """
    before_j = 0.0
    points: list[CurvePoint] = []
    for stage in stages:
        if run_id := run_ids.get(stage.stage):
            read = list(_points(runs / f"{run_id}.events", stage.stage, before_j))
            step = math.ceil(len(read) / _CURVE_POINTS)
            points += read[::step] + read[-1:] if step > 1 else read
        before_j += stage.energy_j or 0.0
    return tuple(points)


def _samples(path: Path, stage: str, begun_s: float) -> Iterator[PowerSample]:
    try:
        rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    except (OSError, UnicodeDecodeError):
        return
    for row in rows:
        time_s, power_w = _number(row.get("time_s")), _number(row.get("power_w"))
        if time_s is not None and power_w is not None:
            yield PowerSample(
                stage=stage,
                device=str(row.get("device")),
                time_s=begun_s + time_s,
                power_w=power_w,
                limit_w=_number(row.get("limit_w")),
                intensity_g_per_kwh=_number(row.get("intensity_g_per_kwh")),
            )


def _averaged(samples: Sequence[PowerSample], width_s: float) -> Iterable[PowerSample]:
    """Join the samples of one device in each part of the time; its first limit and intensity stand for all of it."""
    parts: dict[int, list[PowerSample]] = {}
    for sample in samples:
        parts.setdefault(int(sample.time_s / width_s), []).append(sample)
    for part in parts.values():
        first = part[0]
        yield PowerSample(
            stage=first.stage,
            device=first.device,
            time_s=sum(each.time_s for each in part) / len(part),
            power_w=sum(each.power_w for each in part) / len(part),
            limit_w=first.limit_w,
            intensity_g_per_kwh=first.intensity_g_per_kwh,
        )


def _points(path: Path, stage: str, before_j: float) -> Iterator[CurvePoint]:
    for event in _events(path, stage):
        figures, energy_j = event.get("figures"), event.get("energy_j")
        if not isinstance(figures, dict) or not isinstance(energy_j, int | float):
            continue
        numbers = {name: float(each) for name, each in figures.items() if _is_number(each)}
        if numbers:
            yield CurvePoint(
                stage=stage,
                energy_j=float(energy_j),
                pipeline_j=before_j + energy_j,
                done=float(event.get("done") or 0.0),
                total=float(event.get("total") or 0.0),
                figures=numbers,
            )


def _events(path: Path, stage: str) -> Iterator[dict[str, Any]]:
    """Yield the progress of a stage's last start in a run."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return
    found: list[dict[str, Any]] = []
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and event.get("stage") == stage:
            if event.get("event") == "start":
                found.clear()
            found.append(event)
    yield from (event for event in found if event.get("event") == "progress")


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "nan")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
