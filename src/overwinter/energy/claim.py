"""A claim on devices of this machine: shared by work that may run beside other work, alone for a measurement.

Each device has two lock files. A measurement first locks the *turnstile*, through which all others must pass, so that
no one else comes in while it waits for the others to leave; then the device itself (the readers-writers problem with a
turnstile: Downey, The Little Book of Semaphores, 4.2.3). The kernel releases both however the process ends.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterable
from pathlib import Path

_UNSAFE = re.compile(r"[^A-Za-z0-9.-]")


class Claim:
    """One process's claim on some devices. No method waits; each says whether it has reached what it names.

    Devices are locked in the order of their names, so that two claims never wait for each other.

    Args:
        folder: The folder of the lock files.
        devices: The devices' names.

    Raises:
        OSError: the lock files cannot be opened.
    """

    def __init__(self, folder: Path, devices: Iterable[str]) -> None:
        self._devices: list[_Device] = []
        try:
            for name in sorted(set(devices)):
                self._devices.append(_Device(folder, name))
        except OSError:
            self.close()
            raise

    def share(self) -> bool:
        """Take all devices beside others; none while a measurement has or awaits one of them."""
        for place, device in enumerate(self._devices):
            if not device.share():
                for taken in self._devices[:place]:
                    taken.leave()
                return False
        return True

    def is_wanted(self) -> bool:
        """Return whether a measurement awaits one of the devices."""
        return any(device.is_wanted() for device in self._devices)

    def bar(self) -> bool:
        """Keep everyone new away from the devices, once no other measurement does."""
        return all(device.bar() for device in self._devices)

    def empty(self) -> bool:
        """Take all devices alone, once the others have left; after `bar`."""
        return all(device.empty() for device in self._devices)

    def share_again(self) -> None:
        """Share the devices that the claim has alone."""
        for device in self._devices:
            device.share_again()

    def leave(self) -> None:
        """Release everything."""
        for device in self._devices:
            device.leave()

    def close(self) -> None:
        """Release everything and close the lock files."""
        for device in self._devices:
            device.close()
        self._devices = []


class _Device:
    """The lock files of one device, and what this process holds of them."""

    def __init__(self, folder: Path, name: str) -> None:
        safe = _UNSAFE.sub("_", name)
        self._turnstile = _opened(folder / f"{safe}.turnstile")
        try:
            self._use = _opened(folder / f"{safe}.use")
        except OSError:
            os.close(self._turnstile)
            raise
        self._barred = self._alone = False

    def share(self) -> bool:
        if not _lock(self._turnstile, fcntl.LOCK_SH):
            return False
        shared = _lock(self._use, fcntl.LOCK_SH)
        _unlock(self._turnstile)
        return shared

    def is_wanted(self) -> bool:
        if self._barred:
            return False
        free = _lock(self._turnstile, fcntl.LOCK_SH)
        if free:
            _unlock(self._turnstile)
        return not free

    def bar(self) -> bool:
        self._barred = self._barred or _lock(self._turnstile, fcntl.LOCK_EX)
        return self._barred

    def empty(self) -> bool:
        self._alone = self._alone or _lock(self._use, fcntl.LOCK_EX)
        return self._alone

    def share_again(self) -> None:
        _lock(self._use, fcntl.LOCK_SH)  # no one else has it, so this never fails
        _unlock(self._turnstile)
        self._barred = self._alone = False

    def leave(self) -> None:
        _unlock(self._use)
        _unlock(self._turnstile)
        self._barred = self._alone = False

    def close(self) -> None:
        self.leave()  # a forked child may still have the files open
        os.close(self._use)
        os.close(self._turnstile)


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)


def _lock(handle: int, kind: int) -> bool:
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _unlock(handle: int) -> None:
    fcntl.flock(handle, fcntl.LOCK_UN)
