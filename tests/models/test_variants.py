import pytest

from overwinter.errors import IntegrityError
from overwinter.models import ConvNet, find_variants, save_model, write_variants
from overwinter.signature import Signature

CONFIG = {"_target_": "overwinter.models.ConvNet", "input_shape": [1, 8, 8], "classes": 3, "channels": [4]}


def save(folder, variant, model=None):
    model = model or ConvNet(**{key: value for key, value in CONFIG.items() if key != "_target_"})
    save_model(
        folder,
        model,
        variant=variant,
        model_config=CONFIG,
        signature=Signature.of_one([1, 8, 8]),
        lineage={"of": folder.name},
    )
    return model


def test_one_model_is_a_variant_and_a_list_is_several_in_its_order(tmp_path):
    save(tmp_path / "train", "dense")
    for name in ("b", "a"):
        (tmp_path / "quantize" / name).mkdir(parents=True)
    write_variants(tmp_path / "quantize", ["b", "a"])
    found = find_variants({stage: tmp_path / stage for stage in ("train", "quantize")})
    assert list(found.items()) == [
        ("dense", tmp_path / "train"),
        ("b", tmp_path / "quantize/b"),
        ("a", tmp_path / "quantize/a"),
    ]


def test_no_variant_is_a_list_too(tmp_path):
    write_variants(tmp_path, [])
    assert find_variants({"quantize": tmp_path}) == {}


def test_a_stage_that_left_the_very_model_of_an_earlier_one_adds_none(tmp_path):
    save(tmp_path / "sparsify", "dense", save(tmp_path / "train", "dense"))
    assert find_variants({stage: tmp_path / stage for stage in ("train", "sparsify")}) == {"dense": tmp_path / "train"}


def test_two_models_of_one_name_are_refused(tmp_path):
    save(tmp_path / "train", "dense")
    save(tmp_path / "distill", "dense")
    with pytest.raises(IntegrityError, match=r"The stage distill wrote a variant 'dense' .* another name"):
        find_variants({stage: tmp_path / stage for stage in ("train", "distill")})


def test_a_missing_list_or_variant_is_refused_with_the_stage(tmp_path):
    with pytest.raises(IntegrityError, match=r"variants.json is missing. Run `dvc repro quantize`"):
        find_variants({"quantize": tmp_path})
    write_variants(tmp_path, ["a"])
    with pytest.raises(IntegrityError, match="the variant 'a'"):
        find_variants({"quantize": tmp_path})


def test_an_altered_list_is_refused(tmp_path):
    write_variants(tmp_path, ["a"])
    path = tmp_path / "variants.json"
    path.write_text(path.read_text().replace('"a"', '"b"'))
    with pytest.raises(IntegrityError, match="altered"):
        find_variants({"quantize": tmp_path})
