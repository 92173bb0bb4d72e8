"""The example of a user's model and data, examples/own_model."""

from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from overwinter import data, models, tasks, training
from overwinter.signature import Signature
from overwinter.sparsity.settings import ChannelsConfig
from tests.support.settings import fit_settings

FOLDER = Path(__file__).parents[2] / "examples" / "own_model"
TRUSTED = ["my_package"]
FIT = fit_settings(epochs=25, batch_size=32, learning_rate=0.02, weight_decay=0.0, checkpoint_interval_s=60.0)


def config(group):
    return OmegaConf.to_container(OmegaConf.load(FOLDER / "configs" / group / "mine.yaml"))


@pytest.fixture
def source(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    monkeypatch.chdir(FOLDER)
    return data.load_data(config("data"), trusted=TRUSTED)


def fit(model, source, **arguments):
    train, validation = source.split("train"), source.split("validation")
    arguments |= {"task": task(source), "seed": 0, "device": torch.device("cpu"), "threads": 1}
    return training.fit(model, train, validation, FIT, **arguments)


def task(source):
    return tasks.Classification(source.labels)


def test_it_is_trained_halved_saved_and_rebuilt(source, tmp_path):
    dense = fit(models.build_model(config("model"), trusted=TRUSTED), source)
    assert dense.measures["accuracy"] > 0.9

    model = models.build_model(config("model"), trusted=TRUSTED).eval()
    model.load_state_dict(dense.model.state_dict())
    settings = ChannelsConfig(
        version=1,
        method="channels",
        amount=0.5,
        skip=[],
        distillation_weight=0.5,
        distillation_temperature=2.0,
        fit=FIT,
    )
    sparsifier = settings.open()
    hooks = sparsifier.prepare(model, source.split("train"))
    teacher = training.DistillationLoss(task(source), dense.model, weight=0.5, temperature=2.0)
    halved = fit(model, source, hooks=hooks, loss=teacher).model
    assert [layer.name for layer in sparsifier.report(halved).layers] == ["first", "second"]

    models.save_model(
        tmp_path, halved, variant="sparse", model_config=config("model"), signature=Signature.of_one([2]), lineage={}
    )
    rebuilt = models.load_model(tmp_path, trusted=TRUSTED)
    assert rebuilt.first.out_features == 16
    score = training.evaluate(rebuilt, source.split("test"), task(source))
    assert score.measures["accuracy"] > 0.9
