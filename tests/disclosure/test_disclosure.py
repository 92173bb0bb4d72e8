"""Formats that others read, read by the libraries of those others."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from overwinter.cli import main
from overwinter.disclosure import (
    Embodied,
    append_emissions,
    carbon_intensity,
    card_emissions,
    emissions_row,
    write_card,
)
from overwinter.disclosure.emissions_csv import COLUMNS
from overwinter.energy import Component
from overwinter.errors import ConfigError, OverwinterError
from overwinter.ledger import ExecutionRecord, Ledger, Origin, ledger_path
from tests.support.energy_records import energy_record

KWH = 3.6e6


def component(device: str, energy_j: float, source: str = "rapl") -> Component:
    """A part of a report over ten seconds."""
    return Component(
        device=device, energy_j=energy_j, uncertainty_j=0.0, source=source, average_w=energy_j / 10, peak_w=energy_j
    )


PARTS = (
    component("cpu:package-0", 0.5 * KWH),
    component("cpu:package-1", 0.25 * KWH),
    component("gpu:0", KWH, "nvml-counter"),
    component("gpu:1", KWH, "nvml-counter"),
    component("ram:package-0", 0.25 * KWH),
)


@pytest.fixture
def done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[ExecutionRecord]]:
    """A function that adds an execution to the ledger and returns all of them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)

    def run(**values: Any) -> list[ExecutionRecord]:
        usual = {"energy_j": 3 * KWH, "components": PARTS, "carbon_g": 600.0, "measured_fraction": 1.0}
        usual |= {"machine": "AMD EPYC, 64 threads", "intensity_source": "France", "intensity_kind": "average"}
        with Ledger.open(ledger_path(tmp_path)) as ledger:
            execution = ledger.begin(
                stage="watch: fit", run_id="r", configuration_key="k", origin=Origin(project="resnet")
            )
            execution.finish(status="done", exit_code=0, energy=energy_record(stage="watch: fit", **usual | values))
            return ledger.executions(documents=True)

    return run


def test_the_columns_are_those_of_the_installed_codecarbon():
    data = pytest.importorskip("codecarbon.output_methods.emissions_data", reason="codecarbon is not installed")
    assert tuple(field.name for field in dataclasses.fields(data.EmissionsData)) == COLUMNS


def test_a_row_has_codecarbon_s_units_and_its_parts_add_up(done):
    row = emissions_row(done()[0])
    assert (row["project_name"], row["experiment_id"], row["duration"]) == ("resnet", "watch: fit", 10.0)
    assert (row["emissions"], row["emissions_rate"]) == pytest.approx((0.6, 0.06))  # kg, kg/s
    parts = [row[f"{part}_energy"] for part in ("cpu", "gpu", "ram")]
    assert parts == [0.75, 2.0, 0.25]
    assert row["energy_consumed"] == sum(parts)
    assert row["gpu_power"] == pytest.approx(2 * KWH / 10)
    assert (row["cpu_model"], row["cpu_count"], row["gpu_count"]) == ("AMD EPYC", "64", 2)
    assert row["water_consumed"] is row["country_name"] is row["longitude"] is None


def test_what_measures_the_whole_machine_is_no_part(done):
    row = emissions_row(done(components=(component("machine", 3 * KWH, "hwmon"),))[0])
    assert (row["energy_consumed"], row["cpu_energy"], row["gpu_energy"], row["gpu_count"]) == (3.0, None, None, None)


def test_codecarbon_appends_to_our_file_and_we_to_its(done, tmp_path: Path):
    output = pytest.importorskip("codecarbon.output_methods.file", reason="codecarbon is not installed")
    data = pytest.importorskip("codecarbon.output_methods.emissions_data")
    executions = done()
    file = tmp_path / "emissions.csv"
    append_emissions(file, executions)
    theirs = data.EmissionsData(**{field.name: 1.0 for field in dataclasses.fields(data.EmissionsData)})
    output.FileOutput(file.name, str(tmp_path)).out(theirs, theirs)
    append_emissions(file, executions)
    rows = list(csv.DictReader(file.read_text().splitlines()))
    assert [float(row["energy_consumed"]) for row in rows] == [3.0, 1.0, 3.0]
    assert list(tmp_path.glob("emissions.csv*")) == [file]  # CodeCarbon found its own columns and made no backup


