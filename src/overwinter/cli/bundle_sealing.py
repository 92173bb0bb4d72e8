"""`overwinter bundle keygen | sign | seal | open | rekey`: sign and encrypt a bundle."""

from __future__ import annotations

import argparse
import secrets
from pathlib import Path
from typing import Any

from overwinter import files
from overwinter.errors import ConfigError

_SOURCE = "file:PATH, env:NAME or command:WORDS"


def add_actions(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the actions."""
    keygen = _action(actions, "keygen", _keygen, "make a key pair for signatures, or a key for encryption")
    keygen.add_argument("kind", choices=["sign", "encrypt"])
    keygen.add_argument("path", type=Path, help="file of the private key; the public key is written to PATH.pub")

    sign = _action(actions, "sign", _sign, "sign a bundle's folder")
    sign.add_argument("folder", type=Path)
    sign.add_argument("--sign-key", required=True, metavar="SOURCE", help=_SOURCE)

    seal = _action(actions, "seal", _seal, "encrypt a bundle into one file, including its names and shapes")
    seal.add_argument("folder", type=Path)
    seal.add_argument("out", type=Path, help="the sealed file")
    seal.add_argument(
        "--key", required=True, action="append", metavar="SOURCE", help=f"key that can open the file: {_SOURCE}"
    )

    from overwinter.cli.bundle import add_keys

    opening = _action(actions, "open", _open, "verify a sealed bundle and write it decrypted")
    opening.add_argument("sealed", type=Path)
    opening.add_argument("folder", type=Path)
    add_keys(opening)

    rekey = _action(actions, "rekey", _rekey, "replace the keys of a sealed file without encrypting it again")
    rekey.add_argument("sealed", type=Path)
    rekey.add_argument("--key", required=True, action="append", metavar="SOURCE", help=f"current key: {_SOURCE}")
    rekey.add_argument(
        "--new-key", required=True, action="append", metavar="SOURCE", help="new key, which replaces all others"
    )


def _action(
    actions: argparse._SubParsersAction[argparse.ArgumentParser], name: str, act: Any, summary: str
) -> argparse.ArgumentParser:
    action: argparse.ArgumentParser = actions.add_parser(name, help=summary, description=summary)
    action.set_defaults(act=act)
    return action


def _keygen(arguments: argparse.Namespace) -> dict[str, Any]:
    from overwinter.bundle.sealed import create_signing_key, key_id, load_trusted_key, load_wrapping_key

    path: Path = arguments.path
    if arguments.kind == "sign":
        public = path.with_name(f"{path.name}.pub")
        create_signing_key(path, public)
        return {"private_key": str(path), "public_key": str(public), "key_id": key_id(load_trusted_key(public))}
    if path.exists():
        raise ConfigError(f"{path} exists already. Name another file: an overwritten key is lost.")
    files.write_text(path, secrets.token_hex(32) + "\n", mode=0o600)
    return {"key": str(path), "key_id": load_wrapping_key(f"file:{path}").key_id}


def _sign(arguments: argparse.Namespace) -> dict[str, Any]:
    from overwinter.bundle import sign_bundle
    from overwinter.bundle.sealed import key_id, load_signing_key

    key = load_signing_key(arguments.sign_key)
    sign_bundle(arguments.folder, key)
    return {"bundle": str(arguments.folder), "signed_by": key_id(key.public_key())}


def _seal(arguments: argparse.Namespace) -> dict[str, Any]:
    from overwinter.bundle import seal_bundle
    from overwinter.bundle.sealed import load_wrapping_key

    keys = [load_wrapping_key(source) for source in arguments.key]
    seal_bundle(arguments.folder, arguments.out, keys)
    return _locked(arguments.out, [key.key_id for key in keys])


def _open(arguments: argparse.Namespace) -> dict[str, Any]:
    from overwinter.bundle import open_bundle
    from overwinter.cli.bundle import expected_of, keys_of

    open_bundle(arguments.sealed, arguments.folder, keys=keys_of(arguments), expected=expected_of(arguments))
    return {"bundle": str(arguments.folder)}


def _rekey(arguments: argparse.Namespace) -> dict[str, Any]:
    from overwinter.bundle.sealed import load_wrapping_key, rewrap

    old, new = ([load_wrapping_key(source) for source in sources] for sources in (arguments.key, arguments.new_key))
    rewrap(arguments.sealed, old, new)
    return _locked(arguments.sealed, [key.key_id for key in new])


def _locked(path: Path, key_ids: list[str]) -> dict[str, Any]:
    return {"sealed": str(path), "size_bytes": path.stat().st_size, "opened_by": key_ids}
