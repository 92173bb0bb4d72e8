"""Package and memory energy through Linux's powercap tree (RAPL), each joule counted once.

A package that cannot be read is reported and assumed to draw as much as the readable ones, which counts as modelled.
If none can be read, the next source meters the CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from overwinter.energy.channel import Channel
from overwinter.energy.counter import CounterGauge
from overwinter.energy.mirror import MirrorWatch, settled
from overwinter.energy.opening import Opening
from overwinter.energy.patient import Patient
from overwinter.energy.protocols import Increment
from overwinter.energy.rapl_zones import Zone, choose, find_zones, zone_names
from overwinter.energy.siblings import SiblingModel

_PEAK_W = {
    "cpu": 1500.0,
    "ram": 500.0,
    "platform": 4000.0,
}  # more than any machine draws; above, the counter jumped
_GUESS_W = {"cpu": 60.0, "ram": 5.0, "platform": 100.0}  # only if a counter fails before it ever reported a power
_REMEDY = "run as root, or have an administrator `chmod a+r` the energy_uj files (restricted since CVE-2020-8694)"
# A counter has 32 bits, of 2^-14 J or 2^-16 J in almost all processors, as rounded by the kernel.
_POSSIBLE_TURNS_UJ = (262_143_328_850, 65_532_610_987, 131_072_000_000, 32_768_000_000, 16_384_000_000)


class RaplGauge(CounterGauge):
    """A zone's counter. Compared with a wall meter, RAPL is accurate within 10 to 15 %."""

    source = "rapl"
    relative_uncertainty = 0.15
    edge_s = 0.002  # the counter is updated about every millisecond

    def __init__(self, zone: Zone, warn: Callable[[str], None], at_edge: Callable[[], None] = lambda: None) -> None:
        self._zone, self._at_edge = zone, at_edge
        super().__init__(
            Patient(zone.energy_uj),
            device=str(zone),
            warn=warn,
            unit_uj=1,
            peak_w=_PEAK_W[zone.domain],
            turn=zone.range_uj(),
            possible_turns=_POSSIBLE_TURNS_UJ,
        )

    def advance(self, now_s: float, *, edge: bool) -> Increment:
        """Return what was drawn since the previous call."""
        if edge:
            self._at_edge()
        return super().advance(now_s, edge=edge)

    def limit_w(self) -> float | None:
        """Return the long-term limit in force, if the zone has one."""
        try:
            return int((self._zone.folder / "constraint_0_power_limit_uw").read_text()) / 1e6 or None
        except (OSError, ValueError):
            return None


class SuspectGauge(RaplGauge):
    """A die's counter that may be another die's: it counts nothing until that is ruled out.

    Until then, its energy counts as uncertainty; then all of it is counted at once.
    """

    def __init__(self, zone: Zone, watch: MirrorWatch, warn: Callable[[str], None]) -> None:
        self._watch, self._withheld_uj = watch, 0
        super().__init__(zone, warn)

    def advance(self, now_s: float, *, edge: bool) -> Increment:
        """Return the energy drawn since the previous call, if it is this die's own."""
        own = super().advance(now_s, edge=edge)
        verdict = self._watch.look()
        if verdict is not False:
            self._withheld_uj += own.energy_uj
            return Increment(energy_uj=0, doubt_uj=0 if verdict else own.energy_uj)
        withheld_uj, self._withheld_uj = self._withheld_uj, 0
        return Increment(energy_uj=own.energy_uj + withheld_uj, doubt_uj=own.doubt_uj, gap_s=own.gap_s)


def open_rapl(opening: Opening) -> list[Channel]:
    """Open the zones, so that each part is counted once."""
    root = Path(opening.energy.rapl_root)
    zones = choose(find_zones(root))
    for text in _notes(zones):
        opening.warn(f"rapl: {text}")
    census = _Census(root, opening)
    domains = [[zone for zone in zones if zone.domain == domain] for domain in _PEAK_W]
    return [channel for domain in domains for channel in _channels(domain, opening, census)]


