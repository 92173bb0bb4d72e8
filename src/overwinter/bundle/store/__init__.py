"""The store: published bundles by name, with versions and aliases, in a local folder or at any fsspec address.

    parts/ab/abcd...          up to 8 MiB of some file, named by its SHA-256; manifests are kept as parts too
    names/NAME/SERIAL.json    the catalog of a name after its SERIALth change: all versions and aliases, maybe signed

A catalog is never changed: every publication, alias or rollback is a new one, written only if no one else took its
serial. So publication is one atomic step, publishers may work side by side, and an older catalog brought back by an
enemy is found out by its serial (`Pins`). Equal parts are kept once, and a transfer that was cut off goes on with
the parts that are missing.

- `open_store` gives a `Store`: publish, resolve, fetch, set_alias, rollback, collect.
- `StoreAddress` is STORE#NAME@WHICH; `resolve_in_store` is what `overwinter.bundle.resolve_bundle` calls for it.
"""

from overwinter.bundle.store.address import StoreAddress
from overwinter.bundle.store.catalog import Catalog, Version
from overwinter.bundle.store.pins import Pins
from overwinter.bundle.store.resolve import resolve_in_store
from overwinter.bundle.store.store import Store, open_store

__all__ = ["Catalog", "Pins", "Store", "StoreAddress", "Version", "open_store", "resolve_in_store"]
