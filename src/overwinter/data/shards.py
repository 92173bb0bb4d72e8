"""Data sets in many files that are read while they are used: nothing is stored, and one file is open at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, BinaryIO

from torch.utils.data import IterableDataset

from overwinter.errors import ConfigError
from overwinter.remote import list_files, open_file

_KEY = "data.root"


class Shards(IterableDataset[Any]):
    """The samples of many files, one file after the other in the order of their names.

    Args:
        places: Files, folders (recursive) or glob patterns, on this machine or at fsspec addresses.
        read: Yields the samples ``(input, target)`` of one open file, which is decompressed if its name says so.

    Raises:
        ConfigError: A place has no file, or as `data_path`; also while samples are read.
        OverwinterError: It cannot be reached; also while samples are read.
    """

    def __init__(self, places: Sequence[str], read: Callable[[BinaryIO], Iterable[Any]]) -> None:
        found = [address for place in places for address in list_files(place, key=_KEY)]
        if not found:
            raise ConfigError(f"{_KEY}: there is no file at {', '.join(places)}. Name files, folders or patterns.")
        self._files, self._read = list(dict.fromkeys(found)), read

    def __iter__(self) -> Iterator[Any]:
        for address in self._files:
            with open_file(address, key=_KEY) as stream:
                yield from self._read(stream)