def rapl_status(root: Path) -> tuple[bool, str, str]:
    """Return (available, reason, what to do) for `overwinter doctor`."""
    zones = choose(find_zones(root))
    if not zones:
        return (
            False,
            f"no power zones under {root}",
            "nothing to do in a virtual machine; in a container, mount the host's tree (energy.rapl_root)",
        )
    readable = [zone for zone in zones if zone.readable]
    if not readable:
        return False, f"{len(zones)} zones under {root}, none readable", _REMEDY
    counted, _, mirrored = _apart(readable)
    detail = ", ".join(zone.device for zone in zones if zone in counted)
    detail += "".join(f"; {zone} shows the counter of another die and is not counted" for zone in mirrored)
    denied = [zone for zone in zones if zone not in readable]
    detail += "".join(f"; {zone} cannot be read ({zone.refusal})" for zone in denied)
    return True, detail, _REMEDY if denied else ""


def _notes(zones: Sequence[Zone]) -> Iterator[str]:
    """Yield warnings on zones that cannot be read, and on assumptions."""
    counted = {zone.domain for zone in zones if zone.readable}
    denied = [zone for zone in zones if not zone.readable]
    named = ", ".join(f"{zone}: {zone.refusal}" for zone in denied)
    if denied:
        filled = [zone.device for zone in denied if zone.domain in counted]
        then = f"; {', '.join(filled)} is assumed to draw as much as the others" if filled else ""
        yield f"{named}: cannot be read, so its energy is modelled; {_REMEDY}{then}"
    for zone in zones:
        if zone.nameless:
            yield f"{zone.folder.name} has no name; it is counted as a separate package"
        if zone.readable and zone.range_uj() is None:
            yield f"the range of {zone} is not reported; usual ranges are assumed to detect a wrap of its counter"


class _Census:
    """Detects packages that appear while the meter runs, which are reported and not counted."""

    def __init__(self, root: Path, opening: Opening) -> None:
        self._root, self._opening = root, opening
        self._known = zone_names(root)

    def look(self) -> None:
        for name in sorted(zone_names(self._root) - self._known):
            self._known.add(name)
            self._opening.warn(f"rapl: {name} appeared after the start; its energy is not counted in this run")


def _channels(zones: Sequence[Zone], opening: Opening, census: _Census) -> list[Channel]:
    """Open the zones of one domain; none if no counter can be read."""
    counted, suspects, _ = _apart([zone for zone in zones if zone.readable])
    channels = [_channel(zone, opening, census) for zone in counted]
    channels += [_suspect(zone, watch, opening) for zone, watch in suspects]
    if channels:
        channels += [_assumed(zone, channels[:], opening) for zone in zones if not zone.readable]
    return channels


def _apart(zones: Iterable[Zone]) -> tuple[list[Zone], list[tuple[Zone, MirrorWatch]], list[Zone]]:
    """Return zones with separate counters, those that may mirror another's, and those that do."""
    counted: list[Zone] = []
    suspects: list[tuple[Zone, MirrorWatch]] = []
    mirrored: list[Zone] = []
    for zone in zones:
        dies = [other for other in counted if (other.domain, other.package) == (zone.domain, zone.package)]
        watches = [settled(MirrorWatch(zone.energy_uj, other.energy_uj)) for other in dies]
        if any(watch.verdict for watch in watches):
            mirrored.append(zone)
        elif undecided := [watch for watch in watches if watch.verdict is None]:
            suspects.append((zone, undecided[0]))
        else:
            counted.append(zone)
    return counted, suspects, mirrored


def _channel(zone: Zone, opening: Opening, census: _Census) -> Channel:
    return Channel(
        device=zone.device,
        gauges=[RaplGauge(zone, opening.warn, census.look)],
        guess_w=_GUESS_W[zone.domain],
        held_uncertainty=opening.hardware.relative_uncertainty,
        warn=opening.warn,
        never_still=zone.domain != "ram",  # some platforms show a memory zone that never counts
        counter=str(zone.folder.resolve()),
    )


def _suspect(zone: Zone, watch: MirrorWatch, opening: Opening) -> Channel:
    return Channel(
        device=zone.device,
        gauges=[SuspectGauge(zone, watch, opening.warn)],
        guess_w=0.0,
        held_uncertainty=opening.hardware.relative_uncertainty,
        warn=opening.warn,
        counter=str(zone.folder.resolve()),
    )


def _assumed(zone: Zone, others: Sequence[Channel], opening: Opening) -> Channel:
    return Channel(
        device=zone.device,
        gauges=[SiblingModel(others)],
        guess_w=_GUESS_W[zone.domain],
        held_uncertainty=opening.hardware.relative_uncertainty,
        warn=opening.warn,
    )
