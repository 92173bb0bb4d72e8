"""Laptops on battery: the battery's power is that of the whole machine, including the screen.

On mains power, a battery does not report the machine's power, so this source is not used.
https://docs.kernel.org/power/power_supply_class.html: microwatts, microamperes and microvolts; some drivers report
discharging as negative.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from overwinter.energy.channel import Channel
from overwinter.energy.kernel_files import folders, number, number_or_none, word
from overwinter.energy.opening import Opening
from overwinter.energy.protocols import Increment

_BATTERY = "Battery"
_UJ_PER_UWH = 3600
_GUESS_W = 15.0
_MIN_W, _MAX_W = 0.05, 1000.0


class Supplies:
    """The batteries and mains supplies of a machine.

    Args:
        root: such as /sys/class/power_supply.
    """

    def __init__(self, root: Path) -> None:
        # A mouse's or a phone's battery is one of a device.
        supplies = [each for each in folders(root) if word(each / "scope") != "Device"]
        self.batteries = [
            each for each in supplies if word(each / "type") == _BATTERY and word(each / "present") != "0"
        ]
        self._mains = [each for each in supplies if word(each / "type") not in ("", _BATTERY)]

    @property
    def hindrance(self) -> str:
        """Reason why the batteries do not report the machine's power now; empty if they do."""
        if not self.batteries:
            return "there is no battery"
        if any(word(each / "online") not in ("", "0") for each in self._mains):
            return "the machine is on mains power, which a battery does not measure"
        states = {word(each / "status") for each in self.batteries}
        if "Discharging" in states and "Charging" not in states:
            return ""
        return f"no battery is discharging ({', '.join(sorted(filter(None, states))) or 'unknown state'})"

    def power_w(self) -> float:
        """Return the batteries' power now, in watts.

        Raises:
            OSError, ValueError: a discharging battery does not report its power.
        """
        power_w = sum(_power_w(each) for each in self.batteries if word(each / "status") == "Discharging")
        if not _MIN_W <= power_w <= _MAX_W:
            raise ValueError(f"the batteries report {power_w:g} W, which is implausible")
        return power_w

    def left_uj(self) -> int:
        """Return the energy left in the batteries, in microjoules.

        Raises:
            OSError, ValueError: a battery does not report it.
        """
        return round(sum(_left_uwh(each) for each in self.batteries) * _UJ_PER_UWH)


class BatteryGauge:
    """A gauge of the batteries' power. Time on mains power is a gap, with one warning.

    Args:
        supplies: The machine's power supplies.
        warn: A function that shows one line to the user.
    """

    source = "power-supply"
    relative_uncertainty = 0.10
    edge_s = 2.0  # firmware updates every one or two seconds
    max_interval_s = 1.0

    def __init__(self, supplies: Supplies, warn: Callable[[str], None]) -> None:
        self._supplies, self._warn = supplies, warn
        self._now_s = 0.0
        self._power_w: float | None = None

    def start(self, now_s: float) -> None:
        """Begin at ``now_s``."""
        self._now_s, self._power_w = now_s, None
        if not self._supplies.hindrance:
            self._look()

    def advance(self, now_s: float, *, edge: bool) -> Increment:  # noqa: ARG002 -- every reading is exact
        """Return the energy drawn since the previous call, with a gap for time on mains power."""
        elapsed_s, self._now_s = max(0.0, now_s - self._now_s), now_s
        hindrance = self._supplies.hindrance
        if hindrance:
            self._power_w = None
            self._warn(f"power-supply: {hindrance}; meanwhile the last known power is assumed")
            return Increment(energy_uj=0, gap_s=elapsed_s)
        if self._power_w is None:  # the first reading after mains power
            self._look()
        return Increment(energy_uj=self._drawn_uj(elapsed_s))

    def power_w(self) -> float | None:
        """Return the power at the last reading."""
        return self._power_w

    def limit_w(self) -> float | None:
        """Return None: no limit is known."""
        return None

    def _look(self) -> None:
        self._power_w = self._supplies.power_w()

    def _drawn_uj(self, elapsed_s: float) -> int:
        before_w, self._power_w = self._power_w, self._supplies.power_w()
        assert before_w is not None  # noqa: S101 -- looked at before
        return round((before_w + self._power_w) / 2 * elapsed_s * 1e6)


class BatteryLevelGauge(BatteryGauge):
    """A gauge of the energy left, if no battery reports its power; it falls in steps of some joules."""

    edge_s = 30.0

    def power_w(self) -> float | None:
        """Return None: the power follows from the energy."""
        return None

    def _look(self) -> None:
        self._left_uj = self._supplies.left_uj()
        self._power_w = 0.0  # marks that it was read

    def _drawn_uj(self, elapsed_s: float) -> int:  # noqa: ARG002 -- a level needs no time
        before_uj, self._left_uj = self._left_uj, self._supplies.left_uj()
        return max(0, before_uj - self._left_uj)


def open_power_supply(opening: Opening) -> list[Channel]:
    """Open the batteries, if they report the machine's power and no part of it is measured otherwise."""
    supplies = Supplies(Path(opening.energy.power_supply_root))
    if opening.measured or not supplies.batteries:
        return []
    if supplies.hindrance:
        opening.warn(f"power-supply: {supplies.hindrance}; it is not used")
        return []
    gauges = [kind(supplies, opening.warn) for kind, works in _ways(supplies) if works]
    if not gauges:
        opening.warn("power-supply: the batteries report neither power nor remaining energy")
        return []
    return [
        Channel(
            device="machine",
            gauges=gauges,
            guess_w=_GUESS_W,
            held_uncertainty=opening.hardware.relative_uncertainty,
            warn=opening.warn,
        )
    ]


def power_supply_status(root: Path) -> tuple[bool, str, str]:
    """Return (available, reason, what to do) for `overwinter doctor`."""
    supplies = Supplies(root)
    names = ", ".join(each.name for each in supplies.batteries)
    if not names:
        return False, f"no battery under {root}", "nothing to do on a machine without a battery"
    if supplies.hindrance:
        return False, f"{names}: {supplies.hindrance}", "unplug it to measure on battery"
    if not any(works for _, works in _ways(supplies)):
        return (
            False,
            f"{names}: reports neither power nor remaining energy",
            "none: its driver does not report them",
        )
    return True, f"{names}: the whole machine", ""


def _ways(supplies: Supplies) -> list[tuple[type[BatteryGauge], bool]]:
    """Return the gauges for the batteries, the best first, and whether each works."""
    return [(BatteryGauge, _responds(supplies.power_w)), (BatteryLevelGauge, _responds(supplies.left_uj))]


def _responds(read: Callable[[], float]) -> bool:
    try:
        read()
    except (OSError, ValueError):
        return False
    return True


def _power_w(battery: Path) -> float:
    power_uw = number_or_none(battery / "power_now")
    if power_uw:
        return abs(power_uw) / 1e6
    return abs(number(battery / "current_now")) * number(battery / "voltage_now") / 1e12


def _left_uwh(battery: Path) -> float:
    energy_uwh = number_or_none(battery / "energy_now")
    if energy_uwh is not None:
        return abs(energy_uwh)
    # With the current voltage, the level would rise when the load falls; the design voltage is constant.
    voltage_uv = number_or_none(battery / "voltage_min_design") or number(battery / "voltage_now")
    return abs(number(battery / "charge_now")) * voltage_uv / 1e6
