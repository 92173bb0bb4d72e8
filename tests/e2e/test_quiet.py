"""A stage that measures waits for the devices, says so, and has them alone while it does."""

import time
from pathlib import Path

import pytest

from overwinter.energy.claim import Claim


@pytest.mark.parametrize("override", ["evaluate.repeats=3", "hibernate.wake_repeats=2"])
def test_measuring_stages_wait_until_other_runs_have_left_the_cpu(space, tmp_path, override):
    stage = override.partition(".")[0]
    quiet = tmp_path / "quiet"
    quiet.mkdir(mode=0o700)
    other = Claim(quiet, ["cpu"])
    assert other.share()
    log = Path(tmp_path / "log")
    with log.open("w") as stream:
        run = space.start("python", f"stages/{stage}.py", override, out=stream, OVERWINTER_QUIET=str(quiet))
    _wait_for(other.is_wanted, run)
    time.sleep(1.5)  # a wait that is worth a message
    assert run.poll() is None
    other.leave()
    while run.poll() is None:
        other.share() and other.leave()
        time.sleep(0.01)
    assert run.wait() == 0
    other.close()
    assert "waits for the other runs to leave the device to its measurement" in log.read_text()
    energy = space.scratch(stage, "energy.json")
    assert any("waited" in warning for warning in energy["warnings"])


def _wait_for(condition, run, timeout_s=120.0):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert run.poll() is None, "it ended without asking for the device"
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.05)
