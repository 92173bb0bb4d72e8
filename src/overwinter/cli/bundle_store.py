"""`overwinter bundle publish | fetch | list | alias | rollback | pin | gc`: manage bundles in a store."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from overwinter.bundle import Keys
from overwinter.bundle.store import Catalog, Store, StoreAddress, open_store
from overwinter.errors import ConfigError

_ACTIONS = {
    "publish": "upload a bundle to a store and point an alias to it",
    "fetch": "download a published bundle; an interrupted download resumes",
    "list": "list the versions and aliases of a name",
    "alias": "point an alias to another version",
    "rollback": "swap champion and previous",
    "pin": "refuse, on this machine, any older state of the store",
    "gc": "delete versions without an alias, and files that no version needs",
}


def add_actions(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the actions."""
    made = {name: actions.add_parser(name, help=summary, description=summary) for name, summary in _ACTIONS.items()}
    made["publish"].add_argument("bundle", type=Path, help="folder of a bundle, or a sealed file")
    made["publish"].add_argument(
        "--key",
        action="append",
        default=[],
        metavar="SOURCE",
        help="decryption key of a sealed file, which is verified first",
    )
    for name, action in made.items():
        if name == "gc":
            action.add_argument("store", help="folder, or an address such as s3://bucket/prefix")
        else:
            action.add_argument("address", help="STORE#NAME, or STORE#NAME@WHICH")
        action.add_argument(
            "--trusted",
            action="append",
            default=[],
            type=Path,
            metavar="FILE",
            help="public key that must have signed the store's list",
        )
        if name in ("publish", "alias", "rollback", "gc"):
            action.add_argument("--sign-key", metavar="SOURCE", help="key to sign the change with")
        action.set_defaults(act=globals()[f"_{name}"])
    made["fetch"].add_argument("out", type=Path, help="destination folder")
    made["alias"].add_argument("alias", help="alias, such as champion")
    made["gc"].add_argument("--keep", type=int, default=3, help="number of newest versions of each name to keep anyway")


def _store(arguments: argparse.Namespace, address: str) -> Store:
    from overwinter.bundle.sealed import load_signing_key

    source = getattr(arguments, "sign_key", None)
    return open_store(
        address,
        keys=Keys(trusted=tuple(arguments.trusted)),
        sign_key=load_signing_key(source) if source else None,
    )


def _publish(arguments: argparse.Namespace) -> dict[str, Any]:
    address = StoreAddress.parse(arguments.address)
    store = _store(arguments, address.store)
    keys = Keys(opening=tuple(arguments.key))
    number, version = store.publish(arguments.bundle, address.name, alias=address.which, keys=keys)
    return {"name": address.name, "version": number, "alias": address.which, **asdict(version)}


def _fetch(arguments: argparse.Namespace) -> dict[str, Any]:
    address = StoreAddress.parse(arguments.address)
    store = _store(arguments, address.store)
    number, version = store.resolve(address.name, address.which)
    store.fetch(version, arguments.out)
    return {"bundle": str(arguments.out), "version": number, **asdict(version)}


def _list(arguments: argparse.Namespace) -> dict[str, Any]:
    address = StoreAddress.parse(arguments.address)
    catalog = _store(arguments, address.store).catalog(address.name)
    if catalog.serial == 0:
        raise ConfigError(f"Nothing is published as {address.name!r} in {address.store}.")
    return _catalog_rows(catalog)


def _alias(arguments: argparse.Namespace) -> dict[str, Any]:
    address = StoreAddress.parse(arguments.address)
    return _catalog_rows(_store(arguments, address.store).set_alias(address.name, arguments.alias, address.which))


def _rollback(arguments: argparse.Namespace) -> dict[str, Any]:
    address = StoreAddress.parse(arguments.address)
    return _catalog_rows(_store(arguments, address.store).rollback(address.name))


def _pin(arguments: argparse.Namespace) -> dict[str, Any]:
    address = StoreAddress.parse(arguments.address)
    return {"name": address.name, "pinned_change": _store(arguments, address.store).pin(address.name)}


def _gc(arguments: argparse.Namespace) -> dict[str, Any]:
    forgotten, removed = _store(arguments, arguments.store).collect(keep=arguments.keep)
    return {"versions_forgotten": forgotten, "files_removed": removed}


def _catalog_rows(catalog: Catalog) -> dict[str, Any]:
    versions = {f"version {number}": asdict(version) for number, version in catalog.versions.items()}
    return {"name": catalog.name, "change": catalog.serial, "aliases": dict(catalog.aliases), **versions}
