"""`overwinter report`: a page that shows where the joules went, what was saved and what to try next."""

from __future__ import annotations

import argparse
import json
import webbrowser
from pathlib import Path

from overwinter.errors import EXIT_DONE
from overwinter.files import write_error
from overwinter.outputs import check_output, output_path, write_output

_PAGE = "report.html"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the files to write."""
    parser.add_argument("-o", "--output", type=output_path, metavar="FILE", help=f"page to write; {_PAGE} by default")
    parser.add_argument("--open", action="store_true", help="open the page in a browser")
    parser.add_argument(
        "--figures", type=Path, metavar="DIR", help="also write the charts into a folder, as SVG and PNG"
    )
    parser.add_argument("--sweep", metavar="NAME", help="sweep to show; by default the latest")
    parser.add_argument("--json", action="store_true", help="print what the page shows as JSON, and write no page")


def run(arguments: argparse.Namespace) -> int:
    """Write the page; return 0."""
    from overwinter.config import find_project
    from overwinter.report.page import read_content, render_page, write_figures
    from overwinter.report.page.drawing import require_available

    page = arguments.output or Path(_PAGE)
    if arguments.figures is not None:
        require_available()
    if not arguments.json:
        check_output(page)
    content = read_content(find_project(), sweep=arguments.sweep)
    if arguments.figures is not None:
        try:
            write_figures(content, arguments.figures)
        except OSError as error:
            raise write_error(arguments.figures, error) from error
    if arguments.json:
        print(json.dumps(content.to_json(), indent=2))
        return EXIT_DONE
    write_output(page, render_page(content))
    print(page)
    if arguments.open:
        webbrowser.open(page.absolute().as_uri())
    return EXIT_DONE
