"""`overwinter measure`: joules of any command, which itself notices nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

MEASURE = [sys.executable, "-m", "overwinter.cli", "measure"]
BURN = "import time\nwhile time.process_time() < 0.4: pass"


def measure(*words: str, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*MEASURE, *words], capture_output=True, text=True, check=False, cwd="/", **more)


def test_joules_of_a_command_and_its_children() -> None:
    done = measure("--json", "--", "sh", "-c", f"{sys.executable} -S -c '{BURN}'; exit 0")
    report = json.loads(done.stderr)
    assert done.returncode == 0
    assert report["energy_j"] > 0
    assert report["uncertainty_j"] > 0
    assert report["duration_s"] >= 0.4
    assert report["command"][0] == "sh"
    assert {part["device"] for part in report["components"]} >= {"ram"} or report["measured_fraction"] == 1
    if report["measured_fraction"] == 0:
        # by default 4 W a busy thread, of which 70 % lie above idle, or what the table says of this CPU
        assert report["above_idle_j"] > 0.1


def test_the_table_says_what_is_modelled() -> None:
    done = measure("--", "sleep", "0.2")
    lines = done.stderr.splitlines()
    assert lines[0].split() == ["device", "source", "energy", "uncertainty", "average", "peak"]
    assert any(line.startswith("total") and "±" in line for line in lines)
    assert any("measured" in line for line in lines)


@pytest.mark.parametrize("code", [0, 1, 7, 255])
def test_the_exit_code_passes_through(code: int) -> None:
    assert measure("--", "sh", "-c", f"exit {code}").returncode == code


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_a_command_killed_by_a_signal_gives_128_and_its_number(number: signal.Signals) -> None:
    assert measure("--", "sh", "-c", f"kill -{int(number)} $$").returncode == 128 + number


def test_streams_pass_through_byte_for_byte(tmp_path: Path) -> None:
    content = os.urandom(300_000)
    report = tmp_path / "report.json"
    command = [*MEASURE, "--output", str(report), "--", "sh", "-c", "cat; echo complaint >&2"]
    done = subprocess.run(command, input=content, capture_output=True, check=True)
    assert done.stdout == content
    assert done.stderr == b"complaint\n"
    assert json.loads(report.read_text())["exit_code"] == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_signals_are_forwarded_once(number: signal.Signals) -> None:
    script = (
        "import signal, sys, time\n"
        "got = []\n"
        f"signal.signal({int(number)}, lambda *_: got.append(1))\n"
        "print('ready', flush=True)\n"
        "while not got: time.sleep(0.01)\n"
        "time.sleep(0.1)\n"
        "sys.exit(40 + len(got))\n"
    )
    command = [*MEASURE, "--json", "--", sys.executable, "-S", "-c", script]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    _, reported = process.communicate(timeout=20)
    assert process.returncode == 41
    assert json.loads(reported)["exit_code"] == 41


def test_the_command_gets_its_signals_as_if_started_alone() -> None:
    """Neither blocked signals nor Python's ignored SIGPIPE are inherited: `yes | head` would run for ever."""
    script = "import signal; print(signal.pthread_sigmask(signal.SIG_BLOCK, []))"
    done = measure("--", sys.executable, "-c", script)
    assert done.stdout == "set()\n"
    done = measure("--", "sh", "-c", "grep SigIgn /proc/self/status")
    assert int(done.stdout.split()[1], 16) & (1 << (signal.SIGPIPE - 1)) == 0


def test_a_missing_command_and_no_command(tmp_path: Path) -> None:
    assert measure("--", "no-such-command-here").returncode == 127
    assert "no such command" in measure("--", "no-such-command-here").stderr
    plain = tmp_path / "plain.txt"
    plain.write_text("not a program")
    assert measure("--", str(plain)).returncode == 126
    done = measure()
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_options_of_the_command_are_its_own() -> None:
    done = measure("--json", "--", "sh", "-c", 'echo "$1"', "name", "--json")
    assert done.stdout == "--json\n"


def test_settings_come_from_the_project(tmp_path: Path) -> None:
    (tmp_path / ".dvc").mkdir()
    params = tmp_path / "params.yaml"
    params.write_text(
        json.dumps(
            {
                "energy": {
                    "sources": ["modelled"],
                    "sample_interval_s": 0.1,
                    "rapl_root": "/nowhere",
                    "cross_check": "none",
                },
                "hardware": {
                    "cpu_tdp_w": 1000.0,
                    "cpu_threads": 1,
                    "cpu_w_per_thread": 4.0,
                    "cpu_idle_fraction": 0.0,
                    "ram_w_per_gib": 0.0,
                    "relative_uncertainty": 0.1,
                    "idle_w": {},
                },
            }
        )
    )
    command = [*MEASURE, "--json", "--", sys.executable, "-S", "-c", BURN]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert json.loads(done.stderr)["energy_j"] == pytest.approx(400, rel=0.2)  # 0.4 CPU seconds at 1000 W
    params.write_text("energy: [")
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert "params.yaml cannot be read" in done.stderr


