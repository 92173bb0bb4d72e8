"""The meter: channels read by one sampler thread, and windows, which may nest, overlap and be read while open."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Self

from overwinter.energy.channel import Channel
from overwinter.energy.clocks import SuspendWatch
from overwinter.energy.cross_check import CrossCheck
from overwinter.energy.cuda import synchronize
from overwinter.energy.notices import Notices
from overwinter.energy.report import Draw, EnergyReport, build_report
from overwinter.energy.sampler import Sampler
from overwinter.energy.samples import PowerSample, SampleLog
from overwinter.energy.sharing import Sharing

_MIN_INTERVAL_S = 0.005
_LOCK_PATIENCE_S = 5.0

Mark = dict[tuple[str, str], tuple[int, int]]
"""(device, source) -> (energy, doubt) in microjoules since the meter's start."""


class Window:
    """A metered period of time, made by `EnergyMeter.window`; it starts at once."""

    def __init__(self, meter: EnergyMeter, name: str, *, start_s: float, mark: Mark) -> None:
        self.name, self.start_s, self.mark = name, start_s, mark
        self._meter = meter
        self.left_out_s = 0.0
        self._peaks_w: dict[str, float] = {}
        self._report: EnergyReport | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def read(self) -> EnergyReport:
        """Return the report so far; cheap, and without waiting for CUDA."""
        return self._report or self._meter.report(self, edge=False)

    def close(self) -> EnergyReport:
        """End the window and return its report; closing again returns the same report."""
        if self._report is None:
            self._report = self._meter.end(self)
        return self._report

    def leave_out(self, duration_s: float, drawn: Mark) -> None:
        """Leave a time and the energy drawn in it out of the window; called by the meter."""
        self.left_out_s += duration_s
        for key, (energy_uj, doubt_uj) in drawn.items():
            before_uj, doubt_before_uj = self.mark.get(key, (0, 0))
            self.mark[key] = before_uj + energy_uj, doubt_before_uj + doubt_uj

    def note_peaks(self, powers_w: Iterable[tuple[str, float]]) -> None:
        """Update the peaks from the sampler's powers."""
        for device, power_w in powers_w:
            self._peaks_w[device] = max(power_w, self.peak_w(device))

    def peak_w(self, device: str) -> float:
        """Return the highest sampled power so far."""
        return self._peaks_w.get(device, 0.0)


