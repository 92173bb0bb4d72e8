"""The page: self-contained, and in headless Chromium its figures equal those in the JSON files."""

import json
import re

import pytest

from overwinter.cli import main
from overwinter.report.page import read_content, render_page
from overwinter.report.page.rendering import FORMATS
from tests.support.browser import needs_browser, open_page
from tests.support.page_figures import check_figures
from tests.support.report_project import make_report_project


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return make_report_project(tmp_path / "winter", wasted_j=50.0)


def test_its_figures_are_those_in_the_files(project):
    page = render_page(read_content(project))
    assert check_figures(page, project.root) >= 30


def test_it_needs_nothing_from_elsewhere(project):
    page = render_page(read_content(project))
    outside = re.findall(r"""(?:src|href|url\()\s*=?\s*["'(]?((?:https?:)?//[^"')\s]+)""", page)
    assert outside == []
    assert "<script" not in page


def test_joules_per_token_stand_where_text_is_written(project):
    path = project.outputs / "evaluate" / "comparison.json"
    content = json.loads(path.read_text())
    for each in content["candidates"].values():
        del each["at_batch"]
        each |= {"prefill": {"energy_per_token_j": 0.001}, "decode": {"energy_per_token_j": 0.02}}
    path.write_text(json.dumps(content))
    page = render_page(read_content(project))
    assert page.count(">20.0 mJ</data>") == len(content["candidates"])
    assert check_figures(page, project.root) >= 40
    assert "at once where a request can wait" not in page


def test_payback_has_no_more_digits_than_are_known():
    assert FORMATS["estimate"](1_594_775.3).replace("\N{NARROW NO-BREAK SPACE}", ",") == "1,590,000"
    assert FORMATS["estimate"](12.34) == "12"


def test_what_people_write_is_escaped(project):
    report = project.outputs / "train" / "gate_report.json"
    content = json.loads(report.read_text())
    report.write_text(json.dumps({**content, "warnings": ["<script>alert(1)</script>"]}))
    page = render_page(read_content(project))
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_without_vl_convert_it_has_no_charts_and_says_so(project, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "vl_convert", None)
    page = render_page(read_content(project))
    assert "<svg" not in page
    assert "pip install &#39;overwinter[report]&#39;" in page or "pip install 'overwinter[report]'" in page


def test_the_command_writes_the_page_and_the_figures(project, monkeypatch, capsys):
    pytest.importorskip("vl_convert", reason="overwinter[report] is not installed")
    monkeypatch.chdir(project.root)
    assert main(["report", "-o", "page.html", "--figures", "figures"]) == 0
    assert capsys.readouterr().out == "page.html\n"
    assert check_figures((project.root / "page.html").read_text(), project.root)
    written = sorted(path.name for path in (project.root / "figures").iterdir())
    charts = ("candidates", "curves", "flow", "power")
    assert written == sorted(f"{name}.{kind}" for name in charts for kind in ("png", "svg"))
    assert main(["report", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["total"]["energy_j"] == 400.0


@pytest.mark.special
@needs_browser
def test_a_browser_renders_it_without_an_error(project, tmp_path):
    pytest.importorskip("vl_convert", reason="overwinter[report] is not installed")
    page = tmp_path / "report.html"
    page.write_text(render_page(read_content(project)))
    done = open_page(page)
    assert "CONSOLE" not in done.stderr
    assert check_figures(done.stdout, project.root) >= 30
    assert done.stdout.count("<svg") == 8  # four charts, for a screen and for a phone
