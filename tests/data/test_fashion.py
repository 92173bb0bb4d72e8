import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from overwinter.data import FashionMnist, load_data
from overwinter.data.local_files import check_data_files
from overwinter.errors import ConfigError, IntegrityError

NAMES = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
CONFIG = {
    "_target_": "overwinter.data.FashionMnist",
    "split_seed": 0,
    "validation_samples": 20,
    "shift_pixels": 1,
    "flip": True,
}
DEBIAN = Path("/usr/share/datasets/fashion-mnist")


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write(folder: Path, *, zipped: bool = True, spelling: str = "{}-ubyte", labels: int = 100) -> None:
    generator = np.random.default_rng(0)
    for kind, count in (("train", 100), ("t10k", 30)):
        images = generator.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        marks = (np.arange(min(count, labels)) % 10).astype(np.uint8)
        for name, array in ((f"{kind}-images-idx3", images), (f"{kind}-labels-idx1", marks)):
            path = folder / (spelling.format(name) + (".gz" if zipped else ""))
            path.write_bytes(gzip.compress(idx(array)) if zipped else idx(array))


def load(folder):
    return load_data(CONFIG | {"root": str(folder)}, trusted=[]).source


@pytest.mark.parametrize("zipped", [True, False])
def test_the_splits_have_what_the_files_have(tmp_path, zipped):
    write(tmp_path, zipped=zipped)
    source = load(tmp_path)
    assert [len(source.split(name)) for name in ("train", "validation", "test")] == [80, 20, 30]
    assert source.split("test").inputs.shape == (30, 1, 28, 28)
    assert len(source.labels) == 10
    assert [source.split(name).transform is not None for name in ("train", "validation", "test")] == [
        True,
        False,
        False,
    ]


def test_training_and_validation_share_no_image(tmp_path):
    write(tmp_path)
    source = load(tmp_path)
    train, validation = (
        {each.numpy().tobytes() for each in source.split(name).inputs} for name in ("train", "validation")
    )
    assert len(train | validation) == 100


def test_the_dotted_spelling_is_found_too(tmp_path):
    write(tmp_path, zipped=False, spelling="{}-ubyte")
    for name in NAMES:
        (tmp_path / f"{name}-ubyte").rename(tmp_path / f"{name.replace('-idx', '.idx')}-ubyte")
    assert len(load(tmp_path).split("train")) == 80


def test_the_preprocessing_makes_the_input(tmp_path):
    write(tmp_path)
    source = load(tmp_path)
    recorded = source.preprocessing
    raw = (source.split("validation").inputs * recorded["std"] + recorded["mean"]).round()
    assert float(raw.min()) >= 0
    assert float(raw.max()) <= 255
    assert torch.allclose((raw - recorded["mean"]) / recorded["std"], source.split("validation").inputs, atol=1e-5)


def test_the_test_files_are_not_read_before_they_are_asked_for(tmp_path):
    write(tmp_path)
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(b"")
    source = load(tmp_path)
    assert len(source.split("train")) == 80
    with pytest.raises(IntegrityError):
        source.split("test")


def test_a_missing_folder_says_how_to_get_it(tmp_path):
    with pytest.raises(ConfigError, match=r"apt-get install dataset-fashion-mnist.*data\.root=FOLDER"):
        load(tmp_path / "none")


def test_counts_that_differ_are_refused(tmp_path):
    write(tmp_path, labels=99)
    with pytest.raises(IntegrityError, match=r"100 images, .* 99 labels"):
        load(tmp_path)


def test_labels_out_of_range_are_refused(tmp_path):
    write(tmp_path)
    path = tmp_path / "train-labels-idx1-ubyte.gz"
    path.write_bytes(gzip.compress(idx(np.full(100, 10, np.uint8))))
    with pytest.raises(IntegrityError, match="no labels from 0 to 9"):
        load(tmp_path)


@pytest.mark.parametrize("samples", [0, 100])
def test_an_impossible_validation_split_is_refused(tmp_path, samples):
    write(tmp_path)
    with pytest.raises(ConfigError, match=f"data.validation_samples={samples}"):
        FashionMnist(root=str(tmp_path), split_seed=0, validation_samples=samples)


def test_a_missing_file_is_found_before_energy_is_spent(tmp_path):
    write(tmp_path)
    check_data_files(CONFIG | {"root": str(tmp_path)})
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(ConfigError, match=r"t10k-labels-idx1-ubyte.* is missing"):
        check_data_files(CONFIG | {"root": str(tmp_path)})


@pytest.mark.special
@pytest.mark.skipif(not DEBIAN.is_dir(), reason="the Debian package dataset-fashion-mnist is not installed")
def test_debians_files_are_found_by_themselves():
    config = OmegaConf.to_container(OmegaConf.load(Path(__file__).parents[2] / "configs/data/fashion.yaml"))
    check_data_files(config)
    source = load_data(config, trusted=[]).source
    assert [len(source.split(name)) for name in ("validation", "test")] == [6000, 10_000]
    assert source.preprocessing["mean"] == pytest.approx(0.2860 * 255, abs=0.1)
    assert source.preprocessing["std"] == pytest.approx(0.3530 * 255, abs=0.1)
