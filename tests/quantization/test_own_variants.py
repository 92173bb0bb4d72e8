"""The example of docs/extending.md: a quantizer, a runtime and a measure of another package."""

import re
import tomllib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from overwinter import quantization, runtime
from overwinter.evaluation import own_measures
from tests.support.building import build

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples/own_variants"


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """What `pip install` leaves: the module, and the metadata with its entry points."""
    metadata = tmp_path / "site" / "own_variants-0.1.0.dist-info"
    metadata.mkdir(parents=True)
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    sections = [
        f"[{group}]\n" + "".join(f"{name} = {target}\n" for name, target in points.items())
        for group, points in project["entry-points"].items()
    ]
    (metadata / "entry_points.txt").write_text("\n".join(sections))
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: 0.1.0\n")
    monkeypatch.syspath_prepend(str(metadata.parent))
    monkeypatch.syspath_prepend(str(EXAMPLE))


@pytest.mark.usefixtures("installed")
def test_a_method_and_a_runtime_of_another_package_are_named_and_used(quantize, save, convnet, calibration, tmp_path):
    quantization.check_methods(["int8_static", "int6"])
    dense = save(convnet)
    report = quantize("int6", dense)
    assert report.quantized == ("features.0.0", "features.2.0", "head")
    assert report.agreement > 0.9
    assert runtime.refusal(tmp_path / "int6", "onnxruntime") is None
    assert runtime.refusal(tmp_path / "int6", "channels-last") == "it runs float models only"

    build(dense, "channels-last", tmp_path / "built", trusted=[])
    outputs = runtime.open_session(tmp_path / "built", "channels-last", 1).run(calibration)
    with torch.inference_mode():
        assert np.allclose(outputs, convnet(torch.from_numpy(calibration)).numpy(), atol=1e-5)


@pytest.mark.usefixtures("installed")
def test_the_measure_is_made_by_its_target():
    node = {"_target_": "own_variants.TopShare", "count": 2}
    settings = SimpleNamespace(measures={"top_share": node})
    measure = own_measures(settings, trusted=["own_variants"])["top_share"]
    assert measure(np.array([[3, 2, 1], [3, 2, 1]], np.float32), np.array([1, 2])) == 0.5


def test_the_docs_and_the_example_name_the_same_commands():
    block = re.compile(r"^```sh\npip install --no-deps \.\./own_variants\n.*?^```", re.MULTILINE | re.DOTALL)
    pages = [(ROOT / "docs/extending.md").read_text(), (EXAMPLE / "README.md").read_text()]
    assert len({block.search(page).group() for page in pages}) == 1
