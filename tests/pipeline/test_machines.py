"""The cost of a pipeline on several machines: from their own history, from what they share, or modelled."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from overwinter.errors import ConfigError
from overwinter.pipeline.machines import Machines, compare_machines
from overwinter.units import Quantity
from tests.support.two_machines import HERE, THERE

EUR = Quantity(value=2.0, dimension="money", unit="EUR")


@pytest.fixture
def compared(machines):
    """Return the two machines, and what compares them."""
    made = machines

    def compare(*overrides, now_utc=None, **settings):
        settings = {"ledgers": (made.other,) if made.other.exists() else ()} | settings
        costs = compare_machines(
            made.composer, overrides, Machines(**settings), now_utc=now_utc or datetime.now(UTC) + timedelta(seconds=1)
        )
        return {(cost.name, cost.device): cost for cost in costs}

    return made, compare


def test_a_machine_is_forecast_from_its_own_executions(compared):
    made, compare = compared
    made.ran(made.own, joules=100.0)
    made.ran(made.other, joules=300.0, host=THERE)
    found = compare()
    assert set(found) == {(HERE, "cpu"), (THERE, "cpu")}
    here, there = found[HERE, "cpu"], found[THERE, "cpu"]
    assert (here.basis, there.basis) == ("history", "history")
    assert (here.energy_j.expected, there.energy_j.expected) == (pytest.approx(500), pytest.approx(1500))
    assert there.duration_s.expected == pytest.approx(150)
    assert here.carbon_g.expected == pytest.approx(500 * 475 / 3.6e6)  # the project's intensity
    assert there.carbon_g.expected == pytest.approx(1500 * 100 / 3.6e6)  # its own
    assert (here.measured_fraction, here.cost) == (0.0, None)
    assert here.energy_j.low < 500 < here.energy_j.high


def test_what_only_one_has_run_is_transferred(compared):
    made, compare = compared
    made.ran(made.own, "seed=1", joules=50.0)
    made.ran(made.own, "train.batch_size=32", joules=100.0)
    made.ran(made.other, "seed=1", joules=100.0, host=THERE)
    there = compare("train.batch_size=32")[THERE, "cpu"]
    assert there.basis == "transferred"
    assert there.energy_j.expected == pytest.approx(1000)
    assert there.energy_j.high / there.energy_j.low > 1.5


def test_without_anything_in_common_it_is_unknown(compared):
    made, compare = compared
    made.ran(made.own, joules=100.0)
    made.ran(made.other, "train.batch_size=32", joules=100.0, host=THERE)
    there = compare()[THERE, "cpu"]
    assert (there.basis, there.energy_j) == ("unknown", None)
    assert there.unknown == ("train", "sparsify", "quantize", "evaluate", "hibernate")
    assert there.notes[-1].startswith("nothing like train, sparsify, quantize, evaluate, hibernate has run on it")


def test_a_comparison_up_to_a_stage(compared):
    made, compare = compared
    made.ran(made.own, joules=100.0, only="train")
    assert compare()[HERE, "cpu"].unknown == ("sparsify", "quantize", "evaluate", "hibernate")
    assert compare(until="train")[HERE, "cpu"].energy_j.expected == pytest.approx(100)
    with pytest.raises(ConfigError, match="Did you mean 'train'"):
        compare(until="trian")


def test_a_gpu_and_a_cpu_of_one_machine_count_once_each(compared):
    made, compare = compared
    made.ran(made.own, joules=100.0)
    made.ran(made.other, joules=30.0, host=THERE, device="gpu:0")
    made.ran(made.other, "device=cpu", joules=200.0, host=THERE)
    found = compare()
    assert set(found) == {(HERE, "cpu"), (THERE, "gpu"), (THERE, "cpu")}
    assert found[THERE, "gpu"].measured_fraction > 0
    assert found[THERE, "cpu"].energy_j.expected == pytest.approx(1000)


def test_a_device_of_this_machine_that_nothing_has_run_on_is_named(compared):
    made, compare = compared
    made.ran(made.own, joules=100.0)
    gpu = compare(gpus="1 GPU: NVIDIA L4")[HERE, "1 GPU: NVIDIA L4"]
    assert (gpu.basis, gpu.energy_j) == ("unknown", None)
    assert "overwinter run device=cuda" in gpu.notes[0]


def test_hardware_without_a_ledger_is_modelled_and_says_so(compared):
    made, compare = compared
    made.ran(made.own, joules=100.0)
    found = compare(hardware=("h100", "cpu"))
    gpu = found["h100", "NVIDIA H100 SXM"]
    assert (gpu.basis, gpu.measured_fraction) == ("modelled", None)
    assert "public figures" in gpu.notes[0]
    assert gpu.duration_s.high == pytest.approx(found[HERE, "cpu"].duration_s.high)
    assert found["cpu", "cpu"].basis == "modelled"


def test_a_gpu_is_only_compared_to_a_known_one(compared):
    made, compare = compared
    made.ran(made.own, joules=100.0, device="gpu:0")
    assert compare(hardware=("l4",))["l4", "NVIDIA L4"].basis == "unknown"
    named = compare("hardware=h100", hardware=("l4",))["l4", "NVIDIA L4"]
    assert named.basis == "modelled"


def test_money_is_electricity_and_the_hour(compared):
    made, compare = compared
    made.ran(made.own, joules=100.0)
    cost = compare("budget.price_per_kwh='0.36 EUR'", prices={HERE: EUR})[HERE, "cpu"]
    assert cost.currency == "EUR"
    assert cost.cost.expected == pytest.approx(500 * 1e-7 + 2 * 50 / 3600)
    with pytest.raises(ConfigError, match="currency"):
        compare("budget.price_per_kwh='0.36 USD'", prices={HERE: EUR})
    with pytest.raises(ConfigError, match="Did you mean 'here'"):
        compare(prices={"hre": EUR})


def test_the_price_of_the_configuration_counts_for_this_machine(compared):
    made, compare = compared
    made.ran(made.own, joules=100.0)
    made.ran(made.other, joules=100.0, host=THERE)
    found = compare("hardware.price_per_hour='3.60 EUR'")
    assert found[HERE, "cpu"].cost.expected == pytest.approx(0.05)
    assert found[THERE, "cpu"].cost is None


def test_a_clock_that_is_ahead_is_told_and_changes_no_cost(compared):
    made, compare = compared
    made.ran(made.own, joules=100.0)
    made.ran(made.other, joules=300.0, host=THERE)
    found = compare(now_utc=datetime.now(UTC) - timedelta(hours=2))[THERE, "cpu"]
    assert "clock is 2 h 00 min ahead" in found.notes[0]
    assert found.energy_j.expected == pytest.approx(1500)


def test_without_any_ledger_all_is_unknown(compared):
    _, compare = compared
    found = compare()
    assert found[HERE, "cpu"].basis == "unknown"


def test_unknown_hardware_is_refused_with_the_known_ones(compared):
    _, compare = compared
    with pytest.raises(ConfigError, match=r"h900.*(\n.*)*h100"):
        compare(hardware=("h900",))
