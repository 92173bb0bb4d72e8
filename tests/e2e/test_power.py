"""Power policies in a real run, on a machine that lets nobody set a limit."""

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest


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
