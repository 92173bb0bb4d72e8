"""The guard: whatever an actuator changes is put back, however the run ends.

- Before the first change the previous state is journalled (`journal`), flushed to the disk, and a watchdog
  process started (`watchdog`), which puts it back after SIGKILL. Normal exit, exceptions, SIGINT and SIGTERM
  restore in this process; a signal that ends it at once is the watchdog's again.
- If both were killed, the next run on the device, or `overwinter power status --restore`, restores; after a
  restart of the machine the driver has done so, and the journal is dropped.
- A limit that an operator has set is never raised: not above what was found at the start, nor above what
  somebody else sets meanwhile; and that is what is put back then.
- Two runs on one device: the second is refused, or both share it (`power.share_device`), and the lowest
  limit holds.
"""

from __future__ import annotations

import atexit
import contextlib
import math
import os
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from overwinter.errors import ConfigError, OverwinterError, RefusedError
from overwinter.files import write_error, write_json
from overwinter.power.actuators.interface import Actuator
from overwinter.power.actuators.values import DeniedError, DeviceLostError, LimitError
from overwinter.power.journal import Slot, boot_id
from overwinter.power.journal_commands import perform
from overwinter.power.watchdog_process import Watchdog

STATE_VARIABLE = "OVERWINTER_POWER_STATE"
_PATIENCE_S = 5.0
_TOLERANCE = 0.5  # watts or megahertz: drivers round to their own steps
_KEPT = 2  # of our own settings: a crash may come between journalling one and setting it
_LOCKS: set[int] = set()  # that say that this process is alive; a forked child must not keep them


@dataclass
class _Held:
    """One device in our hands.

    Attributes:
        slot: its folder; None where nothing outlives this process.
        lock: the handle that says that we are alive.
        minimum: the lowest limit it takes.
        maximum: the highest.
        previous: the limit to go back to, never exceeded.
        wanted: what was asked for last; None: nothing of ours is set.
        claimed: what of it other runs can read.
        told: what was said about it.
    """

    slot: Slot | None
    lock: int
    minimum: float
    maximum: float
    previous: float
    wanted: float | None = None
    claimed: float | None = None
    told: set[str] = field(default_factory=set)


