"""The stage program on tasks of other kinds, with data and models of one's own, without DVC."""

import importlib.util
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from overwinter import data, models, tasks
from overwinter.config.groups import EvaluateConfig
from overwinter.files import read_json
from overwinter.records import to_json
from overwinter.tasks.settings import RegressionTaskConfig, SegmentationTaskConfig

PROGRAM = Path(__file__).parents[2] / "stages" / "evaluate.py"
OWN = """
import torch
from torch import nn


class Prices(torch.utils.data.Dataset):
    '''Three numbers and a text of tokens of any length for each price.'''

    def __init__(self, seed):
        self.generator, self.seed = torch.Generator(), seed

    def __len__(self):
        return 40

    def __getitem__(self, at):
        self.generator.manual_seed(1000 * self.seed + at)
        numbers = torch.randn(3, generator=self.generator)
        tokens = torch.randint(1, 9, (2 + at % 5,), generator=self.generator)
        return {"numbers": numbers, "tokens": tokens, "target": numbers.sum() + 0.1 * tokens.float().mean()}


class PriceData:
    labels, preprocessing, pad = ("price",), {}, {"tokens": 0}

    def split(self, name):
        return Prices(("train", "validation", "test").index(name))


class PriceModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.head = nn.Embedding(9, 1), nn.Linear(4, 1)

    def forward(self, numbers, tokens):
        shown = (tokens > 0).float()[..., None]
        mean = (self.embedding(tokens) * shown).sum(1) / shown.sum(1)
        return self.head(torch.cat([numbers, mean], dim=1))


class MaskData:
    labels, preprocessing = ("ground", "item"), {}

    def split(self, name):
        generator = torch.Generator().manual_seed(len(name))
        images = torch.rand(30, 1, 8, 8, generator=generator)
        return torch.utils.data.TensorDataset(images, (images[:, 0] > 0.5).long())


class MaskModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(1, 2, 1)

    def forward(self, images):
        return self.layer(images)
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "own_kinds.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))


def evaluate_config(**changes):
    return EvaluateConfig(
        **{
            "version": 4,
            "runtimes": ["torch", "onnxruntime"],
            "batch_sizes": [1, 4],
            "choose_at_batch_size": 4,
            "max_quality_loss": 0.05,
            "max_losses": {},
            "corruptions": ["noise"],
            "measures": {},
            "measure_loading": False,
            "prompt_tokens": None,
            "written_tokens": None,
            "repeats": 3,
            "max_repeats": 3,
            "precision": 0.5,
            "sample_duration_s": 0.001,
            "threads": 1,
            "confidence": 0.95,
        }
        | changes
    )


def evaluated(folder, make_meter, *, kind, task, layer, integer):
    """Save a model as dense and with one layer in 8 bits, run the stage, and return what it left."""
    torch.manual_seed(0)
    config = SimpleNamespace(
        data={"_target_": f"own_kinds.{kind}Data"},
        task=task,
        evaluate=evaluate_config(),
        trusted_targets=["own_kinds"],
        device="auto",
        seed=0,
    )
    model_config = {"_target_": f"own_kinds.{kind}Model"}
    source = data.load_data(config.data, trusted=["own_kinds"])
    split = source.use(tasks.load_task(task, source.labels)).split("test")
    model = models.build_model(model_config, trusted=["own_kinds"]).eval()
    signature = models.find_signature(model, split.singles(4))
    for variant in ("dense", "int8"):
        if variant == "int8":
            models.replace_layer(model, layer, integer.from_float(model.get_submodule(layer), models.Grid(bits=8)))
        models.save_model(
            folder / variant, model, variant=variant, model_config=model_config, signature=signature, lineage={}
        )
    (folder / "out").mkdir()
    lines, left = [], {}
    stage = SimpleNamespace(
        config=config,
        variants=lambda: {variant: folder / variant for variant in ("dense", "int8")},
        meter=make_meter(),
        quiet_device=nullcontext,
        log=lines.append,
        out=lambda name: folder / "out" / name,
        unsaved_progress=lambda _done, _total: None,
        save_metrics=lambda metrics: left.update(to_json(metrics)),
    )
    spec = importlib.util.spec_from_file_location("evaluate_stage", PROGRAM)
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    program.main(stage)
    return lines, left, read_json(folder / "out" / "comparison.json", remedy="")["candidates"]


@pytest.mark.usefixtures("own")
def test_a_regression_on_several_inputs_whose_lengths_differ(tmp_path, make_meter):
    task = RegressionTaskConfig(unit="USD")
    lines, metrics, candidates = evaluated(
        tmp_path, make_meter, kind="Price", task=task, layer="head", integer=models.IntegerLinear
    )
    assert set(candidates) == {"dense@torch", "dense@onnxruntime", "int8@torch", "int8@onnxruntime"}
    assert metrics["chosen"]["headline"] == "r2"
    figures = candidates["int8@onnxruntime"]
    assert {"r2", "r2_low", "r2_loss_high", "rmse", "mae", "loss", "divergence_from_dense"} <= set(figures)
    assert figures["r2_low"] <= figures["r2"] <= figures["r2_high"]
    assert candidates["dense@onnxruntime"]["agreement_with_dense"] > 0.999
    assert "r2_noise" not in figures
    assert "corruptions are left out: they change one tensor of floats, and the inputs are not that" in lines
    assert any(line.startswith("dense@torch: R2 ") for line in lines)


@pytest.mark.usefixtures("own")
def test_a_segmentation(tmp_path, make_meter):
    _, metrics, candidates = evaluated(
        tmp_path, make_meter, kind="Mask", task=SegmentationTaskConfig(), layer="layer", integer=models.IntegerConv2d
    )
    assert metrics["dense"]["headline"] == "mean_iou"
    figures = candidates["int8@torch"]
    assert {"mean_iou", "mean_iou_loss_low", "pixel_accuracy", "mean_iou_noise", "agreement_with_dense"} <= set(figures)