def test_it_starts_without_heavy_imports() -> None:
    code = (
        "import sys; from overwinter.cli import main\n"
        "main(['measure', '--', 'true'])\n"
        "print(sorted(sys.modules.keys() & {'torch', 'hydra', 'omegaconf', 'rich', 'numpy', 'codecarbon'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/")
    assert done.stdout.strip() == "[]"


def test_it_returns_promptly() -> None:
    begun_s = time.monotonic()
    measure("--", "true")
    assert time.monotonic() - begun_s < 5  # the figure itself is in benchmarks/metering.py


def test_an_output_that_cannot_be_written_is_reported_before_the_command_runs(tmp_path: Path) -> None:
    for output in (tmp_path, tmp_path / "missing" / "report.json", Path("/proc/nowhere.json"), Path()):
        done = measure("--output", str(output) if output.parts else "", "--", "touch", str(tmp_path / "ran"))
        assert done.returncode == 2, output
        assert "Traceback" not in done.stderr
        assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(("code", "expected"), [(0, 1), (7, 7)])
def test_figures_that_no_file_takes_are_not_lost(code: int, expected: int) -> None:
    done = measure("--output", "/dev/full", "--", "sh", "-c", f"exit {code}")
    assert done.returncode == expected
    assert "No space left" in done.stderr
    assert json.loads(done.stderr.splitlines()[-1])["exit_code"] == code


def test_the_report_goes_to_a_pipe_and_to_standard_output(tmp_path: Path) -> None:
    done = measure("--output", "/dev/stdout", "--", "echo", "said")
    message, _, report = done.stdout.partition("\n")
    assert message == "said"
    assert json.loads(report)["command"] == ["echo", "said"]
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE)
    measure("--output", str(pipe), "--", "true")
    assert json.loads(reader.communicate(timeout=20)[0])["exit_code"] == 0


def test_a_daemon_counts_until_the_command_ends_and_is_named(tmp_path: Path) -> None:
    daemon = f"import time, os\nopen({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\nwhile True: pass"
    script = f'({sys.executable} -S -c "$0" >/dev/null 2>&1 &) ; sleep 1'
    begun_s = time.monotonic()
    done = measure("--json", "--", "sh", "-c", script, daemon)
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    assert time.monotonic() - begun_s < 30
    assert any("that the command started still run" in text for text in json.loads(done.stderr)["warnings"])


def test_a_measure_within_a_measure(tmp_path: Path) -> None:
    inner = tmp_path / "inner.json"
    command = [*MEASURE, "--output", str(inner), "--", sys.executable, "-S", "-c", BURN]
    outer = json.loads(measure("--json", "--", *command).stderr)
    assert outer["exit_code"] == 0
    assert outer["energy_j"] > json.loads(inner.read_text())["energy_j"]


def ledger(folder: Path, *words: str) -> Any:
    command = [sys.executable, "-m", "overwinter.cli", "ledger", "--json", *words]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder).stdout)


def test_a_ledger_entry_is_weighed_and_is_no_stage(tmp_path: Path) -> None:
    (tmp_path / ".dvc").mkdir()
    for words in (["--name", "my build", "--", "true"], ["--ledger", "--", "sh", "-c", "exit 3"], ["--", "true"]):
        subprocess.run([*MEASURE, *words], capture_output=True, check=False, cwd=tmp_path)
    found = ledger(tmp_path)
    first, second = found["executions"]
    assert [first["stage"], second["stage"]] == ["measure: my build", "measure: sh"]
    assert [first["status"], second["status"]] == ["done", "failed"]
    assert first["carbon_g"] == pytest.approx(first["energy_j"] / 3.6e6 * 475.0)
    assert found["total"]["executions"] == 0
    assert found["commands"]["executions"] == 2
    assert not any(record["wasted"] for record in found["executions"])


def test_the_project_s_own_carbon_source_weighs(tmp_path: Path) -> None:
    (tmp_path / ".dvc").mkdir()
    (tmp_path / "params.yaml").write_text(
        json.dumps({"energy": {}, "hardware": {}, "carbon": {"source": "constant", "intensity_g_per_kwh": 50.0}})
    )
    report = tmp_path / "report.json"
    subprocess.run([*MEASURE, "--ledger", "--output", str(report), "--", "sleep", "0.2"], check=True, cwd=tmp_path)
    content = json.loads(report.read_text())
    assert content["carbon_g"] == pytest.approx(content["energy_j"] / 3.6e6 * 50.0)
    assert content["intensity_g_per_kwh"] == 50.0


def test_a_command_that_does_not_start_ends_its_entry(tmp_path: Path) -> None:
    done = subprocess.run(
        [*MEASURE, "--ledger", "--", "no-such-command-here"], capture_output=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 127
    assert [record["exit_code"] for record in ledger(tmp_path)["executions"]] == [127]
