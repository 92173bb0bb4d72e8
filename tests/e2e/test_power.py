"""Power policies in a real run, on a machine that lets nobody set a limit."""

import pytest


@pytest.mark.slow
def test_a_duty_cycle_caps_without_privileges_and_changes_no_bit(space):
    before = space.models()
    done = space.run("power=static", "power.limit='20 %'", "power.actuator=duty_cycle", "power.interval_s=1")
    assert space.states(done)["train"] == "run"
    energy = space.json("train/energy.json")
    assert energy["power_policy"] == "static"
    assert energy["power_actuator"] == "duty_cycle"
    assert "saves no energy by itself" in energy["power_note"]
    assert energy["paused_s"] > 0
    assert {path: content for path, content in space.models().items() if path.endswith(".safetensors")} == {
        path: content for path, content in before.items() if path.endswith(".safetensors")
    }


def test_without_the_right_to_limit_a_run_that_insists_is_refused_before_it_spends(space):
    done = space("python", "stages/train.py", "power=static", "power.on_denied=fail", check=False)
    assert done.returncode == 2
    assert "power.on_denied" in done.stderr
