"""An untrusted bundle: whatever its model.json names, none of its code is run."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch

from overwinter import manifest, models
from overwinter.bundle import BundleFacts, Canary, wake, write_bundle
from overwinter.cli import main
from overwinter.errors import IntegrityError
from overwinter.signature import Signature
from tests.support.networks import CONVNET

LINEAR = {"_target_": "torch.nn.Linear", "in_features": 2, "out_features": 2}
# FOLDER stands for a folder with files that leave a mark when they are run, and TOUCH for a command that does.
NODES = {
    "a shell command": {"_target_": "torch.utils.collect_env.run", "command": "TOUCH"},
    "a hub": {"_target_": "torch.hub.load", "repo_or_dir": "FOLDER", "model": "net", "source": "local"},
    "a pickle": {"_target_": "torch.load", "f": "FOLDER/evil.pt", "weights_only": False},
    "a compiler": {"_target_": "torch.utils.cpp_extension.load_inline", "name": "x", "cpp_sources": "x"},
    "a detour": {"_target_": "torch.nn.modules.module.torch.hub.load", "repo_or_dir": "FOLDER", "model": "net"},
    "the system": {"_target_": "os.system", "command": "TOUCH"},
    "a module to import": {"_target_": "lonely.Net"},
    "a path to read": {"_target_": "overwinter.models.pretrained", "root": "FOLDER"},
    "a function of torch.nn": {"_target_": "torch.nn.functional.relu", "input": 1},
    "a data set": {"_target_": "overwinter.data.FashionMnist", "root": "FOLDER"},
    "another target inside": {**CONVNET, "channels": {"_target_": "os.system", "command": "TOUCH"}},
    "no name": {"_target_": ["torch.nn.Linear"]},
    "nothing": {},
    "the base class": {"_target_": "torch.nn.Module"},
    "wrong arguments": {**LINEAR, "in_features": "many"},
    "other arguments": {**LINEAR, "command": "TOUCH"},
    "another model": LINEAR,
    "endless layers": {"_target_": "torch.nn.LSTM", "input_size": 1, "hidden_size": 1, "num_layers": 10**9},
    "endless nothing": {"_target_": "torch.nn.TransformerEncoder", "encoder_layer": None, "num_layers": 10**9},
    "a large layer, copied": {
        "_target_": "torch.nn.Transformer",
        "d_model": 4096,
        "nhead": 1,
        "dim_feedforward": 1,
        "num_encoder_layers": 1000,
    },
    "all memory": {**LINEAR, "in_features": 10**7, "out_features": 10**7},
    "all memory in one": {"_target_": "torch.nn.Embedding", "num_embeddings": 2**40, "embedding_dim": 1},
    "a size that is not one": {**LINEAR, "in_features": 2**62, "out_features": 2**62},
}


class Marker:
    """Object that creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.fixture
def traps(tmp_path, monkeypatch):
    """A folder of programs that create `ran` next to them when they are run."""
    mark = f"open({str(tmp_path / 'ran')!r}, 'w')\n"
    (tmp_path / "hubconf.py").write_text(f"{mark}def net(): ...\n")
    (tmp_path / "lonely.py").write_text(f"{mark}import torch\nclass Net(torch.nn.Module): ...\n")
    (tmp_path / "evil.pt").write_bytes(pickle.dumps(Marker(str(tmp_path / "ran"))))
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.fixture
def strangers(hibernate, traps):
    """Change a bundle's model.json, with valid seals."""
    bundle = hibernate("torch").folder

    def filled(value):
        return str(value).replace("TOUCH", f"touch {traps / 'ran'}").replace("FOLDER", str(traps))

    def change(**changes):
        if "model" in changes:
            node = changes["model"]
            changes["model"] = {key: filled(value) if isinstance(value, str) else value for key, value in node.items()}
        description = bundle / "payload" / "model.json"
        manifest.write_sealed(description, manifest.read_sealed(description, remedy="") | changes)
        outer = manifest.read_sealed(bundle / "bundle.json", remedy="")
        listed = manifest.describe_files(bundle, outer["files"])
        manifest.write_sealed(bundle / "bundle.json", outer | {"files": listed})
        return bundle

    return change


