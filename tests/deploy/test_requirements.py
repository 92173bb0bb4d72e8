from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest

from overwinter.deploy import requirements
from overwinter.deploy.requirements import needed_by, package_in, tables
from overwinter.errors import ConfigError

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
ALL = {re.split(r"[^\w.-]", text)[0].lower() for text in PROJECT["dependencies"]}
MODULES = {"scikit-learn": "sklearn"}
# As if it were not installed: `import` fails, and anyone who looks whether it is there finds nothing.
BLOCKED = "import sys; sys.modules.update(dict.fromkeys({names}))\n"
SERVE = """
from overwinter import cli
from overwinter.cli.service import load_service
for carbon in ("constant", "country", "uk_grid", "electricity_maps", "watttime"):
    load_service(["carbon=" + carbon])
for command in ("serve", "status", "bundle", "sleep", "wake"):
    try:
        cli.main([command, "--help"])
    except SystemExit:
        pass
import sys
import overwinter.bundle.store, overwinter.bundle.sealed, overwinter.serving.supervisor
import overwinter.serving.worker.main as worker
from overwinter.runtime import find_runtime
for runtime in {runtimes}:
    find_runtime(runtime)
for kind in {kinds}:
    worker._import_ahead(kind)
assert "codecarbon" not in sys.modules
"""


def bundle(runtime="onnxruntime", *, generates=False, kind="normalize", device=None):
    return SimpleNamespace(runtime=runtime, generates=generates, preprocessing={"kind": kind}, device=device)


def test_one_without_torch_needs_only_what_serves_it():
    needed = needed_by(bundle())
    assert f"onnxruntime=={version('onnxruntime')}" in needed
    names = {text.partition("==")[0].lower() for text in needed}
    assert names < ALL
    assert ALL - names == {
        "codecarbon",
        "dvc",
        "jinja2",
        "onnx",
        "onnxscript",
        "ruamel.yaml.clib",
        "scikit-learn",
        "scipy",
        "torch",
        "torchao",
    }


@pytest.mark.parametrize(
    ("given", "runtimes", "kinds"),
    [
        (bundle(), ["onnxruntime", "openvino"], ["onnxruntime"]),
        (bundle(generates=True), ["onnxruntime"], ["language@onnxruntime"]),
        pytest.param(
            bundle("torch", generates=True),
            ["torch", "torch-bf16", "torch-compile"],
            ["torch", "language"],
            marks=pytest.mark.slow,
        ),
    ],
    ids=["without torch", "language without torch", "with torch"],
)
def test_what_the_image_lacks_is_never_imported_by_a_server(tmp_path, given, runtimes, kinds):
    there = {text.partition("==")[0].lower() for text in (*needed_by(given), tables())}
    lacking = {MODULES.get(name, name) for name in ALL - there}
    program = BLOCKED.format(names=lacking) + SERVE.format(runtimes=runtimes, kinds=kinds)
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("runtime", ["torch", "torch-bf16", "torch-compile"])
def test_one_with_torch_takes_it_in_the_version_of_here(runtime):
    needed = needed_by(bundle(runtime, device="cuda"))
    assert f"torch=={version('torch').partition('+')[0]}" in needed
    assert not any(text.startswith(("dvc", "scikit", "codecarbon", "transformers")) for text in needed)
    assert any(text.startswith("transformers") for text in needed_by(bundle(runtime, generates=True)))


@pytest.mark.parametrize(("kind", "name"), [("text", "tokenizers"), ("image", "pillow")])
def test_texts_and_images_need_their_package_and_on_torch_the_architectures(kind, name):
    for runtime, architectures in (("onnxruntime", False), ("torch", True)):
        needed = needed_by(bundle(runtime, kind=kind))
        assert any(text.startswith(name) for text in needed)
        assert any(text.startswith("transformers") for text in needed) == architectures


@pytest.mark.parametrize("runtime", ["llama-cpp", "onnxruntime", "openvino"])
def test_texts_are_generated_without_torch_by_what_splits_them_into_tokens(runtime):
    names = {text.partition("==")[0] for text in needed_by(bundle(runtime, generates=True))}
    assert {"jinja2", "tokenizers"} < names
    assert not {"gguf", "transformers", "torch"} & names


def test_a_wheel_is_named_by_its_digest(tmp_path):
    wheel = tmp_path / "overwinter-1-py3-none-any.whl"
    wheel.write_bytes(b"one")
    first = package_in(wheel)
    assert first.startswith(f"overwinter @ file:///tmp/{wheel.name}#sha256=")
    wheel.write_bytes(b"another")
    assert package_in(wheel) != first


def test_a_runtime_of_another_package_is_that_package(monkeypatch):
    point = SimpleNamespace(dist=SimpleNamespace(name="no-such-package"))
    monkeypatch.setattr(requirements, "entry_points", lambda group, name: [point] if name == "theirs" else [])
    assert "no-such-package" in needed_by(bundle("theirs"))  # not installed in the test, so of no version
    with pytest.raises(ConfigError, match="'nobodys', which no installed package provides"):
        needed_by(bundle("nobodys"))


def test_no_image_is_rendered_for_a_gpu_that_it_could_not_use():
    with pytest.raises(ConfigError, match="cuda"):
        needed_by(bundle(device="cuda"))
