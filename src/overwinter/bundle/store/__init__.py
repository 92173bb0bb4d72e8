"""The store: published bundles by name, with versions and aliases, in a local folder or at any fsspec address.

    parts/ab/abcd...          up to 8 MiB of a file, named by its SHA-256; manifests are stored as parts too
    names/NAME/SERIAL.json    the catalog of a name after its SERIALth change: all versions and aliases, maybe signed

A catalog is never changed: every publication, alias change or rollback writes a new one, and only if its serial is
still free. Publication is therefore atomic, publishers may run concurrently, and a replayed older catalog is detected
by its serial (`Pins`). Equal parts are stored once, and an interrupted transfer resumes with the missing parts.

- `open_store` returns a `Store`: publish, resolve, fetch, set_alias, rollback, collect.
- `StoreAddress` is STORE#NAME@WHICH; `resolve_in_store` is what `overwinter.bundle.resolve_bundle` calls for it.
"""

from overwinter.bundle.store.address import StoreAddress
from overwinter.bundle.store.catalog import Catalog, Version
from overwinter.bundle.store.pins import Pins
from overwinter.bundle.store.resolve import resolve_in_store
from overwinter.bundle.store.store import Store, open_store

__all__ = ["Catalog", "Pins", "Store", "StoreAddress", "Version", "open_store", "resolve_in_store"]
