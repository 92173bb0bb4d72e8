"""Draw the README's picture of a real run: joules per response and quality of each candidate, with intervals.

python benchmarks/picture.py PROJECT   # figures of a project that has run, into results/picture.json; then the picture
python benchmarks/picture.py           # only the picture, from results/picture.json
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from common import RESULTS, write_result
from overwinter.config import find_project
from overwinter.files import write_text
from overwinter.records import parse_record
from overwinter.report.page import read_content
from overwinter.report.page.charts import candidate_chart
from overwinter.report.page.content import Responses
from overwinter.report.page.drawing import ON_PAPER, svg_of

PICTURE = Path(__file__).parents[1] / "docs" / "run.svg"
_WIDTH = 760


def record(project: Path) -> None:
    """Keep the figures of a project's present results that the picture shows."""
    content = read_content(find_project(project))
    if content.responses is None:
        sys.exit(f"{project} has no results of the stage evaluate. Run `overwinter run` there first.")
    write_result("picture", {"responses": asdict(content.responses)})


def picture() -> str:
    """Return the picture as SVG, from the figures in results/picture.json."""
    kept = json.loads((RESULTS / "picture.json").read_text(encoding="utf-8"))
    responses = parse_record(Responses, kept["responses"], where="results/picture.json", remedy="Record it again.")
    content: Any = SimpleNamespace(responses=responses)
    chart = candidate_chart(content, _WIDTH, ON_PAPER)
    if chart is None:
        sys.exit("results/picture.json has no candidates. Record it again.")
    return svg_of({**chart, "padding": 12}, ON_PAPER)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        record(Path(sys.argv[1]))
    write_text(PICTURE, picture())
    print(PICTURE)
