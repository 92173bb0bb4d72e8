"""The models of a running server, as its own metrics tell."""

import math
from types import SimpleNamespace

import pytest
from prometheus_client import generate_latest

from overwinter.errors import OverwinterError
from overwinter.report.page import read_content, render_page
from overwinter.report.page.served import served_models
from overwinter.serving.metrics import Metrics, ModelMetrics
from tests.support.report_project import make_report_project

STATUS = {"state": "off", "why": "idle", "requests": 5, "wakes": 1, "crashes": 0, "energy_basis": "rapl"}


@pytest.fixture
def server():
    """Return the status and the metrics of a server whose model was off for 30 of 40 seconds, for given waits."""

    def made(*waits_s, saved=None):
        metrics, now_s = Metrics(), [0.0]
        draw = SimpleNamespace(
            source=None, ready_w=2.0, parked_w=1.0, preforked_w=1.0, off_w=0.0, off_wake_j=5.0, responding_w=1.0
        )
        model = ModelMetrics(
            "digits", power_draw=draw, metrics=metrics, log=lambda *_, **__: None, now_s=lambda: now_s[0]
        )
        model.entered("replica", "ready", reason="start")
        now_s[0] = 10.0
        model.entered("replica", "off", reason="idle")
        now_s[0] = 40.0
        for wait_s in waits_s:
            model.waited(wait_s)
        seconds = model.seconds()
        energy_j = {state: 2.0 * spent_s for state, spent_s in seconds.items()}
        status = {**STATUS, "state_s": seconds, "energy_j": energy_j, "saved_j": saved}
        return {"models": {"digits": status}}, generate_latest(metrics.registry).decode()

    return made


def test_time_in_each_state_is_the_servers(server):
    (model,) = served_models(*server())
    assert (model.state_s["ready"], model.state_s["off"]) == (10.0, 30.0)
    assert (model.saved_j, model.wait_p95_s) == (None, None)


@pytest.mark.parametrize(
    ("waits_s", "p95_s"),
    [([0.001] * 19 + [0.4], 0.005), ([0.001] * 18 + [0.4] * 2, 0.5), ([100.0], math.inf)],
)
def test_the_p95_of_waits_is_the_upper_end_of_its_bucket(server, waits_s, p95_s):
    (model,) = served_models(*server(*waits_s))
    assert model.wait_p95_s == p95_s


def test_the_page_shows_what_was_saved_with_its_interval(server, tmp_path, monkeypatch):
    monkeypatch.delenv("DVC_ROOT", raising=False)
    saved = {"value": 100.0, "standard_uncertainty": 10.0}
    served = served_models(*server(0.001, saved=saved))
    page = render_page(read_content(make_report_project(tmp_path), served=served))
    assert "80.4 J to 120 J" in page
    assert "<td>75 %</td>" in page  # of the time asleep


def test_another_status_is_refused():
    with pytest.raises(OverwinterError, match="cannot be read"):
        served_models({"models": {"digits": {}}}, "")
