"""The bundle that a command line names, in a folder or in a store."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from overwinter.bundle import Bundle


class Source(NamedTuple):
    """Where a bundle is, and its SHA-256."""

    address: str
    digest: str


def bundle_folder(arguments: Namespace) -> Path:
    """Return the absolute path of the folder that was named: the server is started elsewhere."""
    return Path(arguments.bundle).resolve()


def bundle_in_folder(arguments: Namespace) -> tuple[Bundle, Source]:
    """Return the verified bundle of a folder.

    Raises:
        OverwinterError: it is none, or none of ``--trusted`` has signed it.
    """
    from overwinter.bundle import Keys, read_bundle

    folder = bundle_folder(arguments)
    bundle = read_bundle(folder, keys=Keys(trusted=tuple(arguments.trusted)), hold=False)
    return bundle, Source(str(folder), bundle.digest)


def version_in_store(arguments: Namespace) -> Source:
    """Return a published version by an address that no alias can move.

    Raises:
        OverwinterError: there is none, or none of ``--trusted`` has signed it.
    """
    from overwinter.bundle import Keys
    from overwinter.bundle.store import StoreAddress, open_store

    address = StoreAddress.parse(arguments.bundle)
    store = open_store(address.store, keys=Keys(trusted=tuple(arguments.trusted)))
    _, version = store.resolve(address.name, address.which)
    return Source(f"{store.address}#{address.name}@sha256:{version.digest}", version.digest)
