"""The cross-check with CodeCarbon: offline, comparable, exportable."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from overwinter.energy import open_meter
from overwinter.energy.cross_check import CodeCarbonCheck, open_cross_check
from overwinter.energy.report import build_report
from overwinter.errors import ConfigError

RUN = """
import json, socket, sys, time
from types import SimpleNamespace
opened = []
connect = socket.socket.connect
socket.socket.connect = lambda self, address: opened.append(str(address)) or connect(self, address)
socket.getaddrinfo = lambda *args, **more: opened.append(str(args)) or []
from overwinter.energy import open_meter
from overwinter.records import to_json
energy, hardware = (SimpleNamespace(**group) for group in json.loads(sys.argv[1]))
with open_meter(energy, hardware) as meter:
    time.sleep(2.5)
print(json.dumps({"opened": opened, "report": to_json(meter.read())}))
"""


def test_it_opens_no_socket_disagrees_aloud_and_exports_its_csv(
    tmp_path: Path, energy_config: Any, hardware_config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    csv_path = tmp_path / "out" / "emissions.csv"
    energy_config.cross_check, energy_config.cross_check_threshold = "codecarbon", 0.0
    energy_config.cross_check_csv = str(csv_path)
    (tmp_path / ".codecarbon.config").write_text("[codecarbon]\nsave_to_api=true\npue=100\nforce_cpu_power=5000\n")
    monkeypatch.setenv("CODECARBON_COUNTRY_ISO_CODE", "USA")
    groups = json.dumps([vars(energy_config), vars(hardware_config)])
    done = subprocess.run([sys.executable, "-c", RUN, groups], capture_output=True, text=True, check=True, cwd=tmp_path)
    output = json.loads(done.stdout)
    assert output["opened"] == []
    assert any(text.startswith("cross-check: CodeCarbon measured") for text in output["report"]["warnings"])
    (row,) = csv.DictReader(csv_path.read_text().splitlines())
    assert row["country_iso_code"] == "FRA"
    assert float(row["pue"]) == 1.0
    assert 0 < float(row["cpu_energy"]) * 3.6e6 < 1000  # not the 5000 W that the stray configuration file asks for
    assert not (tmp_path / "emissions.csv").exists()


def test_agreement_is_silent_and_disagreement_is_not() -> None:
    check = CodeCarbonCheck(threshold=0.5, country="FRA", csv_path=None)
    ours = build_report(name="w", duration_s=1, draws=[], idle_w={}, warnings=[])
    messages: list[str] = []
    check.stop(ours, messages.append)  # never started: nothing to compare
    assert messages == []
    from dataclasses import replace

    from overwinter.energy.report import Component

    part = Component(device="cpu", energy_j=100, uncertainty_j=1, source="rapl", average_w=1, peak_w=1)
    ours = replace(ours, energy_j=100, components=(part, replace(part, device="ram", energy_j=900)))
    check._compare(ours, 140.0, messages.append)
    assert messages == []
    check._compare(ours, 160.0, messages.append)
    assert "60% apart" in messages[0]


def test_codecarbon_that_breaks_is_a_warning(
    energy_config: Any, hardware_config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "codecarbon", None)
    energy_config.cross_check = "codecarbon"
    with open_meter(energy_config, hardware_config) as meter:
        pass
    assert any("CodeCarbon does not start" in text for text in meter.read().warnings)


def test_an_unknown_cross_check_is_refused(energy_config: Any) -> None:
    energy_config.cross_check = "zeus"
    with pytest.raises(ConfigError, match="none, codecarbon"):
        open_cross_check(energy_config)
