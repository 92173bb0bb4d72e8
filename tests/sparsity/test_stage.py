"""The stage program `sparsify`, at once on a small language model, without DVC."""

import importlib.util
import json

import pytest

from overwinter import models
from tests.training import test_stage as trained
from tests.training.test_stage import ROOT, Stage, llama  # noqa: F401 -- a fixture

HEAD = "it is outside the language model's blocks (sparsify.head=false)"


class Sparsifying(Stage):
    name = "sparsify"

    def __init__(self, folder, config, given):
        super().__init__(folder, config)
        self.given = given

    def input(self, _stage, out="model"):
        return self.given / out


@pytest.mark.parametrize("pattern", ["unstructured", "2:4"])
def test_what_is_asked_is_counted_in_the_saved_file(tmp_path, llama, pattern):  # noqa: F811 -- the fixture
    option = ["sparsify=sparsegpt", f"sparsify.pattern={pattern}", "sparsify.swaps=2"]
    overrides = [option[0] if each == "sparsify=none" else each for each in llama] + option[1:]
    dense = trained.run(tmp_path, *overrides, "train=pretrained")
    stage = Sparsifying(tmp_path / "sparse", dense.config, dense.folder / "out")
    spec = importlib.util.spec_from_file_location("sparsify", ROOT / "stages" / "sparsify.py")
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    program.main(stage)

    report = json.loads(stage.out("layers.json").read_text())
    saved = models.load_model(stage.out(), trusted=[])
    assert len(report["layers"]) == 7
    for name, layer in report["layers"].items():
        weight = saved.get_submodule(name).weight
        assert layer["density_saved"] == int(weight.count_nonzero()) / weight.numel() == layer["density_asked"] == 0.5
        assert 0 < layer["output_error"] < 1
    assert report["left_alone"]["network.lm_head"] == HEAD
    assert f"left unchanged: network.lm_head: {HEAD}" in stage.lines
    assert models.load_description(stage.out())["variant"] == "sparse"
    assert stage.metrics["sparsity"] == pytest.approx(report["reached"], abs=0.5)
