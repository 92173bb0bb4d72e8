"""How often equal runs are called different, and different ones are, by simulation: seeds unlike those of the design.

A run has a state of the machine (`between`, the same for all its samples) and the noise of its samples (`within`). Its
joules are the median of the samples, with the bootstrap interval that the stage evaluate stores.
"""

import math

import numpy as np
import pytest

from overwinter.comparison.noise import Noises
from overwinter.comparison.production import production_changes
from overwinter.comparison.records import BEYOND
from overwinter.comparison.responses import ASSUMED
from overwinter.comparison.sides import Side
from overwinter.comparison.statistics import difference_interval, estimate, ratio_interval, repeat_noise, widened
from overwinter.evaluation.bootstrap import bootstrap_interval
from overwinter.evaluation.intervals import share_interval
from tests.support.energy_records import energy_record

NOMINAL = 0.05


def at_most_nominal(rate, pairs):
    """Whether a rate is not significantly above 5 %: by less than two standard errors of the simulation."""
    return rate <= NOMINAL + 2 * math.sqrt(NOMINAL * (1 - NOMINAL) / pairs)


def median_of_run(rng, mean, between, within, samples):
    level = mean * math.exp(rng.normal(0, between))
    values = (level * np.exp(rng.normal(0, within, samples))).tolist()
    low, high = bootstrap_interval(values, confidence=0.95, seed=0)
    return float(np.median(values)), low, high


def share_beyond(seed, pairs, effect, between, within, samples, repeats=0):
    rng = np.random.default_rng(seed)
    hits = 0
    for _ in range(pairs):
        repeated = [
            math.exp(rng.normal(0, math.hypot(between, 1.25 * within / math.sqrt(samples)))) for _ in range(repeats)
        ]
        found = repeat_noise([repeated])
        noise = found or ASSUMED
        runs = [median_of_run(rng, mean, between, within, samples) for mean in (1.0, 1.0 + effect)]
        low, high = ratio_interval(
            *(widened(estimate(*each, samples=samples), noise, independent=found is None) for each in runs)
        )
        hits += low > 0 or high < 0
    return hits / pairs


@pytest.mark.parametrize(
    ("between", "within", "samples", "repeats"),
    [
        (0.038, 0.03, 12, 0),  # as measured on two busy cores
        (0.038, 0.1, 6, 0),
        (0.038, 0.1, 3, 0),
        (0.038, 0.03, 12, 3),
        (0.1, 0.03, 12, 4),  # a machine that is noisier than assumed: its repetitions tell
        (0.0, 0.05, 12, 3),
    ],
)
def test_equal_runs_are_called_different_in_at_most_one_of_twenty(between, within, samples, repeats):
    pairs = 500
    assert at_most_nominal(share_beyond(20_261, pairs, 0.0, between, within, samples, repeats), pairs)


def test_real_differences_of_joules_are_found():
    assert share_beyond(31, 200, 0.15, 0.038, 0.03, 12) > 0.5
    assert share_beyond(32, 200, 0.30, 0.038, 0.03, 12) > 0.95
    assert share_beyond(33, 200, 0.15, 0.038, 0.03, 12, repeats=8) > 0.5
    assert share_beyond(34, 100, 0.50, 0.038, 0.1, 4) > 0.8


def shares_beyond(first, second, count):
    """Return the exact probability that two independent accuracies of so many samples each are called different."""
    rights = np.arange(count + 1)
    likely = [binomial(rights, count, share) for share in (first, second)]
    rights = rights[(likely[0] > 1e-9) | (likely[1] > 1e-9)]
    shares = {}
    for right in rights.tolist():
        ends = share_interval(np.arange(count) < right, confidence=0.95)
        shares[right] = estimate(right / count, *ends)
    total = 0.0
    for a, one in shares.items():
        for b, other in shares.items():
            low, high = difference_interval(one, other)
            total += likely[0][a] * likely[1][b] * (low > 0 or high < 0)
    return total


def binomial(rights, count, share):
    logs = [math.lgamma(count + 1) - math.lgamma(k + 1) - math.lgamma(count - k + 1) for k in rights.tolist()]
    return np.exp(np.asarray(logs) + rights * math.log(share) + (count - rights) * math.log1p(-share))


@pytest.mark.parametrize(("share", "count"), [(0.9, 100), (0.9, 359), (0.95, 359), (0.99, 359), (0.9, 1000)])
def test_equal_accuracies_are_called_different_in_at_most_one_of_twenty(share, count):
    assert shares_beyond(share, share, count) <= NOMINAL


def test_the_coarse_steps_of_a_hundred_samples_cost_half_a_point():
    assert shares_beyond(0.5, 0.5, 100) == pytest.approx(0.056, abs=0.001)


def test_real_losses_of_accuracy_are_found():
    assert shares_beyond(0.99, 0.94, 359) > 0.9
    assert shares_beyond(0.98, 0.94, 1000) > 0.95


def total_beyond(seed, pairs, effect, deviation, repeats):
    """Return how often the joules to produce three stages differ, all of which a busy machine makes dearer together."""
    rng = np.random.default_rng(seed)
    hits = 0
    stages = ("train", "sparsify", "evaluate")
    for _ in range(pairs):
        common = rng.normal(0, deviation, repeats + 2)
        noise = repeat_noise([np.exp(common[2:]).tolist()])
        noises = Noises(production=dict.fromkeys(stages, noise) if noise else {})
        a, b = (
            Side(
                title="",
                params={"pipeline": {"stages": dict.fromkeys(stages)}},
                energy={stage: energy_record(stage=stage, energy_j=10 * mean * math.exp(level)) for stage in stages},
            )
            for mean, level in ((1.0, common[0]), (1.0 + effect, common[1]))
        )
        hits += production_changes(a, b, noises)[0][0].verdict == BEYOND
    return hits / pairs


def test_single_runs_on_a_busy_machine_are_not_called_different():
    assert at_most_nominal(total_beyond(4244, 1000, 0.0, 0.25, 0), 1000)
    assert total_beyond(4245, 200, 3.0, 0.25, 0) > 0.9


def test_the_total_to_produce_keeps_the_level_although_its_stages_share_their_noise():
    assert at_most_nominal(total_beyond(4242, 1000, 0.0, 0.2, 4), 1000)
    assert total_beyond(4243, 300, 1.0, 0.1, 6) > 0.9