class Guard:
    """Sets limits on all devices of an actuator and puts them back; a context manager.

    Args:
        actuator: what sets them.
        state: folder for journals, the same for every run on this machine; `state_folder()` by default.
        share: whether another run may share a device with this one.
        warn: takes one line for a person.
    """

    def __init__(
        self,
        actuator: Actuator,
        *,
        warn: Callable[[str], None],
        state: Path | None = None,
        share: bool = False,
    ) -> None:
        self.actuator = actuator
        self._state, self._share, self._warn = state, share, warn
        self._identity = f"{os.getpid()}-{uuid.uuid4().hex[:12]}"
        self._held: dict[str, _Held] = {}
        self._watchdog: Watchdog | None = None
        self._mutex = threading.RLock()
        self._pid, self._closed = os.getpid(), False

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def open(self) -> Self:
        """Take the devices, and restore what a killed run has left on them. Changes nothing else.

        Raises:
            RefusedError: another run holds one of them.
            DeviceLostError: one does not answer.
        """
        atexit.register(self.close)
        try:
            for device in self.actuator.devices():
                self._held[device] = self._take(device)
        except BaseException:
            self.close()
            raise
        return self

    def previous(self, device: str) -> float:
        """Return the limit to which the device goes back, and above which it is never set."""
        return self._held[device].previous

    def apply(self, device: str, value: float | None) -> float:
        """Set a limit; None gives the previous one back.

        Returns:
            what is enforced, read back.

        Raises:
            LimitError: not a number, or outside the device's range; the limit stays as it was.
            DeniedError: this process may not set it.
            DeviceLostError: the device does not answer.
        """
        with self._mutex:
            held = self._held[device]
            if value is not None:
                self._refuse_impossible(device, value)
            held.wanted = value
            with self._within(held):
                target = self._agreed(device, held)
                if target is None:
                    self._give_back(device, held)
                else:
                    self._set(device, held, target)
            enforced = self.actuator.enforced(device)
            if target is not None and enforced > target + max(1.0, _TOLERANCE):
                self._tell(device, f"was limited to {target:g}, and {enforced:g} is enforced: the cap does not hold")
            return enforced

    def close(self) -> None:
        """Put everything back, let the devices go and close the actuator.

        Does nothing in a forked child, or a second time.
        """
        if os.getpid() != self._pid or self._closed:
            return
        if not self._mutex.acquire(timeout=_PATIENCE_S):
            self._warn("A driver hangs; the limits will be put back when this process has ended.")
            return  # the watchdog, which nobody has dismissed, does it
        try:
            self._closed = True
            kept = [device for device, held in self._held.items() if not self._let_go(device, held)]
            if self._watchdog is not None:
                (self._watchdog.leave if kept else self._watchdog.dismiss)()
            self.actuator.close()
            atexit.unregister(self.close)
        finally:
            self._mutex.release()

    # Taking.

    def _take(self, device: str) -> _Held:
        key = self.actuator.key(device)
        slot = None if key is None else Slot(str(_made(self._folder() / key)))
        lock = -1
        if slot is not None:
            with slot.mutex():
                self._recover(slot)
                self._refuse_taken(device, slot)
                lock = slot.hold(self._identity)
                _LOCKS.add(lock)
                self._claim(slot, None)
                return self._described(device, slot, lock)
        return self._described(device, None, -1)

    def _described(self, device: str, slot: Slot | None, lock: int) -> _Held:
        limits = self.actuator.limits(device)
        journal = slot.journal() if slot is not None else None
        current = limits.maximum if limits.current is None else limits.current
        return _Held(
            slot=slot,
            lock=lock,
            minimum=limits.minimum,
            maximum=limits.maximum,
            previous=float(journal["previous"]) if journal else current,
        )

    def _recover(self, slot: Slot) -> None:
        """Restore what a killed run has left, if nobody else holds the device."""
        if slot.living() or slot.journal() is None:
            return
        try:
            notes = slot.restore(perform)
        except OSError as error:
            raise DeviceLostError(
                f"A killed run has left a limit that cannot be put back: {error}.\n"
                f"Put it back by hand, then remove its journal: {slot.journal_path}"
            ) from None
        for note in notes or [f"{Path(slot.folder).name}: a killed run had left its limit; it was put back"]:
            self._warn(note)

    def _refuse_taken(self, device: str, slot: Slot) -> None:
        others = slot.living()
        unwilling = [other for other in others if not other.get("share")] or ([] if self._share else others)
        if unwilling:
            raise RefusedError(
                f"{device} is held by process {unwilling[0].get('pid')} ({unwilling[0].get('command')}).\n"
                "Wait for it, or set power.share_device=share for both: then the lowest limit holds."
            )

    def _folder(self) -> Path:
        if self._state is None:
            self._state = state_folder()
        return self._state

    # Setting.

    def _refuse_impossible(self, device: str, value: float) -> None:
        held = self._held[device]
        low, high = held.minimum - _TOLERANCE, held.maximum + _TOLERANCE
        if not (isinstance(value, (int, float)) and math.isfinite(value) and low <= value <= high):
            raise LimitError(f"{device} takes no limit of {value}: it takes {held.minimum:g} to {held.maximum:g}.")

    @contextlib.contextmanager
    def _within(self, held: _Held) -> Iterator[None]:
        if held.slot is None:
            yield
            return
        try:
            with held.slot.mutex():
                yield
        except OSError as error:
            raise write_error(Path(held.slot.folder), error) from error

    def _agreed(self, device: str, held: _Held) -> float | None:
        """The lowest that the device's runs want, at most what an operator allows; None: none wants any."""
        wants = [] if held.wanted is None else [held.wanted]
        if held.slot is not None:
            if held.wanted != held.claimed:
                self._claim(held.slot, held.wanted)
                held.claimed = held.wanted
            self._heed_operator(device, held)
            wants += [other["want"] for other in held.slot.living(but=self._identity) if other.get("want") is not None]
        if not wants:
            return None
        if min(wants) > held.previous + _TOLERANCE:
            self._tell(device, f"was not raised to {min(wants):g}: an operator allows {held.previous:g}")
        return min(*wants, held.previous)

    def _heed_operator(self, device: str, held: _Held) -> None:
        """Take a limit that is not ours for an operator's: it is the one to go back to from now on."""
        assert held.slot is not None  # noqa: S101 -- for the type checker; the caller has looked
        journal = held.slot.journal()
        current = self.actuator.limits(device).current
        if current is None:
            return
        if journal is None:
            held.previous = current
            return
        held.previous = float(journal["previous"])
        known = [*journal["ours"], journal["previous"]]
        if not any(abs(current - each) <= _TOLERANCE for each in known):
            self._tell(device, f"was set to {current:g} by somebody else, which holds from now on")
            held.previous = current
            held.slot.forget()

    def _set(self, device: str, held: _Held, target: float) -> None:
        if held.slot is None:
            self.actuator.apply(device, target)
            return
        if self._watchdog is None:  # also where another run has set the limit: it may end before this one
            self._watchdog = Watchdog(self._identity, [each.slot.folder for each in self._held.values() if each.slot])
        journal = held.slot.journal()
        ours = list(journal["ours"]) if journal else []
        if ours and ours[-1] == target and self._is_set(device, target):
            return
        self._write_journal(device, held, journal, [*ours, target][-_KEPT:])
        try:
            self.actuator.apply(device, target)
        except DeniedError:
            if journal is None:
                held.slot.forget()
            raise

    def _is_set(self, device: str, target: float) -> bool:
        current = self.actuator.limits(device).current
        return current is None or abs(current - target) <= _TOLERANCE

    def _write_journal(self, device: str, held: _Held, journal: dict[str, Any] | None, ours: list[float]) -> None:
        assert held.slot is not None  # noqa: S101 -- as above
        snapshot = journal["snapshot"] if journal else dict(self.actuator.snapshot(device))
        content = {
            "schema": 1,
            "device": device,
            "actuator": self.actuator.name,
            "boot_id": boot_id(),
            "previous": held.previous,
            "ours": ours,
            "snapshot": snapshot,
            "commands": self.actuator.commands(device, snapshot, ours),
        }
        write_json(Path(held.slot.journal_path), content, mode=0o600)

    def _claim(self, slot: Slot, want: float | None) -> None:
        content = {"pid": os.getpid(), "command": _command(), "share": self._share, "want": want}
        write_json(Path(slot.claim_path(self._identity)), content, mode=0o600)

    # Putting back.

    def _give_back(self, device: str, held: _Held) -> None:
        if held.slot is None:
            self.actuator.apply(device, held.previous)
            return
        try:
            for note in held.slot.restore(perform):
                self._warn(note)
        except OSError as error:
            raise DeviceLostError(f"{device} cannot be put back: {error}.") from None

    def _let_go(self, device: str, held: _Held) -> bool:
        """Put one device back, unless others hold it; return whether nothing is left to do."""
        try:
            if held.slot is None:
                self.actuator.apply(device, held.previous)
                return True
            with held.slot.mutex():
                if not held.slot.living(but=self._identity):
                    self._give_back(device, held)
                held.slot.leave(self._identity)
        except (OSError, OverwinterError) as error:
            self._warn(f"{device} could not be put back to {held.previous:g}: {error}")
            return False
        finally:
            _closed(held.lock)
        return True

    def _tell(self, device: str, text: str) -> None:
        told = self._held[device].told
        if text not in told:
            told.add(text)
            self._warn(f"{device} {text}")


