"""`overwinter export FORMAT SOURCE DIR`: a variant as other programs' files."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from overwinter.cli.bundle import add_keys, expected_of, keys_of
from overwinter.registries import EXPORT_FORMATS
from overwinter.units import format_bytes

if TYPE_CHECKING:
    from overwinter.export import Exported


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the format, the source, the folder and the keys."""
    parser.add_argument(
        "format", metavar="FORMAT", choices=EXPORT_FORMATS.names(), help=", ".join(EXPORT_FORMATS.names())
    )
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="a bundle (folder, sealed file or STORE#NAME@ALIAS), or a saved model, such as "
        "outputs/quantize/model/int4_gptq",
    )
    parser.add_argument("folder", metavar="DIR", type=Path, help="new or empty folder for the files")
    parser.add_argument(
        "--tokenizer",
        type=Path,
        metavar="DIR",
        help="folder with tokenizer.json (the bundle's, or outputs/train/tokenizer beside the saved model)",
    )
    parser.add_argument(
        "--trust-code",
        action="append",
        default=[],
        metavar="PACKAGE",
        help="a package whose model classes may be built",
    )
    add_keys(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Verify the source, write it, and print what was written."""
    from overwinter.export import export, open_source
    from overwinter.records import to_json

    source = open_source(
        arguments.source,
        keys=keys_of(arguments),
        expected=expected_of(arguments),
        tokenizer=arguments.tokenizer,
        trusted=arguments.trust_code,
    )
    exported = export(source, arguments.format, arguments.folder)
    print(json.dumps(to_json(exported), indent=2) if arguments.json else _lines(exported))
    return 0


def _lines(exported: Exported) -> str:
    size = format_bytes(sum(exported.files.values()))
    compared = (
        ""
        if exported.divergence_nats is None
        else f", {exported.divergence_nats:.2g} nats from the saved model's predictions as {exported.read_by} reads it"
    )
    lines = [
        f"{exported.variant} as {exported.format} in {exported.folder}: {size}{compared}",
        *(f"  {name}  {format_bytes(count)}" for name, count in exported.files.items()),
        *(f"Note: {note}." for note in exported.notes),
    ]
    return "\n".join(lines)
