"""`overwinter bundle ACTION`: inspect, wake, sign, encrypt and store a hibernated model."""

from __future__ import annotations

import argparse
import importlib
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from overwinter.bundle import Bundle, Expected, Keys, resolve_bundle
from overwinter.errors import ConfigError
from overwinter.units import format_bytes, format_duration, format_si

_LOOKING = {
    "verify": "verify every byte; exit with 4 if the bundle was altered or no trusted key has signed it",
    "inspect": "verify, and show the bundle's contents and lineage",
    "wake": "verify, load and check the canary; exit with 4 if an output differs",
}
_OTHERS = ("bundle_sealing", "bundle_store")
_ADDRESS = "a bundle's folder, a sealed file, or STORE#NAME@ALIAS"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the actions."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, summary in _LOOKING.items():
        action = actions.add_parser(name, help=summary, description=summary)
        action.add_argument("address", help=_ADDRESS)
        add_keys(action)
        action.set_defaults(act=_wake if name == "wake" else _look)
        if name == "wake":
            action.add_argument("--threads", type=int, default=1, help="CPU threads of one prediction")
            action.add_argument(
                "--trust-code",
                action="append",
                default=[],
                metavar="PACKAGE",
                help="a package whose model classes may be built",
            )
    for module in _OTHERS:
        importlib.import_module(f"overwinter.cli.{module}").add_actions(actions)
    for action in actions.choices.values():
        action.add_argument("--json", action="store_true", help="print JSON")


def add_keys(parser: argparse.ArgumentParser) -> None:
    """Declare the options for trusted keys, decryption keys, and the expected digest and lineage."""
    parser.add_argument(
        "--trusted",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="public key that must have signed the bundle",
    )
    parser.add_argument(
        "--key",
        action="append",
        default=[],
        metavar="SOURCE",
        help="decryption key: file:PATH, env:NAME or command:WORDS",
    )
    parser.add_argument("--digest", help="expected digest, or at least its first 8 digits")
    parser.add_argument(
        "--lineage",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="expected lineage entry, such as inputs.train/model=DIGEST",
    )


def keys_of(arguments: argparse.Namespace) -> Keys:
    """Return the keys given on the command line."""
    return Keys(trusted=tuple(arguments.trusted), opening=tuple(arguments.key))


def expected_of(arguments: argparse.Namespace) -> Expected:
    """Return the expected digest and lineage.

    Raises:
        ConfigError: A lineage entry is not KEY=VALUE.
    """
    pairs = [text.partition("=") for text in arguments.lineage]
    for key, equals, _ in pairs:
        if not (key and equals):
            raise ConfigError(f"--lineage {key!r} must be KEY=VALUE, such as inputs.train/model=DIGEST.")
    return Expected(digest=arguments.digest, lineage={key: value for key, _, value in pairs})


def run(arguments: argparse.Namespace) -> int:
    """Run the action; errors carry the exit code."""
    report = arguments.act(arguments)
    print(json.dumps(report, indent=2) if arguments.json else _lines(report))
    return 0


def _look(arguments: argparse.Namespace) -> dict[str, Any]:
    bundle = resolve_bundle(arguments.address, keys=keys_of(arguments), expected=expected_of(arguments), hold=False)
    report = summary(bundle)
    if arguments.action == "inspect":
        report |= {
            "task": dict(bundle.task),
            "inputs": [str(spec) for spec in bundle.signature.inputs],
            "outputs": [str(spec) for spec in bundle.signature.outputs],
            "labels": list(bundle.labels),
            "preprocessing": dict(bundle.preprocessing),
            "canary_samples": len(bundle.canary.outputs),
            "canary_has_raw_samples": bundle.canary.raw is not None,
            "canary_tolerance": bundle.canary.tolerance,
            "production_energy_j": bundle.production_energy_j,
            "lineage": dict(bundle.lineage),
            "licence": bundle.licence,
            "notes": bundle.notes,
        }
    return report


def _wake(arguments: argparse.Namespace) -> dict[str, Any]:
    from overwinter.bundle import wake

    begin_s = time.perf_counter()
    model = wake(
        arguments.address,
        keys=keys_of(arguments),
        expected=expected_of(arguments),
        threads=arguments.threads,
        trusted=arguments.trust_code,
    )
    return summary(model.bundle) | {
        "canary": "answers as recorded",
        "wake_duration_s": time.perf_counter() - begin_s,  # measured in this process, without its start
    }


def summary(bundle: Bundle) -> dict[str, Any]:
    """Return the report that every action prints."""
    return {
        "bundle": str(bundle.source),
        "digest": bundle.digest,
        "variant": bundle.variant,
        "runtime": bundle.runtime,
        "device": bundle.device or "cpu",
        "size_bytes": bundle.size_bytes,
        "sealed": bundle.sealed,
        "signed_by": list(bundle.signed_by),
    }


def _lines(report: dict[str, Any]) -> str:
    origin = report.pop("lineage", {})
    report |= {f"lineage {key}": value for key, value in _dotted(origin)}
    width = max(map(len, report), default=0)
    return "\n".join(f"{key.ljust(width)}  {_shown_value(key, value)}" for key, value in report.items())


def _dotted(lineage: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield each lineage value under the key that `--lineage` takes."""
    for key, value in lineage.items():
        if isinstance(value, dict):
            yield from ((f"{key}.{inner}", each) for inner, each in _dotted(value))
        else:
            yield key, value


def _shown_value(key: str, value: Any) -> str:
    if value is None:
        return "unknown"
    if key == "size_bytes":
        return format_bytes(value)
    if key.endswith("_s"):
        return format_duration(value)
    if key.endswith("_j"):
        return format_si(value, "J")
    return value if isinstance(value, str) else json.dumps(value)