def state_folder() -> Path:
    """Return where journals and locks of this machine's devices are.

    `OVERWINTER_POWER_STATE`, where it is set: containers that share a GPU mount one folder there. Else
    /run/overwinter/power for root, and the user's own runtime folder for everybody else.

    Raises:
        ConfigError: others could write there, and what a journal says is done with our rights.
    """
    return _checked(_made(_state_path()))


def known_state_folder() -> Path | None:
    """Return the folder of `state_folder`, if some run has made it; makes nothing."""
    folder = _state_path()
    return _checked(folder) if folder.is_dir() else None


def _checked(folder: Path) -> Path:
    told = folder.stat()
    if told.st_uid != os.geteuid() or told.st_mode & 0o022:
        raise ConfigError(
            f"{folder} must belong to this user, and be writable by nobody else.\n"
            f"Run `chmod 700 {folder}`, or set {STATE_VARIABLE}."
        )
    return folder


def _state_path() -> Path:
    configured = os.environ.get(STATE_VARIABLE)
    return Path(configured).absolute() if configured else _default_state()


def _default_state() -> Path:
    if os.geteuid() == 0 and os.access("/run", os.W_OK):
        return Path("/run/overwinter/power")
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return (
        Path(runtime, "overwinter/power")
        if runtime
        else Path(tempfile.gettempdir(), f"overwinter-{os.geteuid()}-power")
    )


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(folder, error) from error
    return folder


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
