import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from overwinter import manifest
from overwinter.errors import IntegrityError
from overwinter.models import (
    Grid,
    IntegerLinear,
    build_model,
    integer_layers,
    integer_type,
    load_description,
    load_model,
    read_weights,
    replace_layer,
    save_model,
    stored_bytes,
    unpacked_bytes,
    write_description,
    write_weights,
)
from overwinter.signature import Signature

CONFIG = {"_target_": "overwinter.models.ConvNet", "input_shape": [1, 8, 8], "classes": 3, "channels": [16, 32]}
SYMMETRIC, ASYMMETRIC = Grid(bits=8), Grid(bits=8, group_size=7, symmetric=False)
NIBBLES, ODD_NIBBLES = Grid(bits=4, group_size=64, symmetric=False), Grid(bits=3, group_size=5)


def pruned(share=0.8):
    torch.manual_seed(0)
    model = build_model(CONFIG, trusted=[])
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.masked_fill_(torch.rand_like(weight) < share, 0.0)
    return model


def in_integers(model, grid):
    for name, layer in list(model.named_modules()):
        kind = integer_type(layer)
        if kind is not None:
            replace_layer(model, name, kind.from_float(layer, grid))
    return model


def save(folder, model):
    signature = Signature.of_one([1, 8, 8])
    return save_model(folder, model, variant="sparse", model_config=CONFIG, signature=signature, lineage={})


def assert_same(model, other):
    wanted = model.state_dict()
    assert {name: tensor.dtype for name, tensor in other.state_dict().items()} == {
        name: tensor.dtype for name, tensor in wanted.items()
    }
    assert all(torch.equal(tensor, wanted[name]) for name, tensor in other.state_dict().items())


def test_a_pruned_model_takes_less_room_and_comes_back(tmp_path):
    model = pruned()
    saved = save(tmp_path, model)
    assert_same(model, load_model(tmp_path, trusted=[]))
    dense = sum(tensor.nbytes for tensor in model.state_dict().values())
    assert stored_bytes(saved) < 0.6 * dense
    assert unpacked_bytes(saved) > dense
    assert saved["tensors"]["features.1.0.weight"]["shape"] == [32, 16, 3, 3]


def test_a_dense_model_is_stored_as_ever(tmp_path):
    saved = save(tmp_path, pruned(share=0.0))
    assert not any("packed" in entry for entry in saved["tensors"].values())
    assert unpacked_bytes(saved) == stored_bytes(saved)


@pytest.mark.parametrize("grid", [SYMMETRIC, ASYMMETRIC, NIBBLES, ODD_NIBBLES])
def test_codes_of_zero_weights_are_packed_whatever_the_zero_point(tmp_path, grid):
    model = in_integers(pruned(), grid)
    saved = save(tmp_path, model)
    entry = saved["tensors"]["features.1.0.codes"]
    bits = 8 if grid.bits == 8 else 4
    dense = 32 * 144 * bits / 8
    assert entry["packed"]["size_bytes"] < (0.35 if bits == 8 else 0.5) * dense
    loaded = load_model(tmp_path, trusted=[])
    assert_same(model, loaded)
    assert (integer_layers(loaded)["features.1.0"].zeros().float().mean() > 0.79).item()


def test_zero_codes_are_those_of_zero_weights():
    for grid in (SYMMETRIC, ASYMMETRIC, NIBBLES, ODD_NIBBLES):
        layer = IntegerLinear.from_float(nn.Linear(13, 4), grid)
        zero = IntegerLinear.from_float(nn.Linear(13, 4), grid)
        codes = layer.get_codes()
        layer.codes.zero_().bitwise_xor_(layer.zero_codes())
        zero.set_codes(codes)
        assert layer.zeros().all()


def relabelled(folder, change):
    """Change the entries of a saved model's tensors as someone could who seals it anew."""
    description = load_description(folder)
    change(description["tensors"])
    description.pop("sha256", None)
    manifest.write_sealed(folder / "model.json", description)


LIES = [
    (lambda tensors: tensors["features.1.0.weight"].update(shape=[32, 16, 3, 4]), "are stored|follow"),
    (lambda tensors: tensors["features.1.0.weight"].update(shape=[1 << 20, 1 << 20]), "it would take"),
    (lambda tensors: tensors["head.weight"].update(packed={"levels": 1}), "not as bytes"),
    (lambda tensors: tensors.update(other={"shape": [1], "dtype": "uint8", "packed": {}}), "lacks the tensor other"),
    (lambda tensors: tensors["features.1.0.weight"].pop("packed"), "has the shape"),
    (lambda tensors: tensors.update({"features.1.0.weight": 3}), "has the shape"),
]


@pytest.mark.parametrize(("lie", "reason"), LIES)
def test_a_sealed_lie_about_a_packed_tensor_is_refused(tmp_path, lie, reason):
    model = pruned()
    with torch.no_grad():
        model.head.weight.fill_(1.0)
    save(tmp_path, model)
    relabelled(tmp_path, lie)
    with pytest.raises(IntegrityError, match=reason):
        load_model(tmp_path, trusted=[])


def test_overlapping_tensors_are_refused(tmp_path):
    save(tmp_path, pruned())
    path = tmp_path / "weights.safetensors"
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    header["features.0.0.weight"]["data_offsets"] = [0, header["features.0.0.weight"]["shape"][0]]
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + size :])
    description = load_description_anyway(tmp_path)
    with pytest.raises(IntegrityError, match="cannot be read"):
        read_weights(tmp_path, description)


def load_description_anyway(folder):
    return json.loads((folder / "model.json").read_text())


def test_small_vectors_are_left_as_they_are(tmp_path):
    entries = write_weights(tmp_path, {"bias": torch.zeros(100), "weight": torch.zeros(10, 10)})
    assert "packed" not in entries["bias"]
    stored = load_file(tmp_path / "weights.safetensors")
    assert stored["bias"].shape == (100,)
    assert stored["weight"].nbytes == 2


def test_tensors_of_an_older_file_are_read(tmp_path):
    save_file({"weight": torch.ones(2, 2)}, tmp_path / "weights.safetensors")
    described = write_description(
        tmp_path,
        variant="dense",
        model_config={},
        signature=Signature.of_one([2]),
        parameters=4,
        sparsity=0.0,
        tensors={"weight": {"shape": [2, 2], "dtype": "float32", "nonzero": 4}},
        files=["weights.safetensors"],
        lineage={},
    )
    assert torch.equal(read_weights(tmp_path, described)["weight"], torch.ones(2, 2))