class EnergyMeter:
    """Meters energy from `start` (or `with`) to `close`. A device's failure is a warning, not an exception.

    Made by `open_meter`. All methods may be called from any thread.

    Args:
        channels: The channels, one per device.
        interval_s: The interval between two samples of power.
        idle_probe_s: Seconds of idling measured at the start, if the idle power of a counted device is unknown.
        head_s: Seconds before the start that the whole report also covers.
        closers: Functions called at the end.
        last_words: Functions called at the end that return a warning, which may be empty.
        sharing: The division of counters that other meters read too.
        cross_check: A second meter.
        notices: The sources' warnings.
        clock: A monotonic clock in seconds.
        watch: The detection of a suspended machine.
    """

    def __init__(
        self,
        channels: Sequence[Channel],
        *,
        interval_s: float,
        idle_probe_s: float = 0.0,
        head_s: float = 0.0,
        closers: Iterable[Callable[[], None]] = (),
        last_words: Iterable[Callable[[], str]] = (),
        sharing: Sharing | None = None,
        cross_check: CrossCheck | None = None,
        notices: Notices | None = None,
        clock: Callable[[], float] = time.monotonic,
        watch: SuspendWatch | None = None,
    ) -> None:
        self._channels = list(channels)
        self._interval_s, self._idle_probe_s, self._head_s = interval_s, idle_probe_s, head_s
        self._closers, self._last_words, self._cross_check = list(closers), list(last_words), cross_check
        self._sharing = sharing
        self._clock, self._watch = clock, watch or SuspendWatch()
        self._lock = threading.RLock()
        self._hung = False
        self._windows: list[Window] = []
        self._notices = notices or Notices(clock)
        self._log = SampleLog()
        self._sampler: Sampler | None = None
        self._start_s = self._now_s = 0.0
        self._whole = Window(self, "whole", start_s=0.0, mark={})
        self._check_window: Window | None = None
        self._closed = self._paused = False

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> Self:
        """Start counting and the sampler, and measure the idle baseline if configured."""
        self._notices.begin()
        self._start_s = self._now_s = self._clock()
        if self._sharing:
            self._sharing.begin(self._start_s)
        for channel in self._channels:
            channel.start(self._start_s)
        self._whole = Window(self, "whole", start_s=self._start_s - self._head_s, mark={})
        self._windows.append(self._whole)
        fastest_s = min((channel.max_interval_s for channel in self._channels), default=self._interval_s)
        self._sampler = Sampler(self.tick, max(_MIN_INTERVAL_S, min(self._interval_s, fastest_s)))
        self._sampler.start()
        self._probe_idle()
        if self._cross_check:
            self._cross_check.start(self._notices.add)
            self._check_window = self.window("cross-check")
        return self

    def window(self, name: str) -> Window:
        """Start a window. Windows may nest and overlap."""
        synchronize()
        self._advance(edge=True)
        with self._held():
            window = Window(self, name, start_s=self._now_s, mark=self._mark())
            self._windows.append(window)
        return window

    def read(self) -> EnergyReport:
        """Return the report since the start; cheap, and without waiting for CUDA."""
        return self._whole.read()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the time and the energy of the work inside out of all windows; other meters find this one gone.

        It is for waiting while another run measures: that run's figures then include the whole device, undivided.
        """
        self._advance(edge=True)
        with self._held():
            begin_s, before = self._now_s, self._mark()
            self._paused = True
            if self._sharing:
                self._sharing.leave()
        try:
            yield
        finally:
            self._resume(begin_s, before)

    def _resume(self, begin_s: float, before: Mark) -> None:
        with self._held():
            self._paused = False
            self._advance(edge=True)
            for channel in self._channels:
                channel.sample(self._now_s)  # the next sample of power begins here
            drawn = {
                key: (energy_uj - before.get(key, (0, 0))[0], doubt_uj - before.get(key, (0, 0))[1])
                for key, (energy_uj, doubt_uj) in self._mark().items()
            }
            for window in self._windows:
                window.leave_out(self._now_s - begin_s, drawn)
            if self._sharing:
                self._sharing.begin(self._now_s)

    def close(self) -> EnergyReport:
        """Stop, and return the report since the start; closing again returns the same report."""
        if self._closed:
            return self._whole.close()
        self._closed = True
        if self._cross_check and self._check_window:
            self._cross_check.stop(self._check_window.close(), self._notices.add)
        self._ask_last_words()
        report = self._whole.close()
        for window in list(self._windows):
            window.close()
        self._stop()
        return report

    @property
    def samples(self) -> tuple[PowerSample, ...]:
        """Return the power over time since the start; the step grows in a long run."""
        with self._held():
            return self._log.all()

    def tick(self) -> None:
        """Take one sample of every device; called by the sampler thread."""
        if self._paused:
            return
        self._advance(edge=False)
        with self._held():
            powers = [(channel.device, sample) for channel in self._channels if (sample := channel.sample(self._now_s))]
            since_s = self._now_s - self._start_s
            self._log.add(
                tuple(
                    PowerSample(time_s=since_s, device=d, power_w=power, limit_w=limit) for d, (power, limit) in powers
                )
            )
            for window in self._windows:
                window.note_peaks((device, power_w) for device, (power_w, _) in powers)
        self._notice_suspension()

    def report(self, window: Window, *, edge: bool) -> EnergyReport:
        """Return the report of ``window`` so far; called by windows."""
        self._advance(edge=edge)
        with self._held():
            return build_report(
                name=window.name,
                duration_s=self._now_s - window.start_s - window.left_out_s,
                draws=[draw for channel in self._channels for draw in _draws(channel, window)],
                idle_w=self._idle_w(window.start_s),
                warnings=self._notices.since(window.start_s),
            )

    def end(self, window: Window) -> EnergyReport:
        """Return the final report of ``window``, and remove it; called by windows."""
        synchronize()
        report = self.report(window, edge=True)
        with self._held():
            if window in self._windows:  # another thread may have closed it at the same time
                self._windows.remove(window)
        return report

    def _advance(self, *, edge: bool) -> None:
        with self._held() as held:
            if not held or self._paused or (self._sampler is not None and self._sampler.stopped):
                return
            now_s = self._clock()
            if self._sharing:
                self._sharing.look(now_s, edge=edge)
            for channel in self._channels:
                channel.advance(now_s, edge=edge)
                if self._sharing:
                    self._sharing.settle(channel)
            self._now_s = now_s

    @contextlib.contextmanager
    def _held(self) -> Iterator[bool]:
        """Take the lock, unless a driver call hangs in the thread that holds it: the work must continue."""
        held = self._lock.acquire(timeout=0.0 if self._hung else _LOCK_PATIENCE_S)
        if not held and not self._hung:
            self._hung = True
            self._notices.add("a meter's driver does not respond; later figures are incomplete")
        try:
            yield held
        finally:
            if held:
                self._hung = False
                self._lock.release()

    def _mark(self) -> Mark:
        return {
            (c.device, total.source): (total.energy_uj, total.doubt_uj) for c in self._channels for total in c.totals
        }

    def _idle_w(self, since_s: float) -> dict[str, float]:
        """Return idle powers by device, without devices that other runs have used too since ``since_s``."""
        return {c.device: c.idle_w for c in self._channels if c.idle_w is not None and c.shared_s <= since_s}

    def _probe_idle(self) -> None:
        """Measure the idle power of counted devices without a configured one."""
        unknown = [channel for channel in self._channels if channel.idle_w is None and channel.measured]
        if not unknown or self._idle_probe_s <= 0:
            return
        with self.window("idle probe") as probe:
            time.sleep(self._idle_probe_s)
        report = probe.close()
        for channel in [channel for channel in unknown if channel.shared_s <= probe.start_s]:
            channel.idle_w = sum(part.average_w for part in report.components if part.device == channel.device)

    def _notice_suspension(self) -> None:
        gone_s = self._watch.newly_suspended_s()
        if gone_s:
            self._notices.add(f"the machine was suspended for {gone_s:.0f} s, which count neither as time nor energy")

    def _ask_last_words(self) -> None:
        for ask in self._last_words:
            with contextlib.suppress(OSError):
                if text := ask():
                    self._notices.add(text)

    def _stop(self) -> None:
        if self._sampler:
            self._sampler.stop()
        if self._sharing:
            self._sharing.close()
        if self._hung:
            return  # the driver would hang here too
        for close in self._closers:
            with contextlib.suppress(Exception):  # a failure to close a driver must not stop the work
                close()


def _draws(channel: Channel, window: Window) -> Iterator[Draw]:
    """Yield the energy of ``channel`` in ``window``, by source."""
    for total in list(channel.totals):
        before_uj, doubt_before_uj = window.mark.get((channel.device, total.source), (0, 0))
        energy_uj, doubt_uj = total.energy_uj - before_uj, total.doubt_uj - doubt_before_uj
        if energy_uj or doubt_uj or total.source == channel.source:
            yield Draw(
                device=channel.device,
                source=total.source,
                energy_uj=energy_uj,
                doubt_uj=doubt_uj,
                relative_uncertainty=total.relative_uncertainty,
                edge_s=total.edge_s,
                power_w=channel.power_w,
                peak_w=window.peak_w(channel.device),
            )
