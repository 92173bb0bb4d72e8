"""`open_meter`: opening a meter from the configuration."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from overwinter.energy.channel import Channel
from overwinter.energy.cpu_share import CpuShare
from overwinter.energy.cpu_time import cpu_time_of
from overwinter.energy.cross_check import open_cross_check
from overwinter.energy.gpu_share import GpuShare
from overwinter.energy.meter import EnergyMeter
from overwinter.energy.metering import meter_settings
from overwinter.energy.neighbours import Neighbours
from overwinter.energy.notices import Notices
from overwinter.energy.opening import Opening
from overwinter.energy.processes import process_age_s
from overwinter.energy.ranks import local_rank
from overwinter.energy.sharing import Sharing
from overwinter.energy.sources import open_channels
from overwinter.energy.split import Split
from overwinter.errors import ConfigError

if TYPE_CHECKING:
    from overwinter.config.groups.energy import EnergyConfig, HardwareConfig

_CPU_DOMAINS = ("cpu", "ram", "platform", "machine")


def open_meter(
    energy: EnergyConfig | None = None,
    hardware: HardwareConfig | None = None,
    *,
    since_process_start: bool = False,
    waited_s: float = 0.0,
    own_process: bool = True,
    adopts_orphans: bool = False,
) -> EnergyMeter:
    """Open a meter on this machine; it starts with `start` or `with`.

    On a node with several ranks, local rank 0 meters for all of them, and the other meters stay empty.

    Args:
        energy: The group `energy/`; by default, that of the project around the current folder, or the package's.
        hardware: The group `hardware/`; the same by default.
        since_process_start: Whether modelled energy counts from the start of this process, including imports.
        waited_s: Seconds since the start of this process in which it waited for other runs, which do not count.
        own_process: Whether this process's own CPU time and memory count in modelled energy.
        adopts_orphans: Whether this process waits for all its children, so that orphans of its command can be made
            its children.

    Raises:
        ConfigError: a source's name is unknown, or no source can be read on this machine.
    """
    if energy is None or hardware is None:
        usual_energy, usual_hardware = meter_settings()
        energy, hardware = energy or usual_energy, hardware or usual_hardware
    notices = Notices()
    head_s = max(0.0, process_age_s() - waited_s) if since_process_start else None
    opening = Opening(
        energy=energy,
        hardware=hardware,
        warn=notices.add,
        own_process=own_process,
        adopts_orphans=adopts_orphans,
        head_s=head_s,
    )
    rank = local_rank(os.environ)
    if rank:
        notices.add(f"local rank {rank}: local rank 0 meters for this node")
        return EnergyMeter([], interval_s=energy.sample_interval_s, notices=notices)
    channels = open_channels(opening)
    if not channels:
        raise ConfigError(
            f"energy.sources={list(energy.sources)}: none of these works on this machine. Add 'modelled'."
        )
    for channel in channels:
        channel.idle_w = hardware.idle_w.get(channel.device, channel.idle_w)
    sharing = _sharing(channels, opening, notices)
    return EnergyMeter(
        channels,
        interval_s=energy.sample_interval_s,
        idle_probe_s=energy.idle_probe_s,
        head_s=head_s or 0.0,
        closers=opening.closers,
        last_words=opening.last_words,
        sharing=sharing,
        cross_check=open_cross_check(energy),
        notices=notices,
    )


def _sharing(channels: Sequence[Channel], opening: Opening, notices: Notices) -> Sharing:
    """Return the division of counters that other runs read too."""
    measured = [channel for channel in channels if channel.measured]
    tree = cpu_time_of(opening)
    cpu = CpuShare(tree, idle_fraction=opening.hardware.cpu_idle_fraction)
    splits: dict[str, Split] = {}
    for channel in measured:
        if channel.device.split(":")[0] in _CPU_DOMAINS:
            splits[channel.device] = cpu
        elif channel.source.startswith("nvml"):
            splits[channel.device] = GpuShare(channel.counter, tree.processes)
    neighbours = Neighbours([channel.counter for channel in measured])
    sharing = Sharing(measured, neighbours, splits=splits, tree=tree, warn=notices.renew)
    opening.last_words.append(sharing.last_word)
    return sharing
