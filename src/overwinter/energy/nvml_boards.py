"""The NVIDIA GPUs of this machine, opened one by one, so that a board that does not respond does not affect others.

NVML orders boards by their slots, CUDA by its own order (`cuda_order`); a board is identified by its UUID and its PCI
address. NVIDIA_VISIBLE_DEVICES is not needed: a container runtime has already hidden the other boards.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from overwinter.energy.cuda_devices import names_by_number, visible_gpus
from overwinter.energy.cuda_order import ask_cuda


@dataclass(frozen=True, kw_only=True)
class Board:
    """One GPU.

    Attributes:
        index: NVML's index.
        handle: NVML's handle; None if the board does not respond.
        uuid: The UUID, such as `GPU-8f7c...`; None if the board does not respond.
        address: The PCI address, as in `lspci -D`; None if not reported.
        name: The model's name; None if not reported.
        trouble: The reason why it does not respond; empty if it does.
    """

    index: int
    handle: Any = None
    uuid: str | None = None
    address: str | None = None
    name: str | None = None
    trouble: str = ""

    @property
    def device(self) -> str:
        """Its name in energy.json."""
        return f"gpu:{self.index}"


@dataclass(frozen=True, kw_only=True)
class Visible:
    """The GPUs in CUDA_VISIBLE_DEVICES.

    Attributes:
        boards: The boards, each once, in the order of the variable.
        doubt: The reason why these may be the wrong boards; empty if they are certain.
    """

    boards: tuple[Board, ...]
    doubt: str = ""


def library_present() -> bool:
    """Return whether the driver's library can be loaded, which is much faster than importing pynvml."""
    try:
        ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return False
    return True


def all_boards() -> list[Board]:
    """Return every GPU of the machine, by NVML's index; NVML must be initialised.

    Raises:
        pynvml.NVMLError: not even their number is known.
    """
    import pynvml

    return [_board(index) for index in range(pynvml.nvmlDeviceGetCount())]


def visible_boards(environ: Mapping[str, str] = os.environ) -> Visible:
    """Return the GPUs in CUDA_VISIBLE_DEVICES; NVML must be initialised.

    Raises:
        pynvml.NVMLError: not even their number is known.
    """
    boards = all_boards()
    value = environ.get("CUDA_VISIBLE_DEVICES")
    parents = _mig_parents(boards) if value and "MIG-" in value else {}
    doubt = ""
    if value is not None and _needs_cuda(value, boards, environ):
        reported = ask_cuda()
        if reported is not None:
            return Visible(boards=tuple(board for board in boards if {board.uuid, board.address} & reported))
        doubt = (
            f"CUDA_VISIBLE_DEVICES={value} numbers different GPUs in CUDA's own order, which is unknown; the order of "
            "their slots is assumed. Set CUDA_DEVICE_ORDER=PCI_BUS_ID, or name them by UUID"
        )
    indices = visible_gpus(value, [board.uuid for board in boards], parents, order=_slot_order(boards))
    return Visible(boards=tuple(boards[index] for index in indices), doubt=doubt)


def pci_address(bus_id: str) -> str:
    """Return ``00000000:01:00.0`` as ``0000:01:00.0``, in lower case."""
    domain, _, rest = bus_id.lower().partition(":")
    return f"{domain[-4:].rjust(4, '0')}:{rest}"


def _board(index: int) -> Board:
    import pynvml

    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        uuid = _text(pynvml.nvmlDeviceGetUUID(handle))
    except pynvml.NVMLError as error:
        return Board(index=index, trouble=str(error))
    bus_id = _or_none(lambda: _text(pynvml.nvmlDeviceGetPciInfo(handle).busId))
    return Board(
        index=index,
        handle=handle,
        uuid=uuid,
        address=pci_address(bus_id) if bus_id else None,
        name=_or_none(lambda: _text(pynvml.nvmlDeviceGetName(handle))),
    )


def _needs_cuda(value: str, boards: Sequence[Board], environ: Mapping[str, str]) -> bool:
    """Return whether only CUDA can resolve the boards' numbers: it puts the fastest first if boards differ."""
    if environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID" or len({board.name for board in boards if board.name}) < 2:
        return False
    named = names_by_number(value)
    return bool(named) and not set(range(len(boards))) <= named


def _slot_order(boards: Sequence[Board]) -> list[int]:
    """Return NVML's indices in the order of PCI addresses; NVML's own order if an address is unknown."""
    if any(board.address is None for board in boards):
        return [board.index for board in boards]
    return [board.index for board in sorted(boards, key=lambda board: str(board.address))]


def _mig_parents(boards: Sequence[Board]) -> dict[str, int]:
    """Map the UUID of each MIG device to the index of its GPU."""
    import pynvml

    parents: dict[str, int] = {}
    for board in boards:
        ask = partial(pynvml.nvmlDeviceGetMaxMigDeviceCount, board.handle)
        slots = _or_none(ask) if board.handle else 0
        for slot in range(slots or 0):
            try:
                mig = pynvml.nvmlDeviceGetMigDeviceHandleByIndex(board.handle, slot)
                parents[_text(pynvml.nvmlDeviceGetUUID(mig))] = board.index
            except pynvml.NVMLError:
                continue  # an empty slot
    return parents


def _or_none(ask: Callable[[], Any]) -> Any:
    """Return the result of an NVML call; None if it fails."""
    import pynvml

    try:
        return ask()
    except pynvml.NVMLError:
        return None


def _text(reported: str | bytes) -> str:
    return reported.decode() if isinstance(reported, bytes) else str(reported)
