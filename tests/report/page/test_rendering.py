"""The page: self-contained, and in headless Chromium its figures equal those in the JSON files."""

import html.parser
import json
import re
import shutil
import subprocess

import pytest

from overwinter.cli import main
from overwinter.report.page import read_content, render_page
from overwinter.report.page.rendering import FORMATS
from tests.support.report_project import make_report_project

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
QUIET = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
    "--virtual-time-budget=2000",
]


class Figures(html.parser.HTMLParser):
    """Collects the page's `data` elements: their attributes and their text."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[dict[str, str]] = []
        self._open = False

    def handle_starttag(self, tag, attrs):
        if tag == "data":
            self._open = True
            self.found.append({**dict(attrs), "text": ""})

    def handle_endtag(self, tag):
        self._open = self._open and tag != "data"

    def handle_data(self, data):
        if self._open:
            self.found[-1]["text"] += data


def figures_in(page: str) -> list[dict[str, str]]:
    parser = Figures()
    parser.feed(page)
    return parser.found


def value_at(content, key: str):
    """Return the value at a dotted key; a name in it may itself contain dots or an @."""
    while key:
        if isinstance(content, list):
            name, _, key = key.partition(".")
            content = content[int(name)]
            continue
        name = next(each for each in content if key == each or key.startswith(f"{each}."))
        content, key = content[name], key[len(name) + 1 :]
    return content


def check_figures(page: str, root) -> int:
    """Check that every figure that names a file is the one in it, in value and as text; return their number."""
    from_files = [each for each in figures_in(page) if "data-file" in each]
    for each in from_files:
        value = value_at(json.loads((root / each["data-file"]).read_text()), each["data-key"])
        assert float(each["value"]) == value, each
        assert each["text"].strip() == FORMATS[each["data-format"]](value), each
    return len(from_files)


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
@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: apt-get install chromium")
def test_a_browser_renders_it_without_an_error(project, tmp_path):
    pytest.importorskip("vl_convert", reason="overwinter[report] is not installed")
    page = tmp_path / "report.html"
    page.write_text(render_page(read_content(project)))
    done = subprocess.run(
        [CHROMIUM, *QUIET, f"--user-data-dir={tmp_path / 'browser'}", "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert "CONSOLE" not in done.stderr
    assert check_figures(done.stdout, project.root) >= 30
    assert done.stdout.count("<svg") == 8  # four charts, for a screen and for a phone
