"""NVIDIA GPUs through NVML: the power limit, and locked clocks for work that no power limit slows down.

NVML uses milliwatts. Setting a limit needs root or CAP_SYS_ADMIN, and only reading it back proves it
(`nvmlDeviceGetEnforcedPowerLimit`: the driver takes other limiters into account). The `_v2` setter of pynvml
ignores the driver's return code and is not used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar

from overwinter.energy.nvml_boards import Visible, library_present, pci_address, visible_boards
from overwinter.errors import ConfigError
from overwinter.power.actuators.values import (
    ActuatorSettings,
    DeniedError,
    DeviceLostError,
    Limits,
    Permission,
    may_administer,
)

_SW_POWER_CAP = 0x4  # nvmlClocksEventReasonSwPowerCap
_NEAR = 0.97  # share of its limit from which a GPU counts as limited by it
_WHO = "root, a process with CAP_SYS_ADMIN, or zeusd (https://ml.energy/zeus/zeusd/) may"

Result = TypeVar("Result")


class _Boards:
    """The GPUs in CUDA_VISIBLE_DEVICES.

    Attributes:
        lost: GPUs that do not respond, with the reason; the others are limited anyway.
        note: a note about them for the user.
    """

    note = ""

    def __init__(self) -> None:
        if not library_present():
            raise ConfigError("power.actuator: there is no NVIDIA driver (libnvidia-ml.so.1).")
        import pynvml

        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            raise ConfigError(
                f"power.actuator: NVML cannot be initialized: {error}. Check the driver with nvidia-smi."
            ) from None
        try:
            boards = _certain(visible_boards()).boards
        except (pynvml.NVMLError, ConfigError) as error:
            pynvml.nvmlShutdown()
            raise error if isinstance(error, ConfigError) else _unlisted(str(error)) from None
        self._handles = {board.device: board.handle for board in boards if board.handle}
        self.lost = {board.device: board.trouble for board in boards if not board.handle}
        if self.lost and not self._handles:
            pynvml.nvmlShutdown()
            raise _unlisted(_described(self.lost))
        self.note = "; ".join(filter(None, [self.note, _described(self.lost)]))

    def devices(self) -> tuple[str, ...]:
        """Return the names of the GPUs."""
        return tuple(self._handles)

    def _ask(self, device: str, call: Callable[[Any], Result]) -> Result:
        """Call NVML with the device's handle.

        Raises:
            DeniedError: NVML requires more privileges.
            DeviceLostError: the call fails in any other way.
        """
        import pynvml

        try:
            return call(self._handles[device])
        except pynvml.NVMLError_NoPermission:
            raise DeniedError(f"{device}: this process may not change its settings; {_WHO}.") from None
        except pynvml.NVMLError as error:
            raise DeviceLostError(f"{device} does not respond: {error}.") from None

    def permission(self) -> Permission:
        """Return whether NVML allows this process to change settings."""
        return Permission(granted=True) if may_administer() else Permission(granted=False, who=_WHO)

    def _uuid(self, device: str) -> str:
        """Return the UUID, which is the same in every process."""
        import pynvml

        return str(self._ask(device, pynvml.nvmlDeviceGetUUID))

    def _place(self, device: str) -> str:
        """Return the PCI address in the format of `lspci -D`, which zeusd uses too."""
        import pynvml

        bus_id = self._ask(device, pynvml.nvmlDeviceGetPciInfo).busId
        return f"gpu-{pci_address(bus_id.decode() if isinstance(bus_id, bytes) else str(bus_id))}"

    def close(self) -> None:
        """Shut NVML down."""
        import pynvml

        pynvml.nvmlShutdown()


class NvmlPowerLimit(_Boards):
    """The power limit of each GPU."""

    name = "nvml"
    quantity: Literal["power_w", "clock_mhz"] = "power_w"

    def limits(self, device: str) -> Limits:
        """Return the range and the current limit, in watts."""
        import pynvml

        ask = self._ask
        minimum_mw, maximum_mw = ask(device, pynvml.nvmlDeviceGetPowerManagementLimitConstraints)
        return Limits(
            minimum=minimum_mw / 1e3,
            maximum=maximum_mw / 1e3,
            default=ask(device, pynvml.nvmlDeviceGetPowerManagementDefaultLimit) / 1e3,
            current=ask(device, pynvml.nvmlDeviceGetPowerManagementLimit) / 1e3,
        )

    def apply(self, device: str, value: float) -> None:
        """Set the limit, in watts."""
        import pynvml

        self._ask(device, lambda board: pynvml.nvmlDeviceSetPowerManagementLimit(board, round(value * 1e3)))

    def enforced(self, device: str) -> float:
        """Return the limit that the driver enforces, in watts."""
        import pynvml

        return float(self._ask(device, pynvml.nvmlDeviceGetEnforcedPowerLimit)) / 1e3

    def bound(self, device: str) -> bool | None:
        """Return whether the limit lowers the clocks, from the driver's event reasons or else from the power drawn."""
        import pynvml

        try:
            return bool(self._ask(device, pynvml.nvmlDeviceGetCurrentClocksEventReasons) & _SW_POWER_CAP)
        except DeviceLostError:
            pass  # an old driver, or a GPU that does not report it
        try:
            power_mw = self._ask(device, pynvml.nvmlDeviceGetPowerUsage)
            return bool(power_mw >= _NEAR * self._ask(device, pynvml.nvmlDeviceGetEnforcedPowerLimit))
        except DeviceLostError:
            return None

    def key(self, device: str) -> str:
        """Return the name of the setting on this machine."""
        return f"{self._place(device)}.power"

    def snapshot(self, device: str) -> Mapping[str, int]:
        """Return the current limit."""
        import pynvml

        return {"limit_mw": self._ask(device, pynvml.nvmlDeviceGetPowerManagementLimit)}

    def commands(self, device: str, snapshot: Mapping[str, int], ours: Sequence[float]) -> list[dict[str, Any]]:
        """Return the command that restores the limit."""
        ours_mw = [round(value * 1e3) for value in ours]
        return [{"kind": "nvml_limit", "uuid": self._uuid(device), **snapshot, "ours_mw": ours_mw}]


