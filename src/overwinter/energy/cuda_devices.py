"""Which GPUs CUDA_VISIBLE_DEVICES means: indices, UUIDs, abbreviated UUIDs and MIG names.

https://docs.nvidia.com/cuda/cuda-c-programming-guide/index.html#env-vars: an entry that names no device hides
itself and all after it; a device that is named twice hides all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def visible_gpus(value: str | None, uuids: Sequence[str], mig_parents: Mapping[str, int]) -> list[int]:
    """Return the indices of the visible GPUs, each once, in the order they are named.

    Args:
        value: of CUDA_VISIBLE_DEVICES; None if it is not set, which shows all.
        uuids: of the GPUs, by index, such as `GPU-8f7c...`.
        mig_parents: UUID of each MIG device -> index of its GPU.
    """
    if value is None:
        return list(range(len(uuids)))
    indices: list[int] = []
    names: set[str] = set()
    for entry in (part.strip() for part in value.split(",")):
        index = _index(entry, uuids, mig_parents)
        if index is None:
            break
        twice = index in indices and not entry.startswith("MIG-")  # one GPU may show several MIG devices
        if twice or entry in names:
            return []
        names.add(entry)
        indices.append(index)
    return list(dict.fromkeys(indices))


def _index(entry: str, uuids: Sequence[str], mig_parents: Mapping[str, int]) -> int | None:
    if entry.isdecimal():
        return int(entry) if int(entry) < len(uuids) else None
    if entry.startswith("MIG-GPU-"):  # the name before driver 470: MIG-GPU-<uuid>/<gpu instance>/<compute instance>
        return _unique(entry.removeprefix("MIG-").split("/")[0], {uuid: index for index, uuid in enumerate(uuids)})
    if entry.startswith("MIG-"):
        return _unique(entry, mig_parents)
    if entry.startswith("GPU-"):
        return _unique(entry, {uuid: index for index, uuid in enumerate(uuids)})
    return None


def _unique(prefix: str, indices: Mapping[str, int]) -> int | None:
    matches = [index for uuid, index in indices.items() if uuid.startswith(prefix)]
    return matches[0] if len(matches) == 1 else None
