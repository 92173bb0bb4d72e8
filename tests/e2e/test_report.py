"""The commands of docs/report.md on a real run: the page's figures are those of the stages' files."""

import json
import re
from pathlib import Path

import pytest

from tests.support.page_figures import check_figures

ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(r"^```sh\n(.*?)^```", (ROOT / "docs/report.md").read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_the_documented_commands_report_a_real_run(space):
    opened = space.root / "opened"
    for line in "".join(BLOCKS).splitlines():
        space("bash", "-c", line, BROWSER=f"sh -c 'echo %s >> {opened}'")
    page = (space.root / "report.html").read_text()
    assert check_figures(page, space.root) >= 30
    assert opened.read_text() == f"{(space.root / 'report.html').as_uri()}\n"
    assert (space.root / "october.html").exists()
    content = json.loads(space("overwinter", "report", "--json").stdout)
    listed = json.loads(space("overwinter", "ledger", "--json").stdout)
    assert content["ledger"]["total"]["energy_j"] == pytest.approx(listed["total"]["energy_j"])
    assert content["outdated"] == {}
