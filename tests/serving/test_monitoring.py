"""examples/monitoring asks only for metrics that a server has, and Prometheus's own tool accepts its rules."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from prometheus_client import generate_latest

from overwinter.serving.metrics import STATES, Metrics, ModelMetrics

MONITORING = Path(__file__).parents[2] / "examples" / "monitoring"
PROMTOOL = shutil.which("promtool")
DRAW = {"source": "rapl", "uncertainty_w": 0.1, "wake_uncertainty_j": 0.1, "parked_wake_j": 1.0}
DRAW |= {"responding_w": 1.0, "preforked_wake_j": 1.0, "off_wake_j": 2.0, **{f"{state}_w": 1.0 for state in STATES}}


@pytest.fixture
def exposed():
    """Return the text that a server exposes after a request, a wake, a crash and a wait."""
    metrics = Metrics()
    made = ModelMetrics(
        "digits", power_draw=SimpleNamespace(**DRAW), metrics=metrics, log=lambda *_, **__: None, now_s=lambda: 1.0
    )
    made.entered("replica", "off", reason="crash")
    made.woke("off", 0.2, steps_s={"load": 0.1})
    made.waited(0.1)
    made.answered(200, within_s=0.1)
    return generate_latest(metrics.registry).decode()


def _expressions():
    for panel in json.loads((MONITORING / "dashboard.json").read_text())["panels"]:
        yield from (target["expr"] for target in panel["targets"])
    for group in yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"]:
        yield from (rule["expr"] for rule in group["rules"])


@pytest.mark.parametrize("expression", list(_expressions()))
def test_it_asks_for_metrics_and_labels_that_a_server_has(exposed, expression):
    for name in re.findall(r"overwinter_\w+", expression):
        samples = [line for line in exposed.splitlines() if re.match(rf"{name}[ {{]", line)]
        assert samples, f"{name} is not exposed"
        by = re.search(r"by \(([^)]*)\)", expression)
        for label in by[1].split(", ") if by else ():
            assert f'{label}="' in samples[0], f"{name} has no label {label}"


def test_panels_do_not_overlap():
    taken = set()
    for panel in json.loads((MONITORING / "dashboard.json").read_text())["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken
        assert place["x"] + place["w"] <= 24
        taken |= cells


@pytest.mark.special
@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed: apt-get install prometheus")
@pytest.mark.parametrize("words", [("check", "rules", "alerts.yaml"), ("test", "rules", "alerts_test.yaml")])
def test_promtool_accepts_the_rules_and_their_tests(words):
    done = subprocess.run([PROMTOOL, *words], cwd=MONITORING, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
