"""One device held by a run: taken, set to the lowest limit among its runs, and restored.

A held device has a slot (`journal`) that other processes can read: the runs that hold it, the limit that each requests,
and the commands that restore the previous one. A setting that ends with this process, such as a duty cycle, has none.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from overwinter.errors import OverwinterError, RefusedError
from overwinter.files import write_error, write_json
from overwinter.power.actuators.interface import Actuator
from overwinter.power.actuators.values import DeniedError, DeviceLostError, LimitError
from overwinter.power.guard.journal import Slot, boot_id
from overwinter.power.guard.restore_commands import perform

_TOLERANCE = 0.5  # watts or megahertz: drivers round to their own steps
_KEPT = 2  # own limits in the journal: a crash may happen between writing one and setting it
_LOCKS: set[int] = set()  # locks that mark this process as alive; a forked child must not keep them


class Holding:
    """One device, held from construction until `release`.

    Args:
        actuator: the actuator that sets its limit.
        device: name of the device.
        slot: slot of the setting; None if the setting ends with this process.
        identity: id of this run.
        share: whether another run may hold the device too.
        watch: called before the first change that outlives this process.
        warn: reports one line to the user.

    Attributes:
        slot: as above.
        previous: the limit to restore, never exceeded.

    Raises:
        RefusedError: another run holds the device.
        DeviceLostError: the device does not respond, or the limit that a killed run has left cannot be restored.
    """

    def __init__(
        self,
        actuator: Actuator,
        device: str,
        *,
        slot: Slot | None,
        identity: str,
        share: bool,
        watch: Callable[[], None],
        warn: Callable[[str], None],
    ) -> None:
        self.slot = slot
        self._actuator, self._device = actuator, device
        self._identity, self._share, self._watch, self._warn = identity, share, watch, warn
        self._wanted: float | None = None  # latest requested limit; None: the previous limit
        self._claimed: float | None = None  # requested limit in the claim that other runs read
        self._reported: set[str] = set()
        self._lock = -1
        with self._locked():
            if slot is not None:
                self._recover(slot)
                self._refuse_taken(slot)
            limits = actuator.limits(device)
            journal = slot.journal() if slot is not None else None
            current = limits.maximum if limits.current is None else limits.current
            self._lowest, self._highest = limits.minimum, limits.maximum
            self.previous = float(journal["previous"]) if journal else current
            if slot is not None:
                self._take(slot)

    def apply(self, value: float | None) -> float:
        """Set a limit; None restores the previous one. See `Guard.apply`."""
        if value is not None:
            self._refuse_impossible(value)
        self._wanted = value
        with self._locked():
            target = self._agreed()
            if target is None:
                self._restore()
            else:
                self._set(target)
        enforced = self._actuator.enforced(self._device)
        if target is not None and enforced > target + max(1.0, _TOLERANCE):
            self._notify(f"was limited to {target:g}, but {enforced:g} is enforced: the cap has no effect")
        return enforced

    def release(self) -> bool:
        """Restore the limit, unless other runs hold the device; return False if that failed."""
        try:
            with self._locked():
                if self.slot is None or not self.slot.living(but=self._identity):
                    self._restore()
                if self.slot is not None:
                    self.slot.leave(self._identity)
        except (OSError, OverwinterError) as error:
            self._warn(f"{self._device} could not be restored to {self.previous:g}: {error}")
            return False
        finally:
            _closed(self._lock)
        return True

    # Taking.

    def _recover(self, slot: Slot) -> None:
        """Restore the limit that a killed run has left, if no other run holds the device."""
        if slot.living() or slot.journal() is None:
            return
        try:
            notes = slot.restore(perform)
        except OSError as error:
            raise DeviceLostError(
                f"A killed run has left a limit that cannot be restored: {error}.\n"
                f"Restore it by hand, then remove its journal: {slot.journal_path}"
            ) from None
        for note in notes or [f"{Path(slot.folder).name}: restored the limit that a killed run had left"]:
            self._warn(note)

    def _refuse_taken(self, slot: Slot) -> None:
        others = slot.living()
        unwilling = [other for other in others if not other.get("share")] or ([] if self._share else others)
        if unwilling:
            raise RefusedError(
                f"{self._device} is held by process {unwilling[0].get('pid')} ({unwilling[0].get('command')}).\n"
                "Wait for it, or set power.share_device=share for both runs: then the lowest limit holds."
            )

    def _take(self, slot: Slot) -> None:
        self._lock = slot.hold(self._identity)
        _LOCKS.add(self._lock)
        self._claim(slot, None)

    def _claim(self, slot: Slot, want: float | None) -> None:
        content = {"pid": os.getpid(), "command": _command(), "share": self._share, "want": want}
        write_json(Path(slot.claim_path(self._identity)), content, mode=0o600)
        self._claimed = want

    # Agreeing.

    def _refuse_impossible(self, value: float) -> None:
        low, high = self._lowest - _TOLERANCE, self._highest + _TOLERANCE
        if not (isinstance(value, (int, float)) and math.isfinite(value) and low <= value <= high):
            raise LimitError(
                f"{self._device} supports no limit of {value}: its range is {self._lowest:g} to {self._highest:g}."
            )

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Lock the slot against other runs."""
        if self.slot is None:
            yield
            return
        try:
            with self.slot.mutex():
                yield
        except OSError as error:
            raise write_error(Path(self.slot.folder), error) from error

    def _agreed(self) -> float | None:
        """Return the lowest limit that the device's runs request, at most the operator's; None: no requests."""
        wants = [] if self._wanted is None else [self._wanted]
        if self.slot is not None:
            if self._wanted != self._claimed:
                self._claim(self.slot, self._wanted)
            self._honour_operator(self.slot)
            wants += [other["want"] for other in self.slot.living(but=self._identity) if other.get("want") is not None]
        if not wants:
            return None
        if min(wants) > self.previous + _TOLERANCE:
            self._notify(f"was not raised to {min(wants):g}: an operator allows {self.previous:g}")
        return min(*wants, self.previous)

    def _honour_operator(self, slot: Slot) -> None:
        """Treat a limit that no run has set as an operator's: it is the one to restore from now on."""
        journal, current = slot.journal(), self._actuator.limits(self._device).current
        if current is None:
            return
        if journal is None:
            self.previous = current
            return
        self.previous = float(journal["previous"])
        known = [*journal["ours"], journal["previous"]]
        if not any(abs(current - each) <= _TOLERANCE for each in known):
            self._notify(f"was set to {current:g} by another process; that limit holds from now on")
            self.previous = current
            slot.forget()

    # Setting and restoring.

    def _set(self, target: float) -> None:
        if self.slot is None:
            self._actuator.apply(self._device, target)
            return
        self._watch()  # also if another run has set the limit: it may end before this one
        journal = self.slot.journal()
        ours = list(journal["ours"]) if journal else []
        if ours and ours[-1] == target and self._is_set(target):
            return
        self._write_journal(self.slot, journal, [*ours, target][-_KEPT:])
        try:
            self._actuator.apply(self._device, target)
        except DeniedError:
            if journal is None:
                self.slot.forget()
            raise

    def _is_set(self, target: float) -> bool:
        current = self._actuator.limits(self._device).current
        return current is None or abs(current - target) <= _TOLERANCE

    def _write_journal(self, slot: Slot, journal: dict[str, Any] | None, ours: list[float]) -> None:
        snapshot = journal["snapshot"] if journal else dict(self._actuator.snapshot(self._device))
        content = {
            "schema": 1,
            "device": self._device,
            "actuator": self._actuator.name,
            "boot_id": boot_id(),
            "previous": self.previous,
            "ours": ours,
            "snapshot": snapshot,
            "commands": self._actuator.commands(self._device, snapshot, ours),
        }
        write_json(Path(slot.journal_path), content, mode=0o600)

    def _restore(self) -> None:
        if self.slot is None:
            self._actuator.apply(self._device, self.previous)
            return
        try:
            for note in self.slot.restore(perform):
                self._warn(note)
        except OSError as error:
            raise DeviceLostError(f"{self._device} cannot be restored: {error}.") from None

    def _notify(self, text: str) -> None:
        if text not in self._reported:
            self._reported.add(text)
            self._warn(f"{self._device} {text}")


def _closed(handle: int) -> None:
    if handle in _LOCKS:
        _LOCKS.discard(handle)
        os.close(handle)


def _close_all() -> None:
    for handle in list(_LOCKS):
        _closed(handle)


os.register_at_fork(after_in_child=_close_all)


def _command() -> str:
    try:
        words = Path("/proc/self/cmdline").read_bytes().split(b"\0")
    except OSError:
        return "unknown"
    return b" ".join(words[:3]).decode(errors="replace")[:120]
