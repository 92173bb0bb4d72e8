"""`overwinter serve BUNDLE... [OVERRIDES]`: serve models that sleep until they are asked."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from overwinter.bundle import Bundle, Expected, Keys, resolve_bundle
from overwinter.bundle.open_model import refuse_foreign_code
from overwinter.cli.bundle import add_keys, expected_of, keys_of
from overwinter.cli.service import CONFIG_NAME, load_service
from overwinter.errors import ConfigError
from overwinter.serving import ServePlan, make_plan


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what to serve."""
    parser.add_argument(
        "words",
        nargs="*",
        metavar="BUNDLE | OVERRIDE",
        help="a bundle's folder, a sealed file or STORE#NAME@ALIAS, each served by the last part of its name; and "
        "overrides such as serve.port=9000",
    )
    parser.add_argument(
        "--model", action="append", default=[], metavar="NAME=BUNDLE", help="a bundle, served by another name"
    )
    add_keys(parser)
    parser.add_argument("--config", default=CONFIG_NAME, metavar="NAME", help="another configuration than serve")


def run(arguments: argparse.Namespace) -> int:
    """Compose, verify, and become the supervisor: this process does not come back."""
    overrides = [word for word in arguments.words if "=" in word and not Path(word).exists()]
    named = [_named(text) for text in arguments.model]
    named += [(_name_of(word), word) for word in arguments.words if word not in overrides]
    service = load_service(overrides, config_name=arguments.config)
    service.carbon.open()  # one that cannot be opened is reported now, not when the first request could wait
    keys = keys_of(arguments)
    bundles = _verified(named, keys, expected_of(arguments), service.trusted_targets)
    _become_supervisor(make_plan(service, bundles, keys=keys))
    return 0


def _name_of(address: str) -> str:
    """Return the name of the folder or file, or NAME of STORE#NAME@ALIAS."""
    if "#" in address and not Path(address).exists():
        return address.rpartition("#")[2].partition("@")[0]
    return Path(address).resolve().stem


def _named(text: str) -> tuple[str, str]:
    name, _, path = text.partition("=")
    if not (name and path) or "/" in name:
        raise ConfigError(f"--model {text!r} must be NAME=BUNDLE, such as digits=outputs/hibernate/bundle.")
    return name, path


def _verified(
    named: list[tuple[str, str]], keys: Keys, expected: Expected, trusted: Sequence[str]
) -> dict[str, Bundle]:
    if not named:
        raise ConfigError("Name at least one bundle, such as outputs/hibernate/bundle.")
    names = [name for name, _ in named]
    double = next((name for name in names if names.count(name) > 1), None)
    if double is not None:
        raise ConfigError(f"Two bundles would be called {double!r}. Name them: --model NAME=BUNDLE.")
    if expected.digest is not None and len(named) > 1:
        raise ConfigError(
            "--digest is of one bundle. Serve it alone, or name digests in addresses: STORE#NAME@sha256:..."
        )
    bundles = {name: resolve_bundle(address, keys=keys, expected=expected, hold=False) for name, address in named}
    for bundle in bundles.values():
        refuse_foreign_code(bundle, trusted=trusted)
    return bundles


def _become_supervisor(plan: ServePlan) -> None:
    """Replace this process, whose imports a sleeping server must not keep in memory."""
    with tempfile.TemporaryFile() as file:
        file.write(plan.to_json().encode())
        file.seek(0)
        os.set_inheritable(file.fileno(), True)
        sys.stdout.flush()
        command = [sys.executable, "-P", "-m", "overwinter.serving", str(file.fileno())]
        os.execv(sys.executable, command)  # noqa: S606 -- our own program
