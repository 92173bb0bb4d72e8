"""`overwinter disclose`: executions of the ledger as CodeCarbon's CSV, a model card, or software carbon intensity."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from overwinter.errors import EXIT_DONE, ConfigError
from overwinter.units import parse_quantity

if TYPE_CHECKING:
    from overwinter.disclosure import Embodied
    from overwinter.ledger import ExecutionRecord


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the formats, each with the filters of `overwinter ledger`."""
    from overwinter.cli.ledger import add_filters

    formats = parser.add_subparsers(dest="format", required=True, metavar="FORMAT")
    codecarbon = formats.add_parser("codecarbon", help="rows of CodeCarbon's emissions.csv")
    codecarbon.add_argument("output", type=Path, metavar="FILE", help="file to which rows are appended")
    card = formats.add_parser("model-card", help="co2_eq_emissions of a Hugging Face model card")
    card.add_argument("--into", type=Path, metavar="README.md", help="write it into this card; otherwise print it")
    card.add_argument("--training-type", choices=("pre-training", "fine-tuning"), help="what the executions did")
    card.add_argument("--location", metavar="PLACE", help="place of the grid, such as 'Quebec, Canada'")
    sci = formats.add_parser("sci", help="software carbon intensity (ISO/IEC 21031), as JSON")
    sci.add_argument("--unit", metavar="TEXT", help="functional unit, such as '1000 responses'; undeclared: null")
    sci.add_argument("--units", type=float, metavar="N", help="number of units that the executions delivered")
    sci.add_argument("--embodied", metavar="MASS", help="embodied carbon of the hardware, such as '1500 kgCO2e'")
    sci.add_argument("--lifetime", metavar="TIME", default="1460 d", help="its lifetime; default: four years, 1460 d")
    sci.add_argument("--share", type=float, default=1.0, metavar="X", help="share of it that is reserved; default: 1")
    for each in (codecarbon, card, sci):
        add_filters(each)


def run(arguments: argparse.Namespace) -> int:
    """Write or print the format; return 0."""
    from overwinter.cli.ledger import open_ledger, selected

    with open_ledger(arguments) as ledger:
        executions = selected(ledger, arguments, documents=True)
    {"codecarbon": _codecarbon, "model-card": _model_card, "sci": _sci}[arguments.format](arguments, executions)
    return EXIT_DONE


def _codecarbon(arguments: argparse.Namespace, executions: list[ExecutionRecord]) -> None:
    from overwinter.disclosure import append_emissions

    append_emissions(arguments.output, executions)
    print(f"{len(executions)} rows were appended to {arguments.output}.")


def _model_card(arguments: argparse.Namespace, executions: list[ExecutionRecord]) -> None:
    from overwinter.disclosure import card_emissions, write_card

    emissions = card_emissions(executions, training_type=arguments.training_type, location=arguments.location)
    if arguments.into is not None:
        write_card(arguments.into, emissions)
        print(f"{arguments.into} has co2_eq_emissions: {emissions['emissions']:.4g} g.")
        return
    import yaml

    print(yaml.safe_dump({"co2_eq_emissions": emissions}, sort_keys=False, allow_unicode=True), end="")


def _sci(arguments: argparse.Namespace, executions: list[ExecutionRecord]) -> None:
    from overwinter.disclosure import carbon_intensity
    from overwinter.records import to_json

    score = carbon_intensity(
        executions, functional_unit=arguments.unit, units=arguments.units, embodied=_embodied(arguments)
    )
    print(json.dumps(to_json(score), indent=2, allow_nan=False))


def _embodied(arguments: argparse.Namespace) -> Embodied | None:
    from overwinter.disclosure import Embodied

    if arguments.embodied is None:
        if arguments.share != 1.0:
            raise ConfigError("--share is a share of --embodied. Declare that, such as --embodied '1500 kgCO2e'.")
        return None
    return Embodied(
        total_g=parse_quantity(arguments.embodied, key="--embodied", dimensions=("carbon",)).value,
        lifetime_s=parse_quantity(arguments.lifetime, key="--lifetime", dimensions=("time",)).value,
        share=arguments.share,
    )
