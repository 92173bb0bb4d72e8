"""The stage program `sparsify`, at once on a small language model, without DVC."""

import importlib.util
import itertools
import json
from types import SimpleNamespace

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
        readings_j = itertools.count(0.0, 2.5)
        self.meter = SimpleNamespace(read=lambda: SimpleNamespace(energy_j=next(readings_j)))

    def input(self, _stage, out="model"):
        return self.given / out


@pytest.fixture
def sparsified(tmp_path, llama):  # noqa: F811 -- the fixture
    def sparsified(*options):
        """Return the stage after it ran on a small language model."""
        overrides = [options[0] if each == "sparsify=none" else each for each in llama] + list(options[1:])
        dense = trained.run(tmp_path, *overrides, "train=pretrained")
        stage = Sparsifying(tmp_path / "sparse", dense.config, dense.folder / "out")
        spec = importlib.util.spec_from_file_location("sparsify", ROOT / "stages" / "sparsify.py")
        program = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(program)
        program.main(stage)
        return stage

    return sparsified


@pytest.mark.parametrize("pattern", ["unstructured", "2:4"])
def test_what_is_asked_is_counted_in_the_saved_file(sparsified, pattern):
    stage = sparsified("sparsify=sparsegpt", f"sparsify.pattern={pattern}", "sparsify.swaps=2")
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
    assert report["recovered"] is None
    assert report["trials"] == []


def test_kept_weights_are_distilled_and_zeros_stay(sparsified):
    stage = sparsified("sparsify=sparsegpt_distilled", "sparsify.recovery.steps=8", "sparsify.recovery.batch_size=2")
    report = json.loads(stage.out("layers.json").read_text())
    assert report["recovered"]["method"] == "distill"
    assert report["reached"] == 0.5
    assert any(line.startswith("recovered (distill): distance from dense") for line in stage.lines)


def test_the_largest_amount_within_the_limit_is_saved_with_its_trials(sparsified):
    stage = sparsified("sparsify=wanda", "sparsify.amount=0.9", "sparsify.max_quality_loss=1e9", "sparsify.trials=2")
    report = json.loads(stage.out("layers.json").read_text())
    (trial,) = report["trials"]
    assert trial["amount"] == 0.9
    assert trial["energy_j"] == 2.5
    assert report["reached"] == pytest.approx(0.9, abs=0.01)
    assert any(line.startswith("trial 1: 90.0% costs") for line in stage.lines)
