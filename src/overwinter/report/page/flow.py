"""The flow of energy from stages to devices, laid out as a Sankey diagram: nodes left and right, ribbons between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from overwinter.report.page.content import Device, StageFigures

_BODY = 220.0  # height of all joules together, in pixels
_LEAST_SLOT = 34.0  # of a node, so that two lines of a label fit beside it
_GAP = 6.0
_STEPS = 20  # of a ribbon


@dataclass(frozen=True, kw_only=True)
class Node:
    """A stage or a device.

    Attributes:
        name: Its name.
        low: Its upper edge, in pixels from the top.
        high: Its lower edge.
        energy_j: Joules.
        uncertainty_j: Uncertainty of them.
        measured: Whether counters measured all of them.
    """

    name: str
    low: float
    high: float
    energy_j: float
    uncertainty_j: float
    measured: bool

    @property
    def middle(self) -> float:
        """The middle of its height."""
        return (self.low + self.high) / 2


@dataclass(frozen=True, kw_only=True)
class Ribbon:
    """The joules of one stage in one device.

    Attributes:
        stage: The stage.
        device: The device.
        measured: Whether a counter measured them.
        energy_j: Joules.
        edges: Points from the left (0) to the right (1): place, upper edge, lower edge.
    """

    stage: str
    device: str
    measured: bool
    energy_j: float
    edges: tuple[tuple[float, float, float], ...]


@dataclass(frozen=True, kw_only=True)
class Flow:
    """The diagram.

    Attributes:
        stages: The nodes on the left.
        devices: The nodes on the right.
        ribbons: The joules between them.
        height: The height of all.
    """

    stages: tuple[Node, ...]
    devices: tuple[Node, ...]
    ribbons: tuple[Ribbon, ...]
    height: float


def lay_out(stages: Sequence[StageFigures]) -> Flow | None:
    """Return the diagram of stages with known joules; None if there are none."""
    parts = [(stage.stage, device) for stage in stages for device in stage.devices if device.energy_j > 0]
    whole_j = sum(device.energy_j for _, device in parts)
    if not whole_j:
        return None
    scale = _BODY / whole_j
    by_stage = {stage.stage: [each for name, each in parts if name == stage.stage] for stage in stages}
    lefts = _stacked({name: found for name, found in by_stage.items() if found}, scale)
    by_device: dict[str, list[Device]] = {}
    for _, device in parts:
        by_device.setdefault(device.device, []).append(device)
    rights = _stacked(by_device, scale)
    return Flow(
        stages=tuple(lefts.values()),
        devices=tuple(rights.values()),
        ribbons=_ribbons(parts, lefts, rights, scale),
        height=max(node.high for node in (*lefts.values(), *rights.values())) + _GAP,
    )


def _stacked(groups: dict[str, list[Device]], scale: float) -> dict[str, Node]:
    """Return a node for each group, one below the other, each in a slot that is high enough for its label."""
    nodes, top = {}, 0.0
    for name, devices in groups.items():
        energy_j = sum(device.energy_j for device in devices)
        height = max(1.0, energy_j * scale)
        slot = max(height, _LEAST_SLOT)
        low = top + (slot - height) / 2
        nodes[name] = Node(
            name=name,
            low=low,
            high=low + height,
            energy_j=energy_j,
            uncertainty_j=sum(device.uncertainty_j for device in devices),
            measured=all(device.measured for device in devices),
        )
        top += slot + _GAP
    return nodes


def _ribbons(
    parts: Sequence[tuple[str, Device]], lefts: dict[str, Node], rights: dict[str, Node], scale: float
) -> tuple[Ribbon, ...]:
    from_top = {name: node.low for name, node in lefts.items()}
    to_top = {name: node.low for name, node in rights.items()}
    ribbons = []
    for stage, device in parts:
        height = device.energy_j * scale
        begin, end = from_top[stage], to_top[device.device]
        ribbons.append(
            Ribbon(
                stage=stage,
                device=device.device,
                measured=device.measured,
                energy_j=device.energy_j,
                edges=tuple(_edge(step / _STEPS, begin, end, height) for step in range(_STEPS + 1)),
            )
        )
        from_top[stage] += height
        to_top[device.device] += height
    return tuple(ribbons)


def _edge(place: float, begin: float, end: float, height: float) -> tuple[float, float, float]:
    eased = place * place * (3 - 2 * place)
    top = begin + (end - begin) * eased
    return place, top, top + height
