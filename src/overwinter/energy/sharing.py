"""This run's part of the energy of a counter that other runs read at the same time.

While no other meter reads a counter, all its joules are this run's. From the reading before another meter starts to
the reading after it ends, they wait, for a second or until a window starts or ends; then this run takes its part
(`split`). All meters use the same figures, so together they claim the counter's energy, less that of unmetered work.
A part is an estimate, and counts as modelled. If it is unknown, each meter claims all, as measured, with the same
amount as uncertainty.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

from overwinter.energy.channel import Channel
from overwinter.energy.cpu_time import CpuTime
from overwinter.energy.neighbours import Neighbours
from overwinter.energy.split import Split, Use

_PACE_S = 1.0
_MIN_S = 0.2  # CPU time is reported in hundredths of a second: over less, the last known use is better


class Sharing:
    """Detects other meters, and divides the counters' energy while there are any.

    Args:
        channels: The channels that read a counter.
        neighbours: The detection of other meters.
        splits: The split of each device; a missing device is claimed whole.
        tree: This run's processes; it starts when another meter is first seen.
        warn: A function that shows one line to the user, repeatedly while it applies.
    """

    def __init__(
        self,
        channels: Sequence[Channel],
        neighbours: Neighbours,
        *,
        splits: Mapping[str, Split],
        tree: CpuTime,
        warn: Callable[[str], None],
    ) -> None:
        self._channels, self._neighbours, self._splits = list(channels), neighbours, dict(splits)
        self._tree, self._warn = tree, warn
        self._others: Mapping[str, frozenset[int]] = {}
        self._meters: dict[str, int] = {}
        self._uses: dict[Split, Use | None] = {}
        self._asked_s = self._settled_s = 0.0
        self._due = self._begun = False
        self._drawn_uj, self._taken_uj = Counter[str](), Counter[str]()

    def begin(self, now_s: float) -> None:
        """Register this meter, and look for others."""
        self._neighbours.begin()
        self.look(now_s, edge=False)

    def leave(self) -> None:
        """Unregister this meter until the next `begin`: what its counters show meanwhile is not divided."""
        self._neighbours.close()

    def close(self) -> None:
        """Unregister this meter."""
        self._neighbours.close()
        if self._begun:
            self._tree.close()

    def look(self, now_s: float, *, edge: bool) -> None:
        """Look for other meters just before the counters are read at ``now_s``; at an ``edge``, settle all."""
        before, self._others = self._others, self._neighbours.look()
        self._meters = {
            counter: 1 + max(len(others.get(counter, ())) for others in (before, self._others))
            for counter in before.keys() | self._others.keys()
        }
        for channel in self._channels:
            channel.shared = channel.counter in self._meters
        if not self._meters:
            return
        if not before:
            self._start(now_s)
        alone_again = bool(before.keys() - self._others.keys())
        self._due = edge or alone_again or now_s - self._settled_s >= _PACE_S
        if self._due:
            self._settled_s = now_s
            self._ask(now_s)
        if self._due or before != self._others:
            for text in self._reading():
                self._warn(text)

    def settle(self, channel: Channel) -> None:
        """Add this run's part to a channel that has just been read, if it is due."""
        if channel.shared and self._due:
            part = self._part(channel)
            waited_uj = channel.settle(part)
            self._drawn_uj[channel.device] += waited_uj
            self._taken_uj[channel.device] += waited_uj if part is None else round(waited_uj * part)

    def last_word(self) -> str:
        """Return a message on the counted share of shared energy; empty if none was shared."""
        parts = [
            f"{self._taken_uj[device] / drawn_uj:.0%} of what {device} drew"
            for device, drawn_uj in self._drawn_uj.items()
            if drawn_uj
        ]
        return f"while other runs metered it too, this run counts {', '.join(parts)}" if parts else ""

    def _start(self, now_s: float) -> None:
        if not self._begun:
            self._begun = True
            self._tree.begin()
        self._uses, self._asked_s, self._settled_s = {}, now_s, now_s
        self._tree.walk()
        for split in set(self._splits.values()):
            split.begin()

    def _ask(self, now_s: float) -> None:
        if self._uses and now_s - self._asked_s < _MIN_S:
            return
        self._asked_s = now_s
        self._tree.walk()
        self._uses = {split: split.use() for split in set(self._splits.values())}

    def _part(self, channel: Channel) -> float | None:
        split = self._splits.get(channel.device)
        use = self._uses.get(split) if split else None
        if split is None or use is None:
            return None
        return use.part(meters=self._meters[channel.counter], idle_fraction=split.idle_fraction)

    def _reading(self) -> Iterator[str]:
        for channel in self._channels:
            for pid in self._others.get(channel.counter, ()):
                yield f"{channel.device}: process {pid} meters it at the same time; {self._consequence(channel.device)}"

    def _consequence(self, device: str) -> str:
        split = self._splits.get(device)
        trouble = split.trouble if split else "its use by process is unknown"
        if split is None or trouble:
            return f"its shared energy is counted whole by both, and again as their uncertainty: {trouble}"
        return f"its shared energy is divided by {split.by}, an estimate that counts as modelled"
