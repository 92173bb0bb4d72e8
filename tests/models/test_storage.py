import shutil
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from overwinter.errors import IntegrityError, OverwinterError
from overwinter.models import build_model, load_description, load_model, save_model, stored_bytes
from overwinter.signature import Signature


class Tied(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.embedding = nn.Embedding(7, width)
        self.head = nn.Linear(width, 7, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens):
        return self.head(self.embedding(tokens))


def test_a_saved_model_gives_the_same_answers(convnet, config, images, save, tmp_path):
    save(convnet, config)
    assert torch.equal(load_model(tmp_path / "model", trusted=[])(images), convnet(images))


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs Linux's list of mapped files")
def test_loaded_weights_are_the_files_own_pages_and_changing_them_leaves_the_file_alone(tmp_path):
    saved = save_model(
        tmp_path / "model",
        nn.Linear(8, 4),
        variant="dense",
        model_config={"_target_": "torch.nn.Linear", "in_features": 8, "out_features": 4},
        signature=Signature.of_one([8]),
        lineage={},
    )
    file = tmp_path / "model/weights.safetensors"
    before, loaded = file.read_bytes(), load_model(tmp_path / "model", trusted=[])
    assert str(file) in Path("/proc/self/maps").read_text()
    loaded.weight.data.fill_(3.0)
    assert file.read_bytes() == before
    assert load_description(tmp_path / "model") == saved


def test_equal_models_have_equal_bytes(convnet, config, tmp_path):
    for name in ("a", "b"):
        save_model(
            tmp_path / name,
            convnet,
            variant="dense",
            model_config=config,
            signature=Signature.of_one([1, 8, 8]),
            lineage={},
        )
    for file in ("model.json", "weights.safetensors"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_the_description_counts_what_was_saved(convnet, config, save, tmp_path):
    with torch.no_grad():
        convnet.head.weight[:2] = 0.0
    saved = save(convnet, config)
    prunable = [entry for entry in saved["tensors"].values() if len(entry["shape"]) > 1]
    total = sum(torch.Size(entry["shape"]).numel() for entry in prunable)
    assert saved["sparsity"] == pytest.approx(12 / total)
    packed = {"levels": 1, "size_bytes": 3 + 6 * 4}  # 18 bits, and the 6 that are not zero
    assert saved["tensors"]["head.weight"] == {"shape": [3, 6], "dtype": "float32", "nonzero": 6, "packed": packed}
    assert saved["parameters"] == sum(each.numel() for each in convnet.parameters())
    assert stored_bytes(saved) == (tmp_path / "model" / "weights.safetensors").stat().st_size
    assert load_description(tmp_path / "model") == saved


def test_a_tied_weight_is_stored_once_and_tied_again(tmp_path):
    config = {"_target_": f"{__name__}.Tied", "width": 4}
    saved = save_model(
        tmp_path, Tied(4), variant="dense", model_config=config, signature=Signature.of_one([1]), lineage={}
    )
    assert list(saved["tensors"]) == ["embedding.weight"]
    rebuilt = load_model(tmp_path, trusted=[__name__])
    assert rebuilt.head.weight is rebuilt.embedding.weight


class Views(nn.Module):
    """Tensors that share memory: as a whole, in part, transposed, and next to each other."""

    def __init__(self):
        super().__init__()
        room = torch.arange(24.0)
        self.register_buffer("all", room)
        self.register_buffer("part", room[4:8])
        self.register_buffer("turned", room[:6].view(2, 3).T)
        self.register_buffer("none", room[:0])
        neighbours = torch.arange(8.0)
        self.register_buffer("left", neighbours[:4])
        self.register_buffer("right", neighbours[4:])


def test_tensors_that_view_the_same_memory_are_stored_apart(tmp_path):
    config = {"_target_": f"{__name__}.Views"}
    save_model(tmp_path, Views(), variant="dense", model_config=config, signature=Signature.of_one([1]), lineage={})
    loaded, wanted = load_model(tmp_path, trusted=[__name__]).state_dict(), Views().state_dict()
    assert {name: tensor.tolist() for name, tensor in loaded.items()} == {
        name: tensor.tolist() for name, tensor in wanted.items()
    }


def test_a_loaded_model_is_saved_over_the_file_that_it_is_pages_of(convnet, config, save, tmp_path):
    saved = save(convnet, config)
    loaded = load_model(tmp_path / "model", trusted=[])
    assert save(loaded, config) == saved
    assert torch.equal(loaded.head.weight, convnet.head.weight)


def test_a_nan_is_not_saved(convnet, config, save, tmp_path):
    with torch.no_grad():
        convnet.head.bias[0] = float("nan")
    with pytest.raises(OverwinterError, match=r"head\.bias holds NaN"):
        save(convnet, config)
    assert not (tmp_path / "model" / "model.json").exists()


def test_code_that_changed_since_is_refused(convnet, config, save, tmp_path):
    save(convnet, config | {"channels": [4, 6, 8]})
    with pytest.raises(IntegrityError, match=r"missing tensors .*features\.3\.0\.weight"):
        load_model(tmp_path / "model", trusted=[])


def test_a_variant_that_is_no_torch_module_is_refused(tmp_path):
    from overwinter.models import write_description

    (tmp_path / "model.onnx").write_bytes(b"graph")
    write_description(
        tmp_path,
        variant="int8_static",
        model_config={},
        signature=Signature.of_one([1]),
        parameters=1,
        sparsity=0.0,
        tensors={},
        files=["model.onnx"],
        lineage={},
    )
    with pytest.raises(IntegrityError, match="'int8_static', which is not a torch module"):
        load_model(tmp_path, trusted=[])


@pytest.fixture(scope="module")
def saved_folder(tmp_path_factory):
    config = {
        "_target_": "overwinter.models.ConvNet",
        "input_shape": [1, 2, 2],
        "classes": 2,
        "channels": [2],
    }
    folder = tmp_path_factory.mktemp("saved") / "model"
    model = build_model(config, trusted=[])
    save_model(folder, model, variant="dense", model_config=config, signature=Signature.of_one([1, 2, 2]), lineage={})
    return folder


def damaged(folder: Path, name: str, damage) -> None:
    """Check that a damaged copy of a saved model is refused."""
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(shutil.copytree(folder, Path(scratch) / "model"))
        content = (copy / name).read_bytes()
        (copy / name).write_bytes(damage(content))
        with pytest.raises(IntegrityError):
            load_model(copy, trusted=[])


FILES = st.sampled_from(["model.json", "weights.safetensors"])


@given(name=FILES, position=st.integers(0, 100_000), mask=st.integers(1, 255))
def test_any_flipped_byte_is_found(saved_folder, name, position, mask):
    def flip(content: bytes) -> bytes:
        place = position % len(content)
        return content[:place] + bytes([content[place] ^ mask]) + content[place + 1 :]

    damaged(saved_folder, name, flip)


@given(name=FILES, kept=st.integers(0, 100_000))
def test_any_truncation_is_found(saved_folder, name, kept):
    damaged(saved_folder, name, lambda content: content[: kept % len(content)])


@pytest.mark.parametrize("name", ["model.json", "weights.safetensors"])
def test_a_missing_file_is_found(saved_folder, tmp_path, name):
    copy = Path(shutil.copytree(saved_folder, tmp_path / "model"))
    (copy / name).unlink()
    with pytest.raises(IntegrityError, match=name):
        load_model(copy, trusted=[])