def test_a_file_with_other_columns_is_refused_and_kept(done, tmp_path: Path):
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ConfigError, match="other columns"):
        append_emissions(tmp_path / "other.csv", done())
    assert (tmp_path / "other.csv").read_text() == "a,b\n1,2\n"


def test_huggingface_hub_parses_the_model_card_and_keeps_the_rest(done, tmp_path: Path):
    hub = pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")
    done()
    executions = done(carbon_g=None)
    emissions = card_emissions(executions, training_type="fine-tuning", location="Lyon, France")
    card = tmp_path / "README.md"
    card.write_text("---\nlicense: mit\nco2_eq_emissions: 5\n---\n# Model\n")
    write_card(card, emissions)
    parsed = hub.ModelCard.load(card)
    assert parsed.data.license == "mit"
    assert "# Model" in parsed.text
    found = parsed.data["co2_eq_emissions"]
    assert found["emissions"] == 600.0  # grams
    assert (found["training_type"], found["geographical_location"]) == ("fine-tuning", "Lyon, France")
    assert found["hardware_used"] == "AMD EPYC, 64 threads, 2 GPUs"
    assert "1 more of unknown emissions" in found["source"]
    assert "100% measured" in found["source"]
    write_card(tmp_path / "new.md", emissions)
    assert hub.ModelCard.load(tmp_path / "new.md").data["co2_eq_emissions"] == found
    with pytest.raises(OverwinterError, match="known emissions"):
        card_emissions(executions[1:])


def test_the_software_carbon_intensity_is_null_until_unit_and_hardware_are_declared(done):
    executions = done()
    assert carbon_intensity(executions).sci_g_per_unit is None
    declared = {"functional_unit": "response", "units": 3000.0}
    without_hardware = carbon_intensity(executions, **declared)
    assert (without_hardware.sci_g_per_unit, without_hardware.operational_g) == (None, 600.0)
    year_s = 365 * 86400.0
    embodied = Embodied(total_g=year_s * 60, lifetime_s=year_s, share=0.5)  # 60 g a second, half of it reserved
    score = carbon_intensity(executions, **declared, embodied=embodied)
    assert score.embodied_g == pytest.approx(300.0)
    assert score.sci_g_per_unit == pytest.approx((600 + 300) / 3000)
    assert (score.energy_kwh, score.intensity_kinds, score.executions) == (3.0, ("average",), 1)
    assert carbon_intensity(done(carbon_g=None), **declared, embodied=embodied).sci_g_per_unit is None
    assert carbon_intensity([], **declared, embodied=embodied).sci_g_per_unit is None


@pytest.mark.parametrize(
    "declared", [{"functional_unit": "response"}, {"units": 3.0}, {"functional_unit": "response", "units": 0.0}]
)
def test_half_a_declaration_is_refused(declared: dict[str, Any]):
    with pytest.raises(ConfigError):
        carbon_intensity([], **declared)


@pytest.mark.parametrize(("lifetime_s", "share"), [(0.0, 1.0), (1.0, 0.0), (1.0, 1.1), (1.0, math.nan)])
def test_embodied_carbon_that_cannot_be_is_refused(lifetime_s: float, share: float):
    with pytest.raises(ConfigError, match="embodied"):
        Embodied(total_g=1.0, lifetime_s=lifetime_s, share=share)


def test_the_command_writes_every_format(done, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    done()
    assert main(["disclose", "codecarbon", "emissions.csv", "--project", "resnet"]) == 0
    assert len((tmp_path / "emissions.csv").read_text().splitlines()) == 2
    assert main(["disclose", "model-card", "--location", "Lyon"]) == 0
    assert "emissions: 600.0" in capsys.readouterr().out
    words = ["--unit", "response", "--units", "60", "--embodied", "1500 kgCO2e", "--lifetime", "1000 d"]
    assert main(["disclose", "sci", *words]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["sci_g_per_unit"] == pytest.approx((600 + 1.5e6 * 10 / 86.4e6) / 60)
    assert main(["disclose", "sci", "--project", "resnet"]) == 0
    assert json.loads(capsys.readouterr().out)["sci_g_per_unit"] is None
