"""The energy sources by name: built in, or entry points in `overwinter.energy_sources`."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from overwinter.energy.channel import Channel
from overwinter.energy.opening import Opening
from overwinter.registries import ENERGY_SOURCES

Source = Callable[[Opening], list[Channel]]

_CONTAINS = {"machine": {"platform", "cpu", "ram", "gpu"}, "platform": {"cpu", "ram"}}
_MANY = {"gpu"}  # several sources may each have some of them


def open_channels(opening: Opening) -> list[Channel]:
    """Open the configured sources in order; no part of the machine is counted twice.

    A part that an earlier source measures is not opened by a later one, nor anything that includes it or is part of
    it. A later source's measurement replaces an earlier one's assumption.
    """
    channels: list[Channel] = []
    for name in opening.energy.sources:
        found = [each for each in _opened(name, opening) if not _taken(each, channels)]
        measured = [each for each in found if each.measured]
        channels = [each for each in channels if each.measured or not _taken(each, measured)] + found
        opening.covered = _parts(channels)
        opening.measured = _parts(each for each in channels if each.measured)
    return channels


def _taken(channel: Channel, channels: Iterable[Channel]) -> bool:
    """Return whether other channels already count this channel's part, at least as well."""
    rivals = (each for each in channels if each.measured or not channel.measured)
    return any(_overlap(_kind(channel), _kind(each)) for each in rivals)


def _overlap(one: str, other: str) -> bool:
    if one == other:
        return one not in _MANY
    return other in _CONTAINS.get(one, ()) or one in _CONTAINS.get(other, ())


def _parts(channels: Iterable[Channel]) -> set[str]:
    kinds = {_kind(each) for each in channels}
    return kinds.union(*(_CONTAINS.get(kind, set()) for kind in kinds))


def _kind(channel: Channel) -> str:
    return channel.device.split(":")[0]


def _opened(name: str, opening: Opening) -> list[Channel]:
    source: Source = ENERGY_SOURCES.find(name)
    try:
        return source(opening)
    except Exception as error:  # noqa: BLE001 -- trouble with a meter must not stop the work
        opening.warn(f"{name} could not be opened ({type(error).__name__}: {error}); the next source is used instead")
        return []
