"""Claims on devices against a model: no one is beside a measurement, and a measurement that waits gets its turn."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from overwinter.energy.claim import Claim

DEVICES = ("cpu", "GPU-1", "GPU-2")
RUNS = range(4)
IDLE, SHARING, WAITING, ALONE = "idle", "sharing", "waiting", "alone"


class Runs(RuleBasedStateMachine):
    """Runs that work, wait and measure, one system call at a time, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.claims: dict[int, Claim] = {}
        self.devices: dict[int, frozenset[str]] = {}
        self.state = dict.fromkeys(RUNS, IDLE)

    def teardown(self) -> None:
        self.every_measurement_gets_its_turn()
        for run in list(self.claims):
            self.end(run)
        self.folder.cleanup()

    @rule(run=st.sampled_from(RUNS), gpus=st.sets(st.sampled_from(DEVICES), min_size=1))
    def begin(self, run: int, gpus: set[str]) -> None:
        if run in self.claims:
            return
        claim, devices = Claim(Path(self.folder.name), gpus), frozenset(gpus)
        allowed = not self.barred_by_others(run, devices)
        assert claim.share() == allowed
        if allowed:
            self.claims[run], self.devices[run], self.state[run] = claim, devices, SHARING
        else:
            claim.close()

    @rule(run=st.sampled_from(RUNS))
    def step(self, run: int) -> None:
        """A step of work: make way for whoever wants to measure, and come back only when it has."""
        if self.state[run] != SHARING:
            return
        wanted = self.claims[run].is_wanted()
        assert wanted == self.barred_by_others(run, self.devices[run])
        if wanted:
            self.claims[run].leave()
            assert not self.claims[run].share()
            self.end(run)

    @rule(run=st.sampled_from(RUNS))
    def measure(self, run: int) -> None:
        """Try once more to have the devices alone."""
        if self.state[run] not in (SHARING, WAITING):
            return
        claim = self.claims[run]
        if self.state[run] == SHARING:
            self.state[run] = WAITING
            if not claim.bar():
                claim.leave()
        if claim.bar() and claim.empty():
            self.state[run] = ALONE

    @rule(run=st.sampled_from(RUNS))
    def finish(self, run: int) -> None:
        """End a measurement: the devices are shared at once, without a wait."""
        if self.state[run] == ALONE:
            self.claims[run].share_again()
            self.state[run] = SHARING

    @rule(run=st.sampled_from(RUNS))
    def end(self, run: int) -> None:
        """End a run, as the kernel does for a killed one."""
        if run in self.claims:
            self.claims.pop(run).close()
            del self.devices[run]
            self.state[run] = IDLE

    @invariant()
    def no_one_is_beside_a_measurement(self) -> None:
        for one in self.claims:
            for other in self.claims:
                if one != other and self.state[one] == ALONE and self.state[other] in (SHARING, ALONE):
                    assert not self.devices[one] & self.devices[other]

    def barred_by_others(self, run: int, devices: frozenset[str]) -> bool:
        return any(
            device._barred and name in devices
            for other, claim in self.claims.items()
            if other != run
            for name, device in zip(sorted(self.devices[other]), claim._devices, strict=True)
        )

    def every_measurement_gets_its_turn(self) -> None:
        """Whoever works makes way at its next step, and whoever has measured finishes: then all have measured."""
        waiting = {run for run, state in self.state.items() if state == WAITING}
        for _ in range(3 * len(RUNS)):
            for run in RUNS:
                self.finish(run)
                self.step(run)
                self.measure(run) if self.state[run] == WAITING else None
                waiting -= {run} if self.state[run] == ALONE else set()
        assert not waiting


TestRuns = Runs.TestCase
TestRuns.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def test_a_lock_file_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "cpu.turnstile").symlink_to(tmp_path / "another_file")
    with pytest.raises(OSError, match="symbolic links"):
        Claim(tmp_path, ["cpu"])
    assert not (tmp_path / "another_file").exists()


def test_a_device_s_name_cannot_leave_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "quiet"
    folder.mkdir()
    Claim(folder, ["../../GPU-8f/7c"]).close()
    assert {path.name for path in tmp_path.rglob("*")} == {"quiet", ".._.._GPU-8f_7c.turnstile", ".._.._GPU-8f_7c.use"}
