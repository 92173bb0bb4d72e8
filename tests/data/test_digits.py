import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from overwinter.data import Digits, load_data
from overwinter.data import digits as digits_module
from overwinter.data.protocol import SPLITS
from overwinter.errors import ConfigError, IntegrityError

CONFIG = OmegaConf.to_container(OmegaConf.load(Path(__file__).parents[2] / "configs" / "data" / "digits.yaml"))


@pytest.fixture(scope="module")
def digits():
    return load_data(CONFIG, trusted=[]).source


def test_the_splits_share_no_image_and_leave_none_out(digits):
    members = [set(digits._members[name].tolist()) for name in SPLITS]
    assert sum(map(len, members)) == len(set.union(*members)) == 1797
    assert [len(digits.split(name)) for name in SPLITS] == [1168, 270, 359]


def test_the_splits_are_stratified(digits):
    for name in SPLITS:
        shares = torch.bincount(digits.split(name).targets, minlength=10) / len(digits.split(name))
        assert (shares - 0.1).abs().max() < 0.015


def test_training_images_have_zero_mean_and_unit_variance(digits):
    inputs = digits.split("train").inputs
    assert inputs.shape == (1168, 1, 8, 8)
    assert inputs.dtype == torch.float32
    assert float(inputs.mean()) == pytest.approx(0.0, abs=1e-5)
    assert float(inputs.std()) == pytest.approx(1.0, abs=1e-3)


def test_the_preprocessing_is_json_and_makes_the_input(digits):
    recorded = json.loads(json.dumps(digits.preprocessing))
    raw = torch.from_numpy(digits._images[digits._members["test"]])
    made = ((raw - recorded["mean"]) / recorded["std"]).float()
    assert torch.equal(made, digits.split("test").inputs)


def test_only_training_is_augmented(digits):
    assert [digits.split(name).transform is not None for name in SPLITS] == [True, False, False]


def test_the_same_seed_splits_alike_and_another_differently(digits):
    again = load_data(CONFIG, trusted=[]).source
    other = load_data(CONFIG | {"split_seed": 1}, trusted=[]).source
    assert torch.equal(again.split("test").inputs, digits.split("test").inputs)
    assert not torch.equal(other.split("test").inputs, digits.split("test").inputs)


def test_scikit_learn_is_not_imported():
    program = f"import sys; from overwinter.data import load_data; load_data({CONFIG}, trusted=[]);"
    program += "sys.exit('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_they_are_scikit_learns_digits(digits):
    from sklearn.datasets import load_digits

    theirs = load_digits()
    assert (digits._images[:, 0] == theirs.images).all()
    assert (digits._labels == theirs.target).all()


def test_another_table_is_refused(monkeypatch, tmp_path):
    path = tmp_path / "digits.csv.gz"
    path.write_bytes(gzip.compress(b"1,2,3\n"))
    monkeypatch.setattr(digits_module, "digits_file", lambda: path)
    with pytest.raises(IntegrityError, match=r"not the table that data\.sha256 names"):
        load_data(CONFIG, trusted=[])


def test_a_truncated_table_is_refused(monkeypatch, tmp_path):
    whole = digits_module.digits_file().read_bytes()
    path = tmp_path / "digits.csv.gz"
    path.write_bytes(whole[: len(whole) // 2])
    monkeypatch.setattr(digits_module, "digits_file", lambda: path)
    with pytest.raises(IntegrityError, match="cannot be read"):
        load_data(CONFIG, trusted=[])


@pytest.mark.parametrize(
    "change",
    [{"test_share": 0.0}, {"validation_share": 1.0}, {"test_share": 0.6, "validation_share": 0.4}],
)
def test_impossible_shares_are_refused(change):
    with pytest.raises(ConfigError, match=r"data\.(test|validation)_share="):
        Digits(**{key: value for key, value in (CONFIG | change).items() if key not in ("_target_", "share")})
