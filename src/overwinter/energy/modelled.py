"""The power model of parts without a counter: CPU from CPU seconds and design power, RAM from memory in use.

    CPU watts = watts per thread * (busy threads of the tree * (1 - idle) + allowed threads * idle)

The tree's own use counts in full; of the idle power, the share of the machine that it may use (affinity and cgroup
quota). Every figure is marked `modelled`. Energy above idle is proportional to CPU time.
"""

from __future__ import annotations

from overwinter.energy.channel import Channel
from overwinter.energy.cpu_time import CpuTime, cpu_time_of
from overwinter.energy.machine import this_machine, thread_power_w
from overwinter.energy.opening import Opening
from overwinter.energy.protocols import Increment
from overwinter.energy.report import MODELLED

_FIRST_POWER_S = 0.05  # no power is reported before
_MAX_PACE_S = 1.0


def _pace_s(age_s: float) -> float:
    """Return the interval between readings of living children: short at first, then a second."""
    return min(_MAX_PACE_S, age_s / 2)


class CpuModel:
    """Energy of the process tree's CPU time.

    Args:
        tree: The CPU time of the tree.
        thread_w: The power of one busy hardware thread.
        idle_fraction: The idle power of a thread as a share of it.
        threads: The number of hardware threads whose idle power counts.
        relative_uncertainty: The model's relative uncertainty.
        head_s: Seconds before the start that also count, with all CPU time of the tree so far.
    """

    source = MODELLED
    edge_s = 0.01  # /proc counts a living child's time in hundredths of a second
    max_interval_s = float("inf")

    def __init__(
        self,
        tree: CpuTime,
        *,
        thread_w: float,
        idle_fraction: float,
        threads: float,
        relative_uncertainty: float,
        head_s: float | None = None,
    ) -> None:
        self.relative_uncertainty = relative_uncertainty
        self.idle_w = thread_w * idle_fraction * threads
        self._busy_w = thread_w * (1 - idle_fraction)
        self._tree, self._head_s = tree, head_s
        self._begun_s = self._start_s = self._start_cpu_s = 0.0
        self._reported_uj = 0
        self._walked_s = self._walked_j = 0.0
        self._power_w: float | None = None

    def start(self, now_s: float) -> None:
        """Begin at ``now_s``, or at the process's own start."""
        cpu_s = self._tree.begin()
        self._begun_s = now_s
        self._start_s = now_s - (self._head_s or 0.0)
        self._start_cpu_s = cpu_s if self._head_s is None else 0.0
        self._walked_s, self._walked_j = now_s, self._energy_j(now_s, cpu_s)

    def advance(self, now_s: float, *, edge: bool) -> Increment:
        """Return what was drawn since the previous call."""
        due = now_s - self._walked_s >= max(_FIRST_POWER_S, _pace_s(now_s - self._begun_s))
        energy_j = self._energy_j(now_s, self._tree.walk() if edge or due else self._tree.quick_cpu_s())
        if due:
            self._power_w = max(0.0, (energy_j - self._walked_j) / (now_s - self._walked_s))
            self._walked_s, self._walked_j = now_s, energy_j
        increment_uj = max(0, round(energy_j * 1e6) - self._reported_uj)
        self._reported_uj += increment_uj
        return Increment(energy_uj=increment_uj)

    def power_w(self) -> float | None:
        """Return the mean power of the last second, the interval between readings of children."""
        return self._power_w

    def limit_w(self) -> None:
        """A model has no limit."""

    def _energy_j(self, now_s: float, cpu_s: float) -> float:
        return self._busy_w * (cpu_s - self._start_cpu_s) + self.idle_w * (now_s - self._start_s)


class RamModel:
    """Energy of the process tree's resident memory."""

    source = MODELLED
    edge_s = 0.0
    max_interval_s = float("inf")

    def __init__(
        self, tree: CpuTime, *, w_per_gib: float, relative_uncertainty: float, head_s: float | None = None
    ) -> None:
        self.relative_uncertainty = relative_uncertainty
        self._tree, self._w_per_gib, self._head_s = tree, w_per_gib, head_s
        self._begun_s = self._now_s = self._looked_s = 0.0
        self._power_w = 0.0

    def start(self, now_s: float) -> None:
        """Begin at ``now_s``, or at the process's own start."""
        self._begun_s = now_s
        self._now_s = now_s - (self._head_s or 0.0)
        self._look(now_s)

    def advance(self, now_s: float, *, edge: bool) -> Increment:
        """Return what was drawn since the previous call."""
        before_w = self._power_w
        if edge or now_s - self._looked_s >= _pace_s(now_s - self._begun_s):
            self._look(now_s)
        elapsed_s, self._now_s = max(0.0, now_s - self._now_s), now_s
        return Increment(energy_uj=round((before_w + self._power_w) / 2 * elapsed_s * 1e6))

    def power_w(self) -> float:
        """Return the power at the last reading."""
        return self._power_w

    def limit_w(self) -> None:
        """A model has no limit."""

    def _look(self, now_s: float) -> None:
        self._looked_s = now_s
        self._power_w = self._w_per_gib * self._tree.memory_gib()


def open_modelled(opening: Opening) -> list[Channel]:
    """Open a model of the parts that no earlier source meters."""
    wanted = {"cpu", "ram"} - opening.covered
    if not wanted:
        return []
    tree = cpu_time_of(opening)
    opening.closers.append(tree.close)
    opening.last_words.append(tree.left_running)
    channels = [_cpu_channel(tree, opening)] if "cpu" in wanted else []
    return channels + ([_ram_channel(tree, opening)] if "ram" in wanted else [])


def modelled_status(opening: Opening) -> tuple[bool, str, str]:
    """Return (available, reason, what to do) for `overwinter doctor`."""
    thread_w, origin = _thread_w(opening)
    return (
        True,
        f"{thread_w:.3g} W per busy thread: {origin}",
        "set hardware.cpu_tdp_w and hardware.cpu_threads for a better estimate",
    )


def _thread_w(opening: Opening) -> tuple[float, str]:
    hardware = opening.hardware
    return thread_power_w(
        this_machine(),
        cpu_tdp_w=hardware.cpu_tdp_w,
        cpu_threads=hardware.cpu_threads,
        cpu_w_per_thread=hardware.cpu_w_per_thread,
    )


def _cpu_channel(tree: CpuTime, opening: Opening) -> Channel:
    hardware = opening.hardware
    model = CpuModel(
        tree,
        thread_w=_thread_w(opening)[0],
        idle_fraction=hardware.cpu_idle_fraction,
        threads=this_machine().allowed_threads,
        relative_uncertainty=hardware.relative_uncertainty,
        head_s=opening.head_s,
    )
    return _channel("cpu", model, model.idle_w, opening)


def _ram_channel(tree: CpuTime, opening: Opening) -> Channel:
    hardware = opening.hardware
    model = RamModel(
        tree,
        w_per_gib=hardware.ram_w_per_gib,
        relative_uncertainty=hardware.relative_uncertainty,
        head_s=opening.head_s,
    )
    return _channel("ram", model, 0.0, opening)  # memory in use belongs to the work, so none of it is idle


def _channel(device: str, model: CpuModel | RamModel, idle_w: float, opening: Opening) -> Channel:
    channel = Channel(
        device=device,
        gauges=[model],
        guess_w=idle_w,
        held_uncertainty=opening.hardware.relative_uncertainty,
        warn=opening.warn,
    )
    channel.idle_w = idle_w
    return channel