class NvmlLockedClocks(_Boards):
    """The highest SM clock, for work below any power limit: decoding draws 137 to 300 of an H200's 700 W."""

    name = "nvml_clocks"
    quantity: Literal["power_w", "clock_mhz"] = "clock_mhz"
    note = "clocks are unlocked at the end, even if an operator had locked them: NVML does not report locks"

    def limits(self, device: str) -> Limits:
        """Return the supported range, in megahertz."""
        import pynvml

        highest = float(self._ask(device, lambda board: pynvml.nvmlDeviceGetMaxClockInfo(board, pynvml.NVML_CLOCK_SM)))
        return Limits(
            minimum=min(self._supported(device), default=0.0),
            maximum=highest,
            default=highest,
            current=None,
        )

    def apply(self, device: str, value: float) -> None:
        """Lock the clocks between their lowest and ``value`` megahertz."""
        import pynvml

        self._ask(device, lambda board: pynvml.nvmlDeviceSetGpuLockedClocks(board, 0, round(value)))

    def enforced(self, device: str) -> float:
        """Return the current clock; an idle GPU's is below the lock."""
        import pynvml

        return float(self._ask(device, lambda board: pynvml.nvmlDeviceGetClockInfo(board, pynvml.NVML_CLOCK_SM)))

    def bound(self, device: str) -> bool | None:  # noqa: ARG002 -- the driver does not distinguish who set the clock
        """Return None: unknown."""
        return None

    def key(self, device: str) -> str:
        """Return the name of the setting on this machine."""
        return f"{self._place(device)}.clocks"

    def snapshot(self, device: str) -> Mapping[str, int]:  # noqa: ARG002 -- NVML does not report locks
        """Return an empty snapshot: locks cannot be read."""
        return {}

    def commands(
        self,
        device: str,
        snapshot: Mapping[str, int],  # noqa: ARG002 -- as above
        ours: Sequence[float],  # noqa: ARG002
    ) -> list[dict[str, Any]]:
        """Return the command that unlocks the clocks."""
        return [{"kind": "nvml_clocks", "uuid": self._uuid(device)}]

    def _supported(self, device: str) -> list[float]:
        import pynvml

        def clocks(board: Any) -> list[float]:
            memory = pynvml.nvmlDeviceGetSupportedMemoryClocks(board)
            return (
                [float(each) for each in pynvml.nvmlDeviceGetSupportedGraphicsClocks(board, memory[0])]
                if memory
                else []
            )

        return self._ask(device, clocks)


def _certain(visible: Visible) -> Visible:
    """Refuse GPUs that may be another user's."""
    if visible.doubt:
        raise ConfigError(f"power.actuator: {visible.doubt}.")
    return visible


def _unlisted(reason: str) -> ConfigError:
    return ConfigError(f"power.actuator: the GPUs cannot be listed: {reason}. Check nvidia-smi.")


def _described(lost: Mapping[str, str]) -> str:
    return ", ".join(f"{device} does not respond ({trouble}) and is skipped" for device, trouble in lost.items())


def open_power_limit(settings: ActuatorSettings) -> NvmlPowerLimit:  # noqa: ARG001 -- the same for all actuators
    """Open the power limits of the visible GPUs."""
    return NvmlPowerLimit()


def open_locked_clocks(settings: ActuatorSettings) -> NvmlLockedClocks:  # noqa: ARG001 -- as above
    """Open the clocks of the visible GPUs."""
    return NvmlLockedClocks()
