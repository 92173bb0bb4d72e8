"""The energy of a window, by device, with provenance and uncertainty.

Errors of one kind of source have a common cause (one model, one calibration), so they add up linearly; errors of
different kinds are independent and combine in quadrature.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

MODELLED = "modelled"
SHORT_WINDOW_EDGES = 10
"""Minimum length of a window, in updates of its source; shorter windows have a warning."""


@dataclass(frozen=True, kw_only=True)
class Component:
    """One device's share of a report, as read by one source.

    Attributes:
        device: The device, such as `gpu:0`, `cpu:package-0`, `ram:package-0`, `cpu`, `ram`, or `machine` for all.
        energy_j: Energy in the window.
        uncertainty_j: Half-width of the interval around it.
        source: `nvml-counter`, `nvml-power`, `amdsmi`, `rapl`, `hwmon`, `power-supply`, or `modelled`: without a
            counter, or this run's estimated part of a counter that other runs read too.
        average_w: Mean power over the window.
        peak_w: Highest sampled power of the whole device, at least `average_w`.
    """

    device: str
    energy_j: float
    uncertainty_j: float
    source: str
    average_w: float
    peak_w: float


@dataclass(frozen=True, kw_only=True)
class EnergyReport:
    """The energy of a window.

    Attributes:
        duration_s: The duration, without the time that the machine was suspended.
        energy_j: Sum of the components.
        uncertainty_j: Half-width of the interval around it.
        measured_fraction: Share of `energy_j` from counters or power sensors, 0 to 1.
        components: The components, one per device and source.
        idle_j: Energy that the devices would have drawn idle; None if a baseline is unknown or shared with other runs.
        above_idle_j: The rest; None if a baseline is unknown.
        warnings: Warnings about the figures.
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
    """The raw energy of one device in one window, as read by one source, from which a `Component` is made.

    Attributes:
        device: As in `Component`.
        source: As in `Component`.
        energy_uj: Energy in microjoules.
        doubt_uj: Uncertainty beyond the source's own, in microjoules.
        relative_uncertainty: The source's relative uncertainty.
        edge_s: The maximum age of a reading of the source.
        power_w: The device's recent power, for windows in which a slow counter did not change.
        peak_w: Highest sampled power in the window.
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
        name: The window's name, for warnings.
        duration_s: The window's duration.
        draws: The draws by device and source.
        idle_w: Idle power by device; a missing device has an unknown baseline.
        warnings: The meter's warnings while the window was open.
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
    """Return the idle energy, at most the drawn energy; None if a device's idle power is unknown."""
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
        f"measure {SHORT_WINDOW_EDGES * edge_s:g} s or more (repeat the work) for a reliable figure"
        for source, edge_s in sorted(edges.items())
    ]
