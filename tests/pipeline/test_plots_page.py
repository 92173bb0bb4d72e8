"""The page of DVC's plots: drawn without a network."""

import configparser
import csv
import io
import sys
from pathlib import Path

import pytest
from dvc_render import VegaRenderer, render_html

from overwinter.config import find_project
from overwinter.pipeline.creation import create_project
from overwinter.pipeline.plots import TEMPLATE, render_power_plot
from overwinter.pipeline.plots_page import PAGE, render_plots_page, write_vega
from tests.support.browser import needs_browser, open_page

ROOT = Path(__file__).parents[2]
POWER = """\
time_s,device,power_w,limit_w,intensity_g_per_kwh
0.3,cpu,5.1,,475
0.3,gpu:0,250,300,475
0.4,cpu,5.2,,475
0.4,gpu:0,251,300,475
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    create_project(tmp_path / "mine")
    return find_project(tmp_path / "mine")


def vega(project):
    return project.root / ".dvc" / "tmp" / "vega.js"


def shown(project):
    """What `dvc plots show` writes of a trace of two devices."""
    rows = [{**row, "rev": "workspace"} for row in csv.DictReader(io.StringIO(POWER))]
    axes = {"x": "time_s", "y": "power_w", "title": "train: power"}
    plot = VegaRenderer(rows, "power.csv", template=TEMPLATE, template_dir=str(project.plot_templates), **axes)
    page = project.root / "dvc_plots" / "index.html"
    render_html([plot], page, str(project.plot_templates / PAGE))
    return page


@pytest.mark.special
@needs_browser
def test_a_browser_draws_one_panel_per_device_without_a_network(project):
    pytest.importorskip("vl_convert", reason="overwinter[report] is not installed")
    write_vega(project)
    drawn = open_page(shown(project))
    assert [drawn.stdout.count(f">{device}</text>") for device in ("cpu", "gpu:0")] == [1, 1]
    assert "Uncaught" not in drawn.stderr


@pytest.mark.special
@needs_browser
def test_without_the_local_copy_and_without_a_network_the_page_says_what_to_run(project):
    drawn = open_page(shown(project))
    assert "<svg" not in drawn.stdout
    assert "<code>overwinter compose</code>" in drawn.stdout


def test_the_local_copy_is_made_once_per_user(project, tmp_path, monkeypatch):
    pytest.importorskip("vl_convert", reason="overwinter[report] is not installed")
    write_vega(project)
    assert "vegaEmbed" in vega(project).read_text()
    (kept,) = (tmp_path / "cache" / "overwinter").iterdir()
    kept.write_text("kept")
    vega(project).unlink()
    write_vega(project)
    assert vega(project).read_text() == "kept"


def test_without_vl_convert_nothing_is_written(project, monkeypatch):
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    write_vega(project)
    assert not vega(project).exists()


def test_a_home_that_cannot_be_written_does_not_matter(project, tmp_path, monkeypatch):
    pytest.importorskip("vl_convert", reason="overwinter[report] is not installed")
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    write_vega(project)
    assert vega(project).exists()


def test_every_project_names_its_page(project):
    roots = [project.root, ROOT, *(path.parent.parent for path in ROOT.glob("pipelines/*/.dvc/config"))]
    for root in roots:
        config = configparser.ConfigParser()
        config.read(root / ".dvc" / "config")
        assert (root / ".dvc" / config["plots"]["html_template"]).read_text() == render_plots_page()
        assert (root / ".dvc" / "plots" / f"{TEMPLATE}.json").read_text() == render_power_plot()
