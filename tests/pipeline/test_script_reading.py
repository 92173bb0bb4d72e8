"""Scripts as people write them, read without being run."""

from __future__ import annotations

import pytest

from overwinter.errors import ConfigError
from overwinter.pipeline.script_reading import REQUIRED, read_script

SCRIPT = """
import torch
from torch import nn
from torchvision import datasets

raise RuntimeError("whoever imports this runs it")


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()


class Net(nn.Module):
    def __init__(self, width, classes=2, *, sizes=(1, 2), device=torch.device("cpu")):
        super().__init__()
        self.block = Block(width)


{rest}
"""


@pytest.fixture
def read(tmp_path):
    def write(rest: str = "", name: str = "train_it.py"):
        (tmp_path / name).write_text(SCRIPT.format(rest=rest))
        return read_script(tmp_path / name)

    return write


def test_the_model_is_the_one_that_no_other_is_made_of(read):
    model = read().model
    assert model.name == "Net"
    assert model.arguments == {"width": REQUIRED, "classes": 2, "sizes": [1, 2], "device": REQUIRED}


def test_arguments_are_those_of_the_call(read):
    script = read("def main():\n    net = Net(32, classes=10, sizes=sizes())\n")
    assert script.model.arguments == {"width": 32, "classes": 10, "sizes": REQUIRED, "device": REQUIRED}


def test_one_of_two_models_is_the_one_that_the_script_makes(read):
    assert read("class Other(Net):\n    pass\n\nnet = Net(1)\n").model.name == "Net"
    assert read("class Other(Net):\n    pass\n").model.name == "Other"


@pytest.mark.parametrize(
    ("loss", "task"),
    [
        ("nn.CrossEntropyLoss()", "classification"),
        ("torch.nn.functional.mse_loss(a, b)", "regression"),
        ("nn.BCEWithLogitsLoss()", "multilabel"),
        ("my_loss()", None),
    ],
)
def test_the_task_is_that_of_the_loss(read, loss, task):
    assert read(f"def main():\n    loss = {loss}\n").task == task


def test_a_data_set_of_ones_own_is_found_with_its_arguments(read):
    rest = (
        "class Cats(torch.utils.data.Dataset):\n    def __init__(self, root, size=8):\n        pass\n\nCats('cats')\n"
    )
    found = read(rest).data_set
    assert (found.name, found.arguments, found.own) == ("Cats", {"root": "cats", "size": 8}, True)


def test_a_folder_of_images_is_found(read):
    found = read("def main():\n    train = datasets.ImageFolder('photos/train', transform=t)\n").data_set
    assert (found.name, found.arguments, found.own) == ("datasets.ImageFolder", {"root": "photos/train"}, False)


def test_what_an_import_would_run_is_told(read):
    script = read("net = Net(1)\nfor epoch in range(3):\n    pass\nif __name__ == '__main__':\n    net.train()\n")
    text = SCRIPT.splitlines()
    assert script.runs_on_import == (text.index("{rest}") + 2,)


def test_what_cannot_be_wrapped_is_refused(read, tmp_path):
    with pytest.raises(ConfigError, match="no name of a module"):
        read(name="train-it.py")
    (tmp_path / "broken.py").write_text("def f(:\n")
    with pytest.raises(ConfigError, match="cannot be read as Python"):
        read_script(tmp_path / "broken.py")
    with pytest.raises(ConfigError, match="cannot be read as Python"):
        read_script(tmp_path / "missing.py")
    (tmp_path / "plain.py").write_text("print('hello')\n")
    with pytest.raises(ConfigError, match=r"no torch\.nn\.Module"):
        read_script(tmp_path / "plain.py")


@pytest.mark.parametrize(
    ("body", "known"),
    [
        ("    classes = ['a', 'b']", True),
        ("    @property\n    def classes(self):\n        return ['a']", True),
        ("    def __init__(self):\n        self.classes = ['a']", True),
        ("    def __init__(self):\n        classes = ['a']", False),
    ],
)
def test_a_data_set_that_names_its_classes_is_known(read, body, known):
    script = read(f"class Own(torch.utils.data.Dataset):\n{body}\n")
    assert script.data_set.names_classes is known
