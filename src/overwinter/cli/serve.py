"""`overwinter serve BUNDLE... [OVERRIDES]`: serve models that sleep while idle."""

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
    """Declare the bundles and their options."""
    parser.add_argument(
        "words",
        nargs="*",
        metavar="BUNDLE | OVERRIDE",
        help="folder of a bundle, sealed file or STORE#NAME@ALIAS, each served under the last part of its name; and "
        "overrides such as serve.port=9000",
    )
    parser.add_argument(
        "--model", action="append", default=[], metavar="NAME=BUNDLE", help="a bundle, served under this name"
    )
    add_keys(parser)
    parser.add_argument(
        "--config", default=CONFIG_NAME, metavar="NAME", help="file in configs/ to use instead of serve.yaml"
    )


def run(arguments: argparse.Namespace) -> int:
    """Compose, verify, and replace this process by the supervisor."""
    overrides = [word for word in arguments.words if "=" in word and not Path(word).exists()]
    named = [_named(text) for text in arguments.model]
    named += [(_name_of(word), word) for word in arguments.words if word not in overrides]
    service = load_service(overrides, config_name=arguments.config)
    service.carbon.open()  # a source that cannot be opened is reported now, not at the first deferred request
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
        raise ConfigError(f"Two bundles have the name {double!r}. Name them: --model NAME=BUNDLE.")
    if expected.digest is not None and len(named) > 1:
        raise ConfigError(
            "--digest needs a single bundle. Serve it alone, or give digests in addresses: STORE#NAME@sha256:..."
        )
    bundles = {name: resolve_bundle(address, keys=keys, expected=expected, hold=False) for name, address in named}
    for bundle in bundles.values():
        refuse_foreign_code(bundle, trusted=trusted)
    return bundles


def _become_supervisor(plan: ServePlan) -> None:
    """Replace this process, so that a sleeping server does not keep its imports in memory."""
    with tempfile.TemporaryFile() as file:
        file.write(plan.to_json().encode())
        file.seek(0)
        os.set_inheritable(file.fileno(), True)
        sys.stdout.flush()
        command = [sys.executable, "-P", "-m", "overwinter.serving", str(file.fileno())]
        os.execv(sys.executable, command)  # noqa: S606 -- this package's own program
