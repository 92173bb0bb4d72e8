"""Power policies in a real run, on a machine that lets nobody set a limit."""

import importlib.util
import json
import re
import shutil
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def _trained(space, *overrides):
    """Train in a scratch folder, long enough for a cap to bind; return the folder."""
    done = space("python", "stages/train.py", "threads=1", "train.epochs=8", "train.batch_size=32", *overrides)
    return Path(done.stdout.rsplit("scratch results are in ", 1)[1].strip())


@pytest.mark.slow
def test_a_duty_cycle_caps_without_privileges_and_changes_no_bit(space):
    policy = ("power=static", "power.limit='8 %'", "power.actuator=duty_cycle", "power.interval_s=1")
    capped, free = _trained(space, *policy), _trained(space)
    energy = json.loads((capped / "energy.json").read_text())
    assert energy["power_policy"] == "static"
    assert energy["power_actuator"] == "duty_cycle"
    assert "saves no energy by itself" in energy["power_note"]
    assert energy["paused_s"] > 0
    weights = "model/weights.safetensors"
    assert (capped / weights).read_bytes() == (free / weights).read_bytes()


def test_without_the_right_to_limit_a_run_that_insists_is_refused_before_it_spends(space):
    done = space("python", "stages/train.py", "power=static", "power.on_denied=fail", check=False)
    assert done.returncode == 2
    assert "power.on_denied" in done.stderr


@pytest.mark.slow
def test_a_pause_ends_the_work_and_it_goes_on_with_the_same_bits(space):
    """A timetable that pauses up to the next full minute: the process waits without torch, and resumes."""
    now = datetime.now(UTC)
    if now.second > 50:
        time.sleep(61 - now.second)
        now = datetime.now(UTC)
    until = (now + timedelta(minutes=1)).strftime("%H:%M")
    rule = f"power.rules=[{{days: mon-sun, hours: '{now:%H:%M}-{until}', limit: null, pause: true}}]"
    settings = ("threads=1", "train.epochs=2", "train.batch_size=32")
    policy = ("power=schedule", "power.time_zone=UTC", rule, "power.interval_s=2", "power.on_denied=ignore")
    done = space("python", "stages/train.py", *settings, *policy)
    assert "paused by the power policy" in done.stdout
    assert "going on" in done.stdout
    folder = Path(done.stdout.rsplit("scratch results are in ", 1)[1].strip())
    weights = (space.root / "outputs/train/model/weights.safetensors").read_bytes()
    assert (folder / "model" / "weights.safetensors").read_bytes() == weights
    energy = json.loads((folder / "energy.json").read_text())
    assert energy["resumed_j"] > 0
    assert energy["duration_s"] < 30  # the waiting itself is no work


def _prices(space, *by_step, step_s=5):
    """Prices of the coming seconds; the last one goes on for minutes."""
    start = datetime.now(UTC).replace(microsecond=0)
    rows = [*by_step, *[by_step[-1]] * 60]
    lines = [
        f"{start + timedelta(seconds=step_s * place):%Y-%m-%dT%H:%M:%SZ},{price}" for place, price in enumerate(rows)
    ]
    (space.root / "prices.csv").write_text("\n".join(["time_utc,price_per_kwh", *lines]) + "\n")


@pytest.mark.slow
def test_a_profile_is_found_kept_and_read_by_a_policy_that_waits_for_cheap_hours(space):
    quick = ("power.interval_s=1", "power.actuator=duty_cycle", "power.profile=profiles")
    _trained(space, "power=energy_optimal", "power.step_w=6", *quick)
    profile = json.loads((space.root / "profiles/train.json").read_text())
    assert len(profile["points"]) >= 2
    assert profile["key"]["driver"].startswith("duty_cycle ")
    _prices(space, *[0.9] * 4, 0.1)
    waiting = ("power=price_aware", "power.prices=prices.csv", "power.deadline='90 s'", "power.resume_s=2", *quick)
    done = space("python", "stages/train.py", "threads=1", "train.epochs=8", "train.batch_size=32", *waiting)
    assert "paused at 0.9 per kWh" in done.stdout
    assert "going on" in done.stdout
    other = space("python", "stages/train.py", "threads=1", "train.batch_size=64", *waiting, check=False)
    assert other.returncode == 2
    assert "profiles/train.json was made for workload" in other.stderr


@pytest.mark.slow
def test_a_budget_is_paced_to_the_deadline_and_needs_a_limit(space):
    policy = ("power=budget_pacing", "power.deadline='40 s'", "power.actuator=duty_cycle", "power.interval_s=1")
    limit = "budget.stages.train='120 J'"
    energy = json.loads((_trained(space, *policy, limit, "seed=5") / "energy.json").read_text())
    assert energy["power_policy"] == "budget_pacing"
    assert 0 < energy["paused_s"] < 40
    assert energy["energy_j"] < 120
    refused = space("python", "stages/train.py", *policy, check=False)
    assert refused.returncode == 2
    assert "has nothing to pace" in refused.stderr


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
    folder = Path(done[2].stdout.rsplit("scratch results are in ", 1)[1].strip())
    energy = json.loads((folder / "energy.json").read_text())
    assert (energy["power_policy"], energy["power_actuator"]) == ("threshold", "duty_cycle")
    assert "threshold" in done[3].stdout
    for override, message in (("power.share=2", "power.share=2"), ("power.shre=0.5", "power.shre")):
        refused = space("python", "stages/train.py", "power=threshold", override, check=False, **env)
        assert refused.returncode == 2
        assert message in refused.stderr
    assert (
        "threshold" in space("python", "stages/train.py", "power=threshold", check=False).stderr
    )  # not installed here
