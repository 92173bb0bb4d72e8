"""What a window drew, by device, with provenance and uncertainty.

Errors of one kind of source share their cause (one model, one calibration), so they add up linearly; errors
of different kinds are independent and combine in quadrature.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

MODELLED = "modelled"
SHORT_WINDOW_EDGES = 10
"""A window shorter than this many updates of its source is too short to be trusted, and says so."""


@dataclass(frozen=True, kw_only=True)
class Component:
    """One device's share of a report, as read by one source.

    Attributes:
        device: such as `gpu:0`, `cpu:package-0`, `ram:package-0`, `cpu`, `ram`, or all in one: `machine`.
        energy_j: drawn in the window.
        uncertainty_j: half-width of the interval around it.
        source: `nvml-counter`, `nvml-power`, `amdsmi`, `rapl`, `hwmon`, `power-supply` or `modelled`: without a
            counter, or this run's estimated part of a counter that other runs read too.
        average_w: over the whole window.
        peak_w: highest sampled power of the whole device, at least `average_w`.
    """

    device: str
    energy_j: float
    uncertainty_j: float
    source: str
    average_w: float
    peak_w: float


@dataclass(frozen=True, kw_only=True)
class EnergyReport:
    """What a window drew.

    Attributes:
        duration_s: without the time that the machine was suspended.
        energy_j: sum of the components.
        uncertainty_j: half-width of the interval around it.
        measured_fraction: share of `energy_j` that counters or power sensors gave, 0 to 1.
        components: one per device and source.
        idle_j: what the devices would have drawn idle; None where a baseline is unknown, or other runs' too.
        above_idle_j: the rest; None where a baseline is unknown.
        warnings: what the reader of the figures must know.
    """

    duration_s: float
    energy_j: float
    uncertainty_j: float
    measured_fraction: float
    components: tuple[Component, ...]
    idle_j: float | None
    above_idle_j: float | None
    warnings: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Draw:
    """What one device drew in one window, as read by one source: the raw material of a `Component`.

    Attributes:
        device: as in `Component`.
        source: as in `Component`.
        energy_uj: in microjoules.
        doubt_uj: uncertainty beyond the source's own, in microjoules.
        relative_uncertainty: of the source.
        edge_s: of the source: how stale a reading may be.
        power_w: the device's recent power, for windows in which a slow counter did not move.
        peak_w: highest sampled power in the window.
    """

    device: str
    source: str
    energy_uj: int
    doubt_uj: int
    relative_uncertainty: float
    edge_s: float
    power_w: float
    peak_w: float


def combined_uncertainty_j(components: Iterable[Component]) -> float:
    """Combine uncertainties: linearly within a kind of source, in quadrature across kinds."""
    by_source: defaultdict[str, float] = defaultdict(float)
    for component in components:
        by_source[component.source] += component.uncertainty_j
    return math.hypot(*by_source.values())


def build_report(
    *,
    name: str,
    duration_s: float,
    draws: Iterable[Draw],
    idle_w: Mapping[str, float],
    warnings: Iterable[str],
) -> EnergyReport:
    """Build the report of a window.

    Args:
        name: the window's name, for warnings.
        duration_s: its length.
        draws: per device and source.
        idle_w: device -> idle power; a device that is not in it has an unknown baseline.
        warnings: of the meter, while the window was open.
    """
    drawn = list(draws)
    components = tuple(_component(draw, duration_s) for draw in drawn)
    energy_j = sum(draw.energy_uj for draw in drawn) / 1e6
    measured_j = sum(draw.energy_uj for draw in drawn if draw.source != MODELLED) / 1e6
    idle_j = _idle_j(components, idle_w, duration_s)
    return EnergyReport(
        duration_s=duration_s,
        energy_j=energy_j,
        uncertainty_j=combined_uncertainty_j(components),
        measured_fraction=measured_j / energy_j if energy_j else 0.0,
        components=components,
        idle_j=idle_j,
        above_idle_j=None if idle_j is None else energy_j - idle_j,
        warnings=tuple(dict.fromkeys([*warnings, *_short_warnings(name, duration_s, drawn)])),
    )


def _component(draw: Draw, duration_s: float) -> Component:
    energy_j = draw.energy_uj / 1e6
    average_w = energy_j / duration_s if duration_s > 0 else 0.0
    edge_j = min(draw.edge_s, duration_s) * max(average_w, draw.power_w)
    return Component(
        device=draw.device,
        energy_j=energy_j,
        uncertainty_j=math.hypot(draw.relative_uncertainty * energy_j, edge_j) + draw.doubt_uj / 1e6,
        source=draw.source,
        average_w=average_w,
        peak_w=max(draw.peak_w, average_w),
    )


def _idle_j(components: Iterable[Component], idle_w: Mapping[str, float], duration_s: float) -> float | None:
    """Idle energy, never above what was drawn; None if a device's idle power is unknown."""
    by_device: defaultdict[str, float] = defaultdict(float)
    for component in components:
        by_device[component.device] += component.energy_j
    if any(device not in idle_w for device in by_device):
        return None
    return sum((min(idle_w[device] * duration_s, energy_j) for device, energy_j in by_device.items()), 0.0)


def _short_warnings(name: str, duration_s: float, draws: Iterable[Draw]) -> list[str]:
    edges = {draw.source: draw.edge_s for draw in draws if duration_s < SHORT_WINDOW_EDGES * draw.edge_s}
    return [
        f"window '{name}' lasted {duration_s:.3g} s, too short for {source}, updated every {edge_s:g} s; "
        f"measure {SHORT_WINDOW_EDGES * edge_s:g} s or more (repeat the work) for a figure to rely on"
        for source, edge_s in sorted(edges.items())
    ]
