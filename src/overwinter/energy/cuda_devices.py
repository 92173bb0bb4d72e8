"""Parsing of CUDA_VISIBLE_DEVICES: indices, UUIDs, abbreviated UUIDs and MIG names.

https://docs.nvidia.com/cuda/cuda-c-programming-guide/index.html#env-vars: an entry that names no device hides
itself and all after it; a device that is named twice hides all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def visible_gpus(
    value: str | None,
    uuids: Sequence[str | None],
    mig_parents: Mapping[str, int],
    *,
    order: Sequence[int] | None = None,
) -> list[int]:
    """Return NVML's indices of the visible GPUs, each once, in the order they are named.

    Args:
        value: The value of CUDA_VISIBLE_DEVICES; None if it is not set, which shows all.
        uuids: The GPUs' UUIDs by NVML's index, such as `GPU-8f7c...`; None for one that does not respond.
        mig_parents: The UUID of each MIG device -> NVML's index of its GPU.
        order: NVML's indices in CUDA's order; None if the order is the same.
    """
    if value is None:
        return list(range(len(uuids)))
    numbers = range(len(uuids)) if order is None else order
    indices: list[int] = []
    names: set[str] = set()
    for entry in (part.strip() for part in value.split(",")):
        index = _index(entry, uuids, mig_parents, numbers)
        if index is None:
            break
        twice = index in indices and not entry.startswith("MIG-")  # one GPU may show several MIG devices
        if twice or entry in names:
            return []
        names.add(entry)
        indices.append(index)
    return list(dict.fromkeys(indices))


def names_by_number(value: str) -> set[int]:
    """Return the indices in CUDA_VISIBLE_DEVICES, which are in CUDA's order."""
    return {int(entry) for part in value.split(",") if (entry := part.strip()).isdecimal()}


def _index(
    entry: str, uuids: Sequence[str | None], mig_parents: Mapping[str, int], numbers: Sequence[int]
) -> int | None:
    if entry.isdecimal():
        return numbers[int(entry)] if int(entry) < len(numbers) else None
    if entry.startswith("MIG-GPU-"):  # the name before driver 470: MIG-GPU-<uuid>/<gpu instance>/<compute instance>
        return _by_uuid(entry.removeprefix("MIG-").split("/")[0], uuids)
    if entry.startswith("MIG-"):
        return _unique(entry, mig_parents)
    if entry.startswith("GPU-"):
        return _by_uuid(entry, uuids)
    return None


def _by_uuid(entry: str, uuids: Sequence[str | None]) -> int | None:
    """Return the GPU of a UUID; an unknown UUID is that of the only GPU that does not respond, if there is one."""
    known = {uuid: index for index, uuid in enumerate(uuids) if uuid is not None}
    silent = [index for index, uuid in enumerate(uuids) if uuid is None]
    if len(silent) == 1 and not any(uuid.startswith(entry) for uuid in known):
        return silent[0]
    return _unique(entry, known)


def _unique(prefix: str, indices: Mapping[str, int]) -> int | None:
    matches = [index for uuid, index in indices.items() if uuid.startswith(prefix)]
    return matches[0] if len(matches) == 1 else None
