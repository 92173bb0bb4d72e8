import numpy as np
import pytest
import torch

from overwinter import models, runtime
from overwinter.errors import ConfigError, IntegrityError
from overwinter.models import load_description
from tests.support.building import build, drawn

INPUTS = np.random.default_rng(0).standard_normal((5, 1, 8, 8)).astype(np.float32)


def test_torch_and_onnxruntime_give_the_same_answers(saved, tmp_path):
    outputs = {}
    for name in ("torch", "onnxruntime"):
        build(saved, name, tmp_path / name, trusted=[])
        outputs[name] = runtime.open_session(tmp_path / name, name, 1).run(INPUTS)
    assert outputs["torch"].shape == (5, 3)
    assert outputs["torch"].dtype == outputs["onnxruntime"].dtype == np.float32
    np.testing.assert_allclose(outputs["onnxruntime"], outputs["torch"], atol=1e-5)


@pytest.mark.parametrize("name", ["torch", "onnxruntime"])
@pytest.mark.parametrize("batch", [1, 2, 5])
def test_any_batch_size_is_answered_like_its_samples(saved, tmp_path, name, batch):
    build(saved, name, tmp_path / "built", trusted=[])
    session = runtime.open_session(tmp_path / "built", name, 2)
    one_by_one = np.concatenate([session.run(INPUTS[i : i + 1]) for i in range(batch)])
    np.testing.assert_allclose(session.run(INPUTS[:batch]), one_by_one, atol=1e-5)


def test_unknown_runtime_is_refused_with_the_nearest_name(saved, tmp_path):
    with pytest.raises(ConfigError, match=r"'onnxruntme' is unknown.*Did you mean 'onnxruntime'"):
        build(saved, "onnxruntme", tmp_path / "built", trusted=[])


def test_refusal_says_which_variants_a_runtime_cannot_run(saved):
    description = load_description(saved)
    torchao = description | {"variant": "int8_dynamic", "quantization": {"method": "int8_dynamic"}}
    graph = torchao | {"variant": "int8_static", "files": {"model.onnx": {}}}
    torch_runtime, onnx_runtime = runtime.find_runtime("torch"), runtime.find_runtime("onnxruntime")
    assert torch_runtime.refusal(description) is None
    assert torch_runtime.refusal(torchao) is None
    assert "ONNX graph" in torch_runtime.refusal(graph)
    assert onnx_runtime.refusal(description) is None
    assert onnx_runtime.refusal(graph) is None
    assert "torchao" in onnx_runtime.refusal(torchao)


def test_building_a_damaged_model_is_refused(saved, tmp_path):
    weights = saved / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x00\x01")
    with pytest.raises(IntegrityError):
        build(saved, "onnxruntime", tmp_path / "built", trusted=[])


def test_third_parties_add_runtimes(monkeypatch):
    class Own:
        name = "own"

    class Point:
        name = "own"

        def load(self):
            return Own

    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [Point()] if "runtimes" in group else [])
    assert isinstance(runtime.find_runtime("own"), Own)


def test_torch_runs_integer_layers_as_they_were_saved(saved, tmp_path):
    description = load_description(saved)
    model = models.load_model(saved, trusted=[])
    head = next(name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear))
    models.replace_layer(
        model, head, models.IntegerLinear.from_float(model.get_submodule(head), models.Grid(bits=4, group_size=32))
    )
    models.save_model(
        tmp_path / "int4",
        model,
        variant="int4",
        model_config=description["model"],
        signature=models.signature_of(description),
        lineage={},
    )
    build(tmp_path / "int4", "torch", tmp_path / "built", trusted=[])
    outputs = runtime.open_session(tmp_path / "built", "torch", 1).run(INPUTS)
    with torch.inference_mode():
        np.testing.assert_array_equal(outputs, model(torch.from_numpy(INPUTS)).numpy())
    assert runtime.refusal(tmp_path / "int4", "onnxruntime") is None


def test_what_no_runtime_could_run_is_found_before_training(saved, save_own):
    description = load_description(saved)
    model = models.load_model(saved, trusted=[])
    place = {"model_config": description["model"], "examples": drawn([1, 8, 8]), "trusted": []}
    runtime.check_runtimes(model, ["torch", "onnxruntime"], **place)
    with pytest.raises(ConfigError, match=r"evaluate\.runtimes='onnx' is unknown"):
        runtime.check_runtimes(model, ["torch", "onnx"], **place)
    own = load_description(save_own("Unexportable"))
    place |= {"model_config": own["model"], "trusted": ["nets_to_run"]}
    model = models.build_model(own["model"], trusted=["nets_to_run"])
    runtime.check_runtimes(model, ["torch"], **place)
    with pytest.raises(ConfigError, match=r"layer body\.1: .*bessel"):
        runtime.check_runtimes(model, ["torch", "onnxruntime"], **place)
    assert model.training


def test_a_function_makes_a_model_that_is_served_without_its_code_only(tmp_path, monkeypatch):
    (tmp_path / "made.py").write_text(
        "from torch import nn\ndef net(): return nn.Linear(4, 2)\nclass Net(nn.Module): ...\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    config = {"_target_": "made.net"}
    asked = {"model_config": config, "examples": drawn([4]), "trusted": ["made"]}
    model = models.build_model(config, trusted=["made"]).eval()
    with models.own_models():
        runtime.check_runtimes(model, ["onnxruntime"], **asked)
        with pytest.raises(
            ConfigError, match=r"(?s)'made\.net' is a function, which the runtime 'torch' would call.*class"
        ):
            runtime.check_runtimes(model, ["onnxruntime", "torch"], **asked)
    with pytest.raises(ConfigError, match="is a function, not a class"):
        runtime.check_runtimes(model, ["onnxruntime"], **asked)
