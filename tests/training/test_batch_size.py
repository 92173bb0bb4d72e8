"""Of the batch sizes that are listed, the one with the fewest joules per sample is taken."""

from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from overwinter.config.groups import TrainConfig
from overwinter.errors import ConfigError
from overwinter.power.interface import DeviceState, Observation
from overwinter.power.policies.energy_optimal import EnergyOptimal
from overwinter.training import batch_size
from overwinter.training.batch_size import choose_batch_size
from tests.support.settings import fit_settings

SETTINGS = TrainConfig(**vars(fit_settings(epochs=9)), version=1)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(batch_size, "_LEAST_S", 0.0)


@pytest.fixture
def chosen(new_model, train, validation, task):
    """Chooses by a meter that counts the joules of each reading, a reading a step."""

    def chosen(sizes, *, step_j=lambda reading: 1.0, epochs=9, to=None, **arguments):
        spent, lines = [], []

        def energy_j():
            spent.append(step_j(len(spent)))
            return sum(spent)

        settings = replace(SETTINGS, batch_sizes=sizes, epochs=epochs, to=to)
        given = {"task": task, "seed": 1, "device": torch.device("cpu"), "threads": 1}
        model = new_model()
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        found = choose_batch_size(
            model, train, validation, settings, energy_j=energy_j, log=lines.append, **given, **arguments
        )
        assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
        return found.batch_size, lines

    return chosen


def test_without_a_list_it_is_the_one_that_is_set(chosen):
    assert chosen([]) == (SETTINGS.batch_size, [])


def test_steps_that_cost_the_same_are_cheaper_for_more_samples(chosen):
    assert chosen([4, 16]) == (16, ["batch size 16 needs the fewest joules per sample (4: 250 mJ, 16: 62.5 mJ)"])


def test_a_large_batch_that_costs_more_than_its_samples_is_not_taken(chosen):
    assert chosen([4, 16], step_j=lambda reading: 1.0 if reading < 6 else 5.0)[0] == 4


def test_a_fit_that_goes_on_keeps_its_choice(chosen, tmp_path):
    tmp_path.joinpath("fit").mkdir()
    assert chosen([4, 16], checkpoints=tmp_path / "fit")[0] == 16
    dear = {"step_j": lambda reading: 1.0 if reading < 6 else 99.0}
    assert chosen([4, 16], checkpoints=tmp_path / "fit", **dear) == (16, [])


def test_fits_of_too_few_steps_are_refused_before_any_is_tried(chosen):
    def spends(reading):
        raise AssertionError("a trial was made")

    said = (
        r"train\.batch_sizes=\[4, 44, 22\]: .* 7 steps or more, and with train\.epochs=2 a fit has 2 with 44, 4 with 22"
    )
    with pytest.raises(ConfigError, match=said):
        chosen([4, 44, 22], epochs=2, step_j=spends)


def test_as_few_steps_as_a_trial_takes_are_enough(chosen):
    assert chosen([44], epochs=7)[0] == 44
    with pytest.raises(ConfigError, match="a fit has 6 with 44"):
        chosen([44], epochs=6)


def test_a_fit_that_reaches_its_target_within_the_trial_is_refused(chosen):
    with pytest.raises(ConfigError, match=r"A fit with 22 of train\.batch_sizes=\[22\] ended after 2 steps, too few"):
        chosen([22], to={"accuracy": 0.0})


