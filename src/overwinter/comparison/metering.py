"""Whether joules of two sides were metered alike: otherwise their difference says more about the meters."""

from __future__ import annotations

from overwinter.comparison.contents import Side
from overwinter.config.groups.energy import FOR_COMPARISONS
from overwinter.energy import EnergyRecord
from overwinter.energy.report import MODELLED


def metered_apart(a: Side, b: Side, stage: str, other: str | None = None) -> str | None:
    """Return why the joules of a stage cannot be compared; None if they can, as far as the records tell.

    Args:
        a: A side.
        b: The other side.
        stage: The stage of ``a``.
        other: The stage of ``b``, if it has another name.
    """
    one, two = a.energy.get(stage), b.energy.get(other or stage)
    if one is None or two is None:
        return None
    if one.machine and two.machine and one.machine != two.machine:
        return f"A ran on {one.machine}; B on {two.machine}"
    if _meters(one) != _meters(two):
        return f"A's joules come from {_words(one)}; B's from {_words(two)}"
    if _is_modelled(one) and a.params is not None and b.params is not None:
        changed = sorted(
            f"hardware.{key}"
            for key in {**_hardware(a), **_hardware(b)}
            if _hardware(a).get(key) != _hardware(b).get(key)
        )
        if changed:
            return f"modelled joules depend on {', '.join(changed)}, which changed"
    return None


def machines_unknown(a: Side, b: Side) -> str | None:
    """Return a note if a record does not say on which machine it was made."""
    sides = [side.title for side in (a, b) if any(each.machine is None for each in side.energy.values())]
    if not sides:
        return None
    return f"{' and '.join(sides)}: energy.json does not say on which machine it was made; the same one is assumed"


def modelled_share(a: Side, b: Side) -> str | None:
    """Return a note on joules that no counter measured; None if counters measured all."""
    shares = [_measured(side) for side in (a, b)]
    known = [share for share in shares if share is not None]
    if not known or min(known) == 1:
        return None
    if max(known) == 0:
        return "joules are modelled from CPU time and memory, so a ratio of joules is one of CPU time, not measured"
    words = (f"{share:.0%} of {name}'s" for share, name in zip(shares, ("A", "B"), strict=True) if share is not None)
    return f"counters measured {' and '.join(words)} joules to produce; the rest is modelled"


def _measured(side: Side) -> float | None:
    total_j = sum(each.energy_j for each in side.energy.values())
    return sum(each.energy_j * each.measured_fraction for each in side.energy.values()) / total_j if total_j else None


def _is_modelled(record: EnergyRecord) -> bool:
    return any(each.source == MODELLED for each in record.components)


def _meters(record: EnergyRecord) -> set[tuple[str, str]]:
    """Return kinds of devices with their sources: `gpu:0` and `gpu:1` are of one kind."""
    return {(each.device.partition(":")[0], each.source) for each in record.components}


def _words(record: EnergyRecord) -> str:
    return ", ".join(f"{device} {source}" for device, source in sorted(_meters(record))) or "no meter"


def _hardware(side: Side) -> dict[str, object]:
    """Return the settings of the power model."""
    found = side.setting("hardware")
    known = found if isinstance(found, dict) else {}
    return {key: value for key, value in known.items() if key not in FOR_COMPARISONS}
