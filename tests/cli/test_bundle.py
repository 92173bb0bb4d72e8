import json
import re
import subprocess
import sys

import numpy as np
import pytest

from overwinter import models
from overwinter.bundle import BundleFacts, hibernate
from overwinter.cli import main
from overwinter.signature import Signature
from tests.support.building import build

CONVNET = {"_target_": "overwinter.models.ConvNet", "input_shape": [1, 4, 4], "classes": 2, "channels": [3]}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    model = models.build_model(CONVNET, trusted=[]).eval()
    models.save_model(
        folder / "saved",
        model,
        variant="dense",
        model_config=CONVNET,
        signature=Signature.of_one([1, 4, 4]),
        lineage={},
    )
    build(folder / "saved", "onnxruntime", folder / "payload", trusted=[])
    return hibernate(
        folder / "bundle",
        payload=folder / "payload",
        facts=BundleFacts(
            variant="dense",
            runtime="onnxruntime",
            signature=Signature.of_one([1, 4, 4]),
            labels=("no", "yes"),
            preprocessing={},
            production_energy_j=1234.0,
            lineage={"stage": "hibernate", "inputs": {"train/model": "abc"}},
        ),
        canary_inputs=np.ones((2, 1, 4, 4), np.float32),
        canary_tolerance=1e-3,
    ).folder


@pytest.mark.parametrize("action", ["verify", "inspect", "wake"])
def test_json_of_every_action(bundle, capsys, action):
    assert main(["bundle", action, str(bundle), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["variant"] == "dense"
    assert report["runtime"] == "onnxruntime"
    assert report["device"] == "cpu"
    assert len(report["digest"]) == 64


def test_inspect_tells_people_what_they_need(bundle, capsys):
    assert main(["bundle", "inspect", str(bundle)]) == 0
    output = capsys.readouterr().out
    assert re.search(r"production_energy_j +1\.23 kJ", output)
    assert '["no", "yes"]' in output
    assert re.search(r"lineage inputs\.train/model +abc", output)


def test_wake_says_how_long_it_took(bundle, capsys):
    assert main(["bundle", "wake", str(bundle), "--json", "--threads", "2"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["canary"] == "answers as recorded"
    assert 0 < report["wake_duration_s"] < 60


@pytest.mark.parametrize("action", ["verify", "inspect", "wake"])
def test_an_altered_bundle_exits_with_4_and_one_message(bundle, capsys, action):
    path = bundle / "payload" / "model.onnx"
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    try:
        assert main(["bundle", action, str(bundle)]) == 4
    finally:
        path.write_bytes(content)
    output = capsys.readouterr()
    assert output.out == ""
    assert f"has {len(content) - 1} bytes instead of {len(content)}" in output.err
    assert "Traceback" not in output.err


def test_a_folder_that_is_no_bundle_exits_with_4(tmp_path, capsys):
    assert main(["bundle", "verify", str(tmp_path)]) == 4
    assert "bundle.json is missing" in capsys.readouterr().err


def test_the_command_never_imports_torch(bundle):
    code = (
        "import sys; from overwinter.cli import main; "
        "code = main(['bundle', 'wake', sys.argv[1]]); assert 'torch' not in sys.modules; sys.exit(code)"
    )
    subprocess.run([sys.executable, "-c", code, str(bundle)], env={"PYTHONPATH": ":".join(sys.path)}, check=True)
