"""The commands of docs/hardware.md, run as they stand there."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from overwinter import cli
from overwinter.energy import nvml
from tests.support.two_machines import THERE

PAGE = Path(__file__).parents[2] / "docs" / "hardware.md"


def test_the_documented_commands_run(machines, monkeypatch, capsys):
    monkeypatch.setattr(nvml, "nvml_status", lambda: (False, "", ""))
    root = machines.project.root
    machines.ran(machines.own, joules=100.0)
    machines.ran(root / "gpubox.sqlite", joules=30.0, host=THERE, device="gpu:0")
    hours = [datetime.now(UTC) + timedelta(hours=hour) for hour in range(-48, 24)]
    rows = [f"{hour.isoformat()},{100 + 10 * hour.hour}" for hour in hours]
    (root / "grid.csv").write_text("\n".join(["time_utc,g_per_kwh", *rows]))
    for line in PAGE.read_text().split("```console\n")[1].split("```")[0].splitlines():
        program, *words = shlex.split(line)
        assert (program, cli.main(words)) == ("overwinter", 0)
    assert "cleanest start" in capsys.readouterr().out


@pytest.mark.parametrize("name", sorted(path.stem for path in (PAGE.parents[1] / "configs" / "hardware").glob("*")))
def test_every_option_is_named(name):
    assert name == "auto" or f"`{name}`" in PAGE.read_text()
