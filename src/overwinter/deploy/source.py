"""The bundle that a command line names, in a folder or in a store."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from overwinter.bundle import Bundle


class Source(NamedTuple):
    """The location of a bundle, and its SHA-256."""

    address: str
    digest: str


def bundle_folder(arguments: Namespace) -> Path:
    """Return the absolute path of the given folder, since the server starts in another one."""
    return Path(arguments.bundle).resolve()


def bundle_in_folder(arguments: Namespace) -> tuple[Bundle, Source]:
    """Return the verified bundle in a folder.

    Raises:
        OverwinterError: The folder is not a bundle, or no key of ``--trusted`` has signed it.
    """
    from overwinter.bundle import Keys, read_bundle

    folder = bundle_folder(arguments)
    bundle = read_bundle(folder, keys=Keys(trusted=tuple(arguments.trusted)), hold=False)
    return bundle, Source(str(folder), bundle.digest)


def version_in_store(arguments: Namespace) -> Source:
    """Return a published version by an address with its digest.

    Raises:
        OverwinterError: There is no such version, or no key of ``--trusted`` has signed it.
    """
    from overwinter.bundle import Keys
    from overwinter.bundle.store import StoreAddress, open_store

    address = StoreAddress.parse(arguments.bundle)
    store = open_store(address.store, keys=Keys(trusted=tuple(arguments.trusted)))
    _, version = store.resolve(address.name, address.which)
    return Source(f"{store.address}#{address.name}@sha256:{version.digest}", version.digest)
