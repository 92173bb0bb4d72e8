import sys

import numpy as np
import pytest
import torch
import yaml

from overwinter import tasks
from overwinter.config import compose, validate
from overwinter.config.project import find_project
from overwinter.errors import ConfigError
from overwinter.registries import TASKS

MINE = """
from torch import nn
from overwinter.tasks import Measure, Regression

class Ranking(Regression):
    name = "ranking"
    def __init__(self, labels, margin=1.0):
        super().__init__(labels)
        self.margin = margin

class HalfATask:
    def __init__(self, labels): ...
    def read_targets(self): ...
    check_outputs = loss = divergence = agreement = rows = measure = respond = read_targets

class Weighing(Regression):
    measures = {"size_bytes": Measure(name="size_bytes", higher_is_better=False)}

class Pinball:
    def __init__(self, quantile):
        if not 0 < quantile < 1:
            raise ValueError("quantile is a share")
        self.quantile = quantile
    def __call__(self, outputs, targets):
        error = targets - outputs
        return (error.clamp_min(0) * self.quantile + (-error).clamp_min(0) * (1 - self.quantile)).mean()
"""


@pytest.fixture(autouse=True)
def mine(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("mine", None)


@pytest.fixture(scope="module")
def content():
    return yaml.safe_load(compose(find_project()))


def configured(content, **changes):
    return validate(yaml.safe_dump({**content, **changes}))


@pytest.mark.parametrize("name", sorted(TASKS.built_in))
def test_every_option_of_the_group_makes_its_task(name):
    config = validate(compose(find_project(), [f"task={name}"]))
    task = tasks.load_task(config.task, ["a", "b"])
    assert (task.name, task.labels) == (name, ("a", "b"))
    from_bundle = tasks.load_task(tasks.task_node(config.task), ["a", "b"])
    assert type(from_bundle) is type(task)


def test_a_configuration_older_than_tasks_is_about_classification(content):
    older = {key: value for key, value in content.items() if key != "task"}
    assert tasks.load_task(validate(yaml.safe_dump(older)).task, ["a"]).name == "classification"


def test_an_unknown_task_is_refused_with_the_known_ones(content):
    with pytest.raises(ConfigError, match="Did you mean 'regression'"):
        configured(content, task={"name": "regresion"})


def test_the_settings_reach_the_task(content):
    task = tasks.load_task(configured(content, task={"name": "regression", "unit": "USD"}).task, [])
    assert task.respond(np.array([3.0]))["unit"] == "USD"
    sharp, smooth = (
        tasks.load_task({"name": "classification", "label_smoothing": each}, "ab").loss(
            torch.tensor([[9.0, -9.0]]), torch.tensor([0])
        )
        for each in (0.0, 0.2)
    )
    assert sharp < smooth


def test_a_task_of_ones_own_is_called_with_labels_and_its_arguments(content):
    node = {"_target_": "mine.Ranking", "margin": 2.0}
    config = configured(content, task=node, trusted_targets=["mine"])
    task = tasks.load_task(config.task, ["x"], trusted=["mine"])
    assert (task.name, task.labels, task.margin) == ("ranking", ("x",), 2.0)
    assert config.task.output is None
    assert tasks.load_task(tasks.task_node(config.task), ["x"], trusted=["mine"]).margin == 2.0


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"_target_": "mine.Ranking"}, "not trusted"),
        ({"_target_": "os.system"}, "not trusted"),
        ({"name": "regression", "loss": {"_target_": "mine.Pinball"}}, "not trusted"),
        ({"name": "regression", "loss": {"_target_": "torch.nn.Linear"}}, "classes of torch.nn that end in Loss"),
        ({"name": "regression", "loss": {}}, "task.loss._target_ is missing"),
        ({"name": "regression", "unknown": 1}, "there is no such key"),
        ({"name": "classification", "label_smoothing": 1.0}, "label_smoothing=1.0"),
    ],
)
def test_what_cannot_be_is_refused_when_the_configuration_is_read(content, node, message):
    with pytest.raises(ConfigError, match=message):
        configured(content, task=node)


def test_a_class_that_lacks_a_part_of_the_contract_is_refused():
    with pytest.raises(ConfigError, match="has no name, labels, headline"):
        tasks.load_task({"_target_": "mine.HalfATask"}, trusted=["mine"])
    with pytest.raises(ConfigError, match="not a class with the methods"):
        tasks.load_task({"_target_": "mine.Pinball"}, trusted=["mine"])


def test_a_measure_cannot_take_the_name_of_another_figure():
    with pytest.raises(ConfigError, match=r"measure named size_bytes.*Rename it"):
        tasks.load_task({"_target_": "mine.Weighing"}, trusted=["mine"])


def test_a_loss_of_ones_own_replaces_the_tasks():
    outputs, targets = torch.tensor([[0.0], [4.0]]), torch.tensor([1.0, 1.0])
    huber = tasks.load_task({"name": "regression", "loss": {"_target_": "torch.nn.HuberLoss", "delta": 0.5}})
    expected = torch.nn.HuberLoss(delta=0.5)(outputs[:, 0], targets)
    assert huber.loss(outputs, targets) == expected
    own = {"name": "regression", "loss": {"_target_": "mine.Pinball", "quantile": 0.9}}
    assert tasks.load_task(own, trusted=["mine"]).loss(outputs, targets) == pytest.approx((0.9 + 3 * 0.1) / 2)


def test_weights_of_classes_are_given_as_a_list():
    node = {"name": "token_classification", "loss": {"_target_": "torch.nn.CrossEntropyLoss", "weight": [1.0, 0.0]}}
    outputs = torch.tensor([[[2.0, 0.0], [5.0, 0.0]]])  # (1, 2 tokens, 2 classes)
    loss = tasks.load_task(node, "ab").loss(outputs, torch.tensor([[0, 1]]))
    assert loss == torch.nn.functional.cross_entropy(outputs[0, :1], torch.tensor([0]))


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"_target_": "torch.nn.HuberLoss", "slope": 1.0}, "slope"),
        ({"_target_": "torch.nn.MissingLoss"}, "no such class"),
        ({"_target_": "mine.Pinball", "quantile": 3}, "quantile is a share"),
    ],
)
def test_a_loss_that_cannot_be_made_is_refused_with_its_arguments(node, message):
    with pytest.raises(ConfigError, match=message):
        tasks.load_task({"name": "regression", "loss": node}, trusted=["mine"])