class Device:
    """A GPU that needs more power for larger batches, and is slowed down by limits below what it needs.

    Its clock moves by a step whenever it is read.
    """

    allowed_w = (100.0, 250.0)

    def __init__(self, policy, needs_w, *, breaks_at=None):
        self.policy, self.needs_w, self.breaks_at = policy, needs_w, breaks_at
        self.limit_w, self.size = self.allowed_w[1], 0
        self.now_s = self.spent_j = 0.0
        self.tried, self.known, self.holding = [], (), False

    def sized(self, fit):
        def sized(model, train, validation, settings, **arguments):
            self.size = settings.batch_size
            self.tried.append((self.size, self.limit_w))
            if len(self.tried) == self.breaks_at:
                raise OSError("out of memory")
            return fit(model, train, validation, settings, **arguments)

        return sized

    def monotonic(self):
        power_w = min(self.limit_w, self.needs_w.get(self.size, 0.0))
        step_s = 0.3 * (self.needs_w[self.size] / power_w) ** 0.5 if power_w else 0.0  # speed grows with its root
        self.now_s += step_s
        self.spent_j += power_w * step_s + 20.0 * step_s  # and the host's 20 W
        return self.now_s

    def energy_j(self):
        return self.spent_j

    @contextmanager
    def trials(self):
        self.holding = True
        try:
            yield
        finally:
            self.holding = False

    def try_limit(self, points):
        state = DeviceState(
            name="gpu:0", min_w=self.allowed_w[0], max_w=self.allowed_w[1], default_w=250.0, previous_w=250.0,
            current_w=self.limit_w,
        )  # fmt: skip
        decided = self.policy.decide(Observation(time_utc=None, devices=(state,), points=tuple(points)))
        self.limit_w = decided.limits_w["gpu:0"]
        return self.limit_w

    def drawn_j(self):
        return self.spent_j

    def add_points(self, points):
        self.known = tuple(points)


@pytest.fixture
def jointly(monkeypatch, new_model, train, validation, task):
    """Chooses among two batch sizes on a device whose limits a policy sets."""

    def jointly(device):
        lines = []
        monkeypatch.setattr(batch_size, "time", SimpleNamespace(monotonic=device.monotonic))
        monkeypatch.setattr(batch_size, "fit", device.sized(batch_size.fit))
        settings = replace(SETTINGS, batch_sizes=[4, 8], epochs=30)
        found = choose_batch_size(
            new_model(), train, validation, settings, energy_j=device.energy_j, log=lines.append, limits=device,
            task=task, seed=1, device=torch.device("cpu"), threads=1,
        )  # fmt: skip
        return found.batch_size, lines

    return jointly


def test_a_policy_that_sets_limits_is_asked_for_those_of_every_batch_size(jointly):
    device = Device(EnergyOptimal(max_slowdown=None, step_w=50.0), {4: 180.0, 8: 240.0})
    size, (line,) = jointly(device)
    assert size == 8
    assert line.startswith("batch size 8 needs the fewest joules per sample (4: ")
    assert line.endswith("at 100 W)")
    assert len(device.tried) == len(set(device.tried)) <= 8
    assert {point.limit_w for point in device.known} == {limit for tried, limit in device.tried if tried == 8}
    least = min(device.known, key=lambda point: point.power_w / point.speed_per_s)
    assert least.limit_w == 100.0
    assert not device.holding


def test_the_slowdown_that_the_policy_allows_holds_for_every_batch_size(jointly):
    device = Device(EnergyOptimal(max_slowdown=0.1, step_w=50.0), {4: 180.0, 8: 240.0})
    _, (line,) = jointly(device)
    assert "4: " in line.partition("at 150 W")[0]  # 8 % slower than with all that it needs
    assert line.endswith("at 200 W)")


def test_a_batch_size_that_costs_much_more_is_not_tried_under_every_limit(jointly):
    device = Device(EnergyOptimal(max_slowdown=0.9, step_w=50.0), {4: 120.0, 8: 1000.0})
    assert jointly(device)[0] == 4
    assert [limit for tried, limit in device.tried if tried == 8] == [250.0]


def test_the_limits_are_left_to_the_policy_again_after_an_error(jointly):
    device = Device(EnergyOptimal(max_slowdown=None, step_w=50.0), {4: 180.0, 8: 240.0}, breaks_at=2)
    with pytest.raises(OSError, match="out of memory"):
        jointly(device)
    assert not device.holding
