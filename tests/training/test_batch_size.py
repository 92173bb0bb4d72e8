"""Of the batch sizes that are listed, the one with the fewest joules per sample is taken."""

from dataclasses import replace

import pytest
import torch

from overwinter.config.groups import TrainConfig
from overwinter.errors import ConfigError
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

    def chosen(sizes, *, step_j=lambda reading: 1.0, epochs=9, **arguments):
        spent, lines = [], []

        def energy_j():
            spent.append(step_j(len(spent)))
            return sum(spent)

        settings = replace(SETTINGS, batch_sizes=sizes, epochs=epochs)
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


def test_a_fit_of_too_few_steps_is_refused(chosen):
    with pytest.raises(ConfigError, match=r"A fit with train.batch_sizes=44 has 2 steps, too few to be measured"):
        chosen([44], epochs=2)
