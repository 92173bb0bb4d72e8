"""Power policies in a real run, on a machine that lets no one set a limit."""

import importlib.util
import json
import re
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SETTINGS = ("threads=1", "train.batch_size=32")


def _trained(space, *overrides, epochs=2):
    """Train in a scratch folder; with two epochs as in the project's own run. Return the folder."""
    return _results(space("python", "stages/train.py", *SETTINGS, f"train.epochs={epochs}", *overrides).stdout)


def _results(reported):
    return Path(reported.rsplit("scratch results are in ", 1)[1].strip())


def _weights(folder):
    return (folder / "model/weights.safetensors").read_bytes()


@pytest.mark.slow
def test_a_duty_cycle_caps_without_privileges_and_changes_no_bit(space):
    """Small batches make it last: what is over within a quarter of a second is never looked at."""
    long, epochs = ("train.batch_size=8",), 3
    policy = ("power=static", "power.limit='2 %'", "power.actuator=duty_cycle", "power.interval_s=1")
    free = _trained(space, *long, epochs=epochs)
    capped = _trained(space, *long, *policy, epochs=epochs)
    energy = json.loads((capped / "energy.json").read_text())
    assert energy["power_policy"] == "static"
    assert energy["power_actuator"] == "duty_cycle"
    assert "saves no energy by itself" in energy["power_note"]
    assert energy["paused_s"] > 0
    assert _weights(capped) == _weights(free)


def test_without_the_right_to_limit_a_run_that_insists_is_refused_before_it_spends(space):
    done = space("python", "stages/train.py", "power=static", "power.on_denied=fail", check=False)
    assert done.returncode == 2
    assert "power.on_denied" in done.stderr


def _prices(space, dear_quarters):
    """Prices in quarter hours: dear from now on for so many, then cheap."""
    quarter = timedelta(minutes=15)
    start = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    now = int((datetime.now(UTC) - start) / quarter)
    rows = [0.9 if place < now + dear_quarters else 0.1 for place in range(24)]
    lines = [f"{start + place * quarter:%Y-%m-%dT%H:%M:%SZ},{price}" for place, price in enumerate(rows)]
    (space.root / "prices.csv").write_text("\n".join(["time_utc,price_per_kwh", *lines]) + "\n")


@pytest.mark.slow
def test_a_profile_is_found_and_a_policy_that_knows_it_pauses_in_dear_hours_and_goes_on_with_the_same_bits(space):
    """The stage ends while it waits, without torch, and resumes as soon as a new file reports on cheap prices."""
    quick = ("power.interval_s=1", "power.actuator=duty_cycle", "power.profile=profiles")
    searched = _trained(space, "power=energy_optimal", "power.step_w=6", *quick, epochs=12)
    profile = json.loads((space.root / "profiles/train.json").read_text())
    assert len(profile["points"]) >= 2
    assert profile["key"]["driver"].startswith("duty_cycle ")

    _prices(space, dear_quarters=12)
    waiting = ("power=price_aware", "power.prices=prices.csv", "power.deadline='4 h'", "power.resume_s=2", *quick)
    command = ["python", "stages/train.py", *SETTINGS, "train.epochs=12", *waiting]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, cwd=space.root, env=space.env, **pipes) as stage:
        reported = ""
        for line in stage.stdout:
            reported += line
            if "paused at 0.9 per kWh" in line:
                _prices(space, dear_quarters=0)
    assert stage.returncode == 0, reported
    assert "paused at 0.9 per kWh" in reported
    assert "resuming: " in reported
    assert _weights(_results(reported)) == _weights(searched)
    energy = json.loads((_results(reported) / "energy.json").read_text())
    assert energy["resumed_j"] > 0

    other = space("python", "stages/train.py", "threads=1", "train.batch_size=64", *waiting, check=False)
    assert other.returncode == 2
    assert "profiles/train.json was measured for workload" in other.stderr


@pytest.mark.slow
def test_a_budget_is_paced_to_the_deadline_and_needs_a_limit(space):
    policy = ("power=budget_pacing", "power.deadline='10 min'", "power.actuator=duty_cycle", "power.interval_s=1")
    capped = _trained(space, *policy, "budget.stages.train='1.9 kJ'", "seed=5")
    energy = json.loads((capped / "energy.json").read_text())
    assert energy["power_policy"] == "budget_pacing"
    assert energy["cap_bound_fraction"] is not None
    refused = space("python", "stages/train.py", *policy, check=False)
    assert refused.returncode == 2
    assert "needs a budget" in refused.stderr


def _commands(page):
    """The lines of the page's last block for a shell."""
    return re.findall(r"^```sh\n(.*?)^```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)[-1].splitlines()


def _simulated_world(folder):
    """Six weeks of hours that are clean at night, and a device of three limits."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    hours = [(start + timedelta(hours=hour), 100 if hour % 24 < 8 else 400) for hour in range(42 * 24)]
    trace = [f"{hour:%Y-%m-%dT%H:%M:%SZ},{value}" for hour, value in hours]
    (folder / "trace.csv").write_text("\n".join(["time_utc,g_per_kwh", *trace]) + "\n")
    table = ["power_limit,time_per_epoch,average_power", "100,20,95", "175,11,160", "250,10,220"]
    (folder / "table.csv").write_text("\n".join(table) + "\n")


@pytest.mark.slow
@pytest.mark.special
@pytest.mark.skipif(importlib.util.find_spec("setuptools") is None, reason="the example package needs setuptools")
def test_a_policy_of_another_package_is_installed_and_named_in_yaml(space, tmp_path):
    """The very lines of docs/extending.md, into a folder of their own and without a network."""
    lines = _commands("docs/extending.md")
    assert lines == _commands("examples/power_policy/README.md")
    shutil.copytree(ROOT / "examples/power_policy", tmp_path / "power_policy")
    _simulated_world(space.root)
    apart = {"PIP_TARGET": str(tmp_path / "site"), "PIP_NO_BUILD_ISOLATION": "0", "PIP_NO_INDEX": "1"}
    env = {**apart, "PYTHONPATH": str(tmp_path / "site")}
    done = [space("bash", "-c", line, **env) for line in lines]
    energy = json.loads((_results(done[2].stdout) / "energy.json").read_text())
    assert (energy["power_policy"], energy["power_actuator"]) == ("threshold", "duty_cycle")
    assert "threshold" in done[3].stdout
    for override, message in (("power.share=2", "power.share=2"), ("power.shre=0.5", "power.shre")):
        refused = space("python", "stages/train.py", "power=threshold", override, check=False, **env)
        assert refused.returncode == 2
        assert message in refused.stderr
    assert (
        "threshold" in space("python", "stages/train.py", "power=threshold", check=False).stderr
    )  # not installed here
