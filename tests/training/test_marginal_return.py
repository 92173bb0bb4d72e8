"""Stopping when quality costs too much."""

import pytest

from overwinter.tasks import Measure
from overwinter.training.marginal_return import marginal_return
from overwinter.training.result import EpochRecord
from tests.training.test_loop import Dies, same_bits, weights

ACCURACY, MAE = Measure(name="accuracy"), Measure(name="mae", higher_is_better=False)


def records(figures, joules=(1000.0, 2000.0, 3000.0, 4000.0)):
    return [
        EpochRecord(
            epoch=number,
            training_loss=1.0,
            validation_loss=1.0,
            measures={"accuracy": found, "mae": found},
            spent_j=spent_j,
        )
        for number, (found, spent_j) in enumerate(zip(figures, joules, strict=False), 1)
    ]


def test_it_is_the_gain_of_two_epochs_per_kilojoule():
    assert marginal_return(records([0.5, 0.8, 0.86, 0.88]), ACCURACY) == pytest.approx(0.04)
    assert marginal_return(records([0.5, 0.8, 0.86, 0.88]), MAE) == pytest.approx(-0.04)


@pytest.mark.parametrize("history", [[], records([0.5]), records([0.5, 0.6]), records([0.1, 0.2, 0.3], [None] * 3)])
def test_too_little_to_say(history):
    assert marginal_return(history, ACCURACY) is None


class Meter:
    """A kilojoule for every epoch of five steps."""

    def __init__(self):
        self.steps = 0

    def progress(self, done, total, **figures):
        self.steps = done

    def __call__(self):
        return 200.0 * (self.steps + 1)


def metered(fit, meter=None, **changes):
    meter = meter or Meter()
    return fit(epochs=30, spent_j=meter, progress=meter.progress, **changes)


def test_a_fit_stops_when_it_gains_too_little(fit):
    result = metered(fit, min_gain_per_kj=0.05)
    assert 3 <= result.epochs_run < 30
    assert result.last_return < 0.05
    assert [record.spent_j for record in result.history[:2]] == [1000.0, 2000.0]
    assert metered(fit, min_gain_per_kj=1e-9).epochs_run > result.epochs_run


def test_without_the_setting_it_does_not(fit):
    result = metered(fit)
    assert result.epochs_run == 30
    assert result.last_return is None


def test_a_killed_fit_stops_at_the_same_epoch(fit, tmp_path):
    undisturbed = metered(fit, min_gain_per_kj=0.05)
    meter = Meter()
    with pytest.raises(Dies.Killed):
        metered(fit, meter, min_gain_per_kj=0.05, loss=Dies(8), checkpoints=tmp_path)
    resumed = metered(fit, meter, min_gain_per_kj=0.05, checkpoints=tmp_path)
    assert resumed.history == undisturbed.history
    assert same_bits(weights(resumed), weights(undisturbed))
