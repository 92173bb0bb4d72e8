from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest

from overwinter.errors import ConfigError
from overwinter.serving.deploy import requirements
from overwinter.serving.deploy.requirements import needed_by, package_in, package_of, tables

PROJECT = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
ALL = {re.split(r"[^\w.-]", text)[0].lower() for text in PROJECT["dependencies"]}
MODULES = {"scikit-learn": "sklearn"}
BLOCKED = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names}:
            raise ModuleNotFoundError(f"No module named {{name!r}}, as in the image", name=name)

sys.meta_path.insert(0, Missing())
"""
SERVE = """
from overwinter import cli
from overwinter.cli.service import load_service
for carbon in ("constant", "country", "uk_grid", "electricity_maps", "watttime"):
    load_service([f"carbon={carbon}"])
for command in ("serve", "status", "bundle", "sleep", "wake"):
    try:
        cli.main([command, "--help"])
    except SystemExit:
        pass
import sys
import overwinter.serving.store, overwinter.serving.sealing, overwinter.serving.server.supervisor
import overwinter.hibernation.worker as worker
worker._import_ahead("onnxruntime")
assert "codecarbon" not in sys.modules
"""


def bundle(runtime="onnxruntime", *, tokenizer=None, device=None):
    return SimpleNamespace(runtime=runtime, tokenizer=tokenizer, device=device)


def test_one_without_torch_needs_only_what_serves_it():
    needed = needed_by(bundle())
    assert f"onnxruntime=={version('onnxruntime')}" in needed
    names = {text.partition("==")[0].lower() for text in needed}
    assert names < ALL
    assert ALL - names == {"codecarbon", "dvc", "onnx", "scikit-learn", "torch", "torchao"}


def test_what_the_image_lacks_is_never_imported_by_a_server(tmp_path):
    lacking = {
        MODULES.get(name, name) for name in ALL - {text.partition("==")[0].lower() for text in needed_by(bundle())}
    }
    program = BLOCKED.format(names=lacking - {tables().partition("==")[0]}) + SERVE
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("given", "extras"), [(bundle("torch"), ""), (bundle(tokenizer=Path("t")), "[llm]")])
def test_one_with_torch_needs_everything(given, extras, tmp_path):
    assert needed_by(given) is None
    assert package_of("overwinter==1.2", given) == f"overwinter{extras}==1.2"
    assert package_of("overwinter[openvino]>=1", given) == "overwinter[openvino]>=1"
    assert package_of("overwinter @ git+https://e.org/o", given) == f"overwinter{extras} @ git+https://e.org/o"
    wheel = tmp_path / "overwinter-1-py3-none-any.whl"
    wheel.write_bytes(b"one")
    first = package_in(wheel, given)
    assert first.startswith(f"overwinter{extras} @ file:///tmp/{wheel.name}#sha256=")
    wheel.write_bytes(b"another")
    assert package_in(wheel, given) != first


def test_a_runtime_that_is_not_installed_here_has_no_version(monkeypatch):
    monkeypatch.setattr(requirements, "_WITHOUT_TORCH", ("no-such-runtime",))
    assert "no-such-runtime" in needed_by(bundle("no-such-runtime"))


def test_no_image_is_rendered_for_a_gpu_that_it_could_not_use():
    with pytest.raises(ConfigError, match="cuda"):
        needed_by(bundle(device="cuda"))
