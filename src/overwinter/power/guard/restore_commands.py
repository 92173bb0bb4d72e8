"""Commands that restore a setting, one function per kind of command in a journal.

The guard runs them in the work's own process, the watchdog after a kill, and the next run if both were killed: every
exit restores in the same way. Standard library only, because the watchdog starts in milliseconds and imports
nothing else.

A command is a JSON object with its ``kind`` and:

- ``nvml_limit``: ``uuid``, ``limit_mw`` (the previous limit), ``ours_mw`` (the limits that runs have set);
- ``nvml_clocks``: ``uuid``; unlocks the clocks, since NVML does not report previous locks;
- ``file``: ``path``, ``limit_uw``, ``ours_mw``; a file with microwatts, as in the powercap tree;
- ``zeusd``: ``socket``, ``gpu_id``, ``limit_mw``, ``ours_mw``;
- ``program``: ``argv``, for third parties' actuators.

A current limit that is not in ``ours_mw`` was set by another process in the meantime, and is kept.
"""

# ruff: noqa: PTH123 -- pathlib doubles the watchdog's start

from __future__ import annotations

import ctypes
import json
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    Command = dict[str, Any]

_TOLERANCE_MW = 500  # drivers and RAPL round a limit to their own steps
_ZEUSD_TIMEOUT_S = 1.0
_PROGRAM_TIMEOUT_S = 2.0
_UUID_LENGTH = 96


def perform(command: Command) -> str | None:
    """Restore one setting.

    Returns:
        A note if the setting was kept, else None.

    Raises:
        OSError: the setting could not be restored.
    """
    kind = str(command.get("kind"))
    if kind not in _KINDS:
        raise OSError(f"unknown kind of command in a journal: {kind!r}")
    try:
        return _KINDS[kind](command)
    except (AttributeError, LookupError, TypeError, ValueError) as error:  # a corrupt file, or an old library
        raise OSError(f"{kind} cannot be restored: {error!r}") from error


def _nvml_limit(command: Command) -> str | None:
    library, device = _nvml_device(command["uuid"])
    now_mw = ctypes.c_uint()
    _check(library, library.nvmlDeviceGetPowerManagementLimit(device, ctypes.byref(now_mw)))
    if (note := _kept_note(command["uuid"], now_mw.value, command["limit_mw"], command["ours_mw"])) is not None:
        return note or None
    _check(library, library.nvmlDeviceSetPowerManagementLimit(device, ctypes.c_uint(command["limit_mw"])))
    return None


def _nvml_clocks(command: Command) -> str | None:
    library, device = _nvml_device(command["uuid"])
    _check(library, library.nvmlDeviceResetGpuLockedClocks(device))
    return None


def _file(command: Command) -> str | None:
    with open(command["path"]) as stream:
        now = stream.read().strip()
    note = _kept_note(command["path"], int(now) // 1000, command["limit_uw"] // 1000, command["ours_mw"])
    if note is not None:
        return note or None
    with open(command["path"], "w") as stream:
        stream.write(str(command["limit_uw"]))
    return None


def _zeusd(command: Command) -> str | None:
    gpu = str(command["gpu_id"])
    now_mw = zeusd(command["socket"], "GET", f"/gpu/get_power_limit?gpu_ids={gpu}")[gpu]["power_limit_mw"]
    if (note := _kept_note(f"gpu {gpu}", now_mw, command["limit_mw"], command["ours_mw"])) is not None:
        return note or None
    target = f"/gpu/set_power_limit?gpu_ids={gpu}&power_limit_mw={command['limit_mw']}&block=true"
    zeusd(command["socket"], "POST", target)
    return None


def _program(command: Command) -> str | None:
    import subprocess

    try:
        ended = subprocess.run(command["argv"], timeout=_PROGRAM_TIMEOUT_S, stdin=subprocess.DEVNULL)  # noqa: PLW1510 -- checked below
    except subprocess.TimeoutExpired:
        raise OSError(f"{command['argv'][0]} took more than {_PROGRAM_TIMEOUT_S:g} s") from None
    if ended.returncode:
        raise OSError(f"{command['argv'][0]} exited with {ended.returncode}")
    return None


_KINDS: dict[str, Callable[[Command], str | None]] = {
    "nvml_limit": _nvml_limit,
    "nvml_clocks": _nvml_clocks,
    "file": _file,
    "zeusd": _zeusd,
    "program": _program,
}


def zeusd(socket_path: str, method: str, target: str) -> Any:
    """Send a request to zeusd (https://ml.energy/zeus/zeusd/api/) over its unix socket, with ZEUSD_TOKEN if set.

    Returns:
        The JSON of the response.

    Raises:
        PermissionError: zeusd refuses the request.
        OSError: zeusd cannot be reached, or reports an error.
    """
    import http.client
    import socket

    connection = http.client.HTTPConnection("localhost", timeout=_ZEUSD_TIMEOUT_S)
    connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    token = os.environ.get("ZEUSD_TOKEN")
    try:
        connection.sock.settimeout(_ZEUSD_TIMEOUT_S)
        connection.sock.connect(socket_path)
        connection.request(method, target, headers={"Authorization": f"Bearer {token}"} if token else {})
        response = connection.getresponse()
        text = response.read()
    except http.client.HTTPException as error:
        raise OSError(f"zeusd at {socket_path} does not speak HTTP: {error!r}") from None
    finally:
        connection.close()
    if response.status != http.client.OK:
        kind = PermissionError if response.status in (401, 403, 404) else OSError
        raise kind(f"zeusd at {socket_path} returned {response.status}: {text[:200].decode(errors='replace')}")
    try:
        return json.loads(text or b"{}")
    except ValueError:
        raise OSError(f"zeusd at {socket_path} returned no JSON") from None


def _nvml_device(uuid: str) -> tuple[ctypes.CDLL, ctypes.c_void_p]:
    library = ctypes.CDLL("libnvidia-ml.so.1")
    _check(library, library.nvmlInit_v2())
    device = ctypes.c_void_p()
    code = library.nvmlDeviceGetHandleByUUID(uuid.encode(), ctypes.byref(device))
    if code and (found := _searched(library, uuid)) is not None:
        return library, found
    _check(library, code)
    return library, device


def _searched(library: ctypes.CDLL, uuid: str) -> ctypes.c_void_p | None:
    """Search the GPUs one by one: if one is lost, NVML may not find any other by its UUID."""
    count, text = ctypes.c_uint(), ctypes.create_string_buffer(_UUID_LENGTH)
    _check(library, library.nvmlDeviceGetCount_v2(ctypes.byref(count)))
    for index in range(count.value):
        device = ctypes.c_void_p()
        if library.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(index), ctypes.byref(device)):
            continue
        if not library.nvmlDeviceGetUUID(device, text, _UUID_LENGTH) and text.value == uuid.encode():
            return device
    return None


def _check(library: ctypes.CDLL, code: int) -> None:
    if code:
        library.nvmlErrorString.restype = ctypes.c_char_p
        raise OSError(f"NVML: {library.nvmlErrorString(code).decode()}")


def _kept_note(what: str, now_mw: int, previous_mw: int, ours_mw: Iterable[int]) -> str | None:
    """Return a note if another process has set the limit, '' if it is restored already, else None: restore it."""
    if abs(now_mw - previous_mw) <= _TOLERANCE_MW:
        return ""
    if any(abs(now_mw - each) <= _TOLERANCE_MW for each in ours_mw):
        return None
    return f"{what}: kept at {now_mw / 1e3:g} W, set by another process, instead of {previous_mw / 1e3:g} W"
