"""New projects: what they hold, cases on request, and projects around a script."""

from __future__ import annotations

import sys

import pytest
import yaml

from overwinter.config import find_project, load_config
from overwinter.errors import ConfigError
from overwinter.pipeline.composing import refuse_stale, write_composed
from overwinter.pipeline.creation import create_project
from overwinter.pipeline.script_reading import read_script
from overwinter.pipeline.wrapping import wrap_script

SCRIPT = """
import torch


class Squares(torch.utils.data.Dataset):
    def __init__(self, count, size=4):
        self.inputs = torch.rand(count, size)

    def __len__(self):
        return len(self.inputs)

    def __getitem__(self, index):
        return self.inputs[index], self.inputs[index].square().sum()[None]


class Net(torch.nn.Sequential):
    def __init__(self, size, hidden=8):
        super().__init__(torch.nn.Linear(size, hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, 1))


if __name__ == "__main__":
    data, net = Squares(count=100), Net(4)
    loss = torch.nn.MSELoss()
"""


def test_a_new_project_is_composed_and_holds_no_case(tmp_path):
    create_project(tmp_path / "mine")
    refuse_stale(load_config(find_project(tmp_path / "mine")), find_project(tmp_path / "mine"))
    assert not (tmp_path / "mine" / "pipelines").exists()
    assert sorted(path.name for path in (tmp_path / "mine" / "configs").glob("*.yaml")) == ["config.yaml", "serve.yaml"]
    assert "overwinter run" in (tmp_path / "mine" / "README.md").read_text()


def test_a_case_comes_with_its_configuration(tmp_path):
    create_project(tmp_path / "mine", cases=["tabular"])
    case = find_project(tmp_path / "mine" / "pipelines" / "tabular")
    refuse_stale(load_config(case), case)
    assert [path.name for path in (tmp_path / "mine" / "pipelines").iterdir()] == ["tabular"]


def test_an_unknown_case_is_refused_with_the_nearest_name(tmp_path):
    with pytest.raises(ConfigError, match="Did you mean 'fashion'"):
        create_project(tmp_path / "mine", cases=["fashon"])
    assert not (tmp_path / "mine").exists()


def test_a_readme_that_is_there_is_kept(tmp_path):
    (tmp_path / "README.md").write_text("mine\n")
    create_project(tmp_path)
    assert (tmp_path / "README.md").read_text() == "mine\n"


@pytest.fixture
def wrapped(tmp_path):
    """Write a script, and make a project around it; return the folder and what is left to edit."""

    def make(text: str):
        path, folder = tmp_path / "squares.py", tmp_path / "project"
        path.write_text(text)
        create_project(folder)
        return folder, wrap_script(folder, path, read_script(path)).to_edit

    return make


def test_a_project_around_a_script_composes_once_its_labels_are_given(wrapped):
    folder, to_edit = wrapped(SCRIPT)
    assert to_edit == ("configs/data/squares.yaml: give labels",)
    option = folder / "configs" / "data" / "squares.yaml"
    option.write_text(option.read_text().replace("???", "[sum]"))
    write_composed(find_project(folder))
    config = load_config(find_project(folder))
    assert (config.task.name, config.trusted_targets) == ("regression", ["squares", "squares_data"])
    assert config.model == {"_target_": "squares.Net", "size": 4, "hidden": 8}


def test_the_data_that_is_written_splits_the_scripts_data_set(wrapped, monkeypatch):
    folder, _ = wrapped(SCRIPT)
    monkeypatch.syspath_prepend(str(folder))
    from squares_data import Data  # type: ignore[import-not-found]

    arguments = yaml.safe_load((folder / "configs" / "data" / "squares.yaml").read_text())
    del arguments["_target_"]
    data = Data(**arguments | {"labels": ["sum"]})
    parts = {name: data.split(name) for name in ("train", "validation", "test")}
    assert {name: len(part) for name, part in parts.items()} == {"train": 70, "validation": 15, "test": 15}
    assert len({index for part in parts.values() for index in part.indices}) == 100


def test_names_and_folders_that_the_script_knows_are_not_asked_for(wrapped, tmp_path, monkeypatch):
    (tmp_path / "photos").mkdir()
    named = SCRIPT.replace("Squares(count=100)", "Squares(count=100, folder='photos')")
    named = named.replace("count, size=4):", "count, folder, size=4):\n        self.classes = [folder]")
    folder, to_edit = wrapped(named.replace("squares", "photos"))
    assert to_edit == ()
    arguments = yaml.safe_load((folder / "configs" / "data" / "squares.yaml").read_text())
    assert arguments["folder"] == str(tmp_path / "photos")
    monkeypatch.syspath_prepend(str(folder))
    for name in ("squares", "squares_data"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    from squares_data import Data

    del arguments["_target_"]
    assert Data(**arguments).labels == (str(tmp_path / "photos"),)


def test_what_is_left_to_do_is_told(wrapped):
    text = SCRIPT.replace("torch.utils.data.Dataset", "object").replace("MSELoss", "Own").replace("if __name__", "if 1")
    folder, to_edit = wrapped(f"{text}\nfor epoch in range(2):\n    pass\n")
    assert [line.split(":")[0] for line in to_edit] == [
        "configs/data/squares.yaml",
        "squares_data.py",
        "configs/config.yaml",
        "squares.py",
    ]
    assert "make your data set here" in (folder / "squares_data.py").read_text()


def test_a_folder_of_images_is_read_by_torchvision(wrapped):
    folder, _ = wrapped("import torch\n\n\nclass Net(torch.nn.Module):\n    pass\n\n\ndata = ImageFolder('photos')\n")
    code = (folder / "squares_data.py").read_text()
    assert "torchvision.datasets.ImageFolder(**self._arguments, transform=torchvision.transforms.ToTensor())" in code
    compile(code, "squares_data.py", "exec")
