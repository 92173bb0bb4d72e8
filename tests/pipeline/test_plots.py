"""The DVC plot of power.csv with the template: a panel per device."""

import csv
import io
import json

import pytest
from dvc_render import VegaRenderer

from overwinter.config import find_project
from overwinter.pipeline.composing import write_composed
from overwinter.pipeline.creation import create_project
from overwinter.pipeline.plots import TEMPLATE, render_power_plot

POWER = """\
time_s,device,power_w,limit_w,intensity_g_per_kwh
0.298,cpu,5.104,,475
0.298,gpu:0,250,300.000,475
0.298,gpu:1,251,300.000,475
0.406,cpu,5.104,,475
"""


@pytest.fixture
def drawn(tmp_path):
    (tmp_path / f"{TEMPLATE}.json").write_text(render_power_plot())
    rows = [{**row, "rev": "workspace"} for row in csv.DictReader(io.StringIO(POWER))]
    axes = {"x": "time_s", "y": "power_w", "x_label": "seconds", "y_label": "watts", "title": "train: power"}
    return VegaRenderer(rows, "power.csv", template=TEMPLATE, template_dir=str(tmp_path), **axes).get_filled_template()


def test_every_device_has_a_panel_with_its_own_scale(drawn):
    assert drawn["facet"]["row"]["field"] == "device"
    assert drawn["resolve"]["scale"]["y"] == "independent"
    assert {row["device"] for row in drawn["data"]["values"]} == {"cpu", "gpu:0", "gpu:1"}


def test_power_and_limit_are_drawn_over_time_and_revisions_in_colours(drawn):
    layers, shared = drawn["spec"]["layer"], drawn["spec"]["encoding"]
    assert [layer["encoding"]["y"]["field"] for layer in layers] == ["power_w", "limit_w"]
    assert "datum['limit_w'] !== ''" in layers[1]["transform"][0]["filter"]  # where there is none, no line at 0
    assert (shared["x"]["field"], shared["color"]["field"]) == ("time_s", "rev")
    assert "<DVC" not in json.dumps(drawn)


def test_a_new_project_has_the_template_and_compose_puts_it_back(tmp_path):
    create_project(tmp_path / "mine")
    project = find_project(tmp_path / "mine")
    template = project.plot_templates / f"{TEMPLATE}.json"
    assert template.read_text() == render_power_plot()
    template.unlink()
    assert template in write_composed(project)
    assert write_composed(project) == []