@pytest.mark.parametrize("name", NODES)
def test_nothing_that_a_bundle_names_is_run(strangers, traps, monkeypatch, name):
    monkeypatch.setattr(subprocess, "Popen", lambda *words, **_: pytest.fail(f"{words} was started"))
    bundle = strangers(model=NODES[name])
    for trusted in ([], ["fractions"]):
        with pytest.raises(IntegrityError):
            wake(bundle, trusted=trusted)
    assert not (traps / "ran").exists()
    assert "lonely" not in sys.modules


@pytest.mark.parametrize("name", ["a shell command", "a function of torch.nn", "all memory"])
def test_the_command_refuses_such_a_bundle_with_4(strangers, traps, capsys, name):
    assert main(["bundle", "wake", str(strangers(model=NODES[name]))]) == 4
    assert capsys.readouterr().err.startswith("overwinter: ")
    assert not (traps / "ran").exists()


@pytest.mark.parametrize("name", ["a shell command", "the system", "a path to read", "a function of torch.nn"])
def test_a_server_refuses_such_a_bundle_before_it_starts(strangers, capsys, name):
    assert main(["serve", str(strangers(model=NODES[name])), "serve.port=0"]) == 4
    said = capsys.readouterr().err
    assert "names code that is not run" in said
    assert ("--trust-code" in said) == (NODES[name]["_target_"].partition(".")[0] not in sys.stdlib_module_names)


@pytest.mark.parametrize(
    "quantization",
    [
        {"layers": 3},
        {"layers": {"head": 3}},
        {"layers": {"forward.__globals__": {"shape": [1, 1]}}},
        {"tensors": {"head.weight": {"_type": "torch.dtype", "_data": "hub"}}},
        {"tensors": {"head.weight": {"_type": "MappingType", "_data": "mro"}}},
        {
            "tensors": {
                "head.weight": {"_type": "Int8Tensor", "_data": {"d": {"_type": "torch.dtype", "_data": "load"}}}
            }
        },
        {"tensors": {}, "inputs": "bfloat16", "quantized": ["forward"]},
        {},
    ],
)
def test_a_variant_made_to_hurt_is_refused(strangers, quantization):
    with pytest.raises(IntegrityError):
        wake(strangers(quantization=quantization))


def test_a_function_that_the_owner_trusts_is_not_called_by_a_bundle(strangers, traps):
    (traps / "mine.py").write_text("from torch.nn import Linear\ndef net(): return Linear(2, 2)\n")
    for target, message in (("net", "is a function, not a class"), ("Linear", "defined outside the trusted packages")):
        with pytest.raises(IntegrityError, match=message):
            wake(strangers(model={"_target_": f"mine.{target}"}), trusted=["mine"])
    with pytest.raises(IntegrityError, match=r"'mine\.Net' is not trusted"):
        wake(strangers(model={"_target_": "mine.Net"}))
    sys.modules.pop("mine", None)


def test_a_canary_that_compares_nothing_is_refused(hibernate, payloads):
    bundle = hibernate()
    facts = BundleFacts(**{name: getattr(bundle, name) for name in BundleFacts.__dataclass_fields__})
    odd = np.full_like(bundle.canary.outputs, np.nan)
    unlike = Canary(inputs=bundle.canary.inputs, outputs=odd, tolerance=1e-3)
    folder = bundle.folder.with_name("unlike")
    write_bundle(folder, payload=payloads["onnxruntime"], facts=facts, canary=unlike)
    with pytest.raises(IntegrityError, match="woke up with other outputs"):
        wake(folder)
    none = Canary(inputs=bundle.canary.inputs[:0], outputs=odd[:0], tolerance=1e-3)
    with pytest.raises(IntegrityError, match="records no output"):
        write_bundle(bundle.folder.with_name("none"), payload=payloads["onnxruntime"], facts=facts, canary=none)


def test_a_plain_class_of_torch_wakes(tmp_path, hibernate):
    model = models.build_model(LINEAR, trusted=[]).eval()
    models.save_model(
        tmp_path / "own", model, variant="dense", model_config=LINEAR, signature=Signature.of_one([2]), lineage={}
    )
    bundle = hibernate("torch", payload=tmp_path / "own", canary_inputs=np.ones((1, 2), np.float32), labels=["a", "b"])
    inputs = np.ones((3, 2), np.float32)
    with torch.inference_mode():
        np.testing.assert_array_equal(wake(bundle.folder).run(inputs), model(torch.from_numpy(inputs)).numpy())
