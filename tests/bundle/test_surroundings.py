"""A wrong preprocessing is found at hibernate and at every wake; older bundles have neither raw samples nor a task."""

import dataclasses
import hashlib

import numpy as np
import pytest

from overwinter import manifest
from overwinter.bundle import BundleFacts, Canary, read_bundle, wake, write_bundle
from overwinter.bundle.surroundings import difference, open_preprocessing
from overwinter.errors import ConfigError, IntegrityError
from overwinter.signature import Signature, TensorSpec

RAW = np.random.default_rng(3).integers(0, 17, (4, 8, 8), dtype=np.uint8)
INPUTS = ((RAW - 8.0) / 4.0).astype(np.float32)[:, None]


def facts_of(bundle):
    return BundleFacts(**{name: getattr(bundle, name) for name in BundleFacts.__dataclass_fields__})


def test_a_bundle_holds_raw_samples_and_wakes_through_its_preprocessing(hibernate):
    bundle = hibernate(canary_inputs=INPUTS, canary_raw=list(RAW))
    np.testing.assert_array_equal(read_bundle(bundle.folder).canary.raw, RAW)
    model = wake(bundle.folder)
    np.testing.assert_allclose(model.run(model.prepare(RAW)), bundle.canary.outputs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("preprocessing", "message"),
    [
        ({"mean": 7.0, "std": 4.0, "raw": {"shape": [8, 8]}}, "other values of input"),
        ({"mean": 8.0, "std": 4.0, "raw": {"shape": [4, 4]}}, "shape"),
        ({}, "other values of input|shape"),
    ],
)
def test_another_preprocessing_than_the_datas_is_not_put_to_sleep(hibernate, preprocessing, message):
    with pytest.raises(ConfigError, match=message):
        hibernate(canary_inputs=INPUTS, canary_raw=RAW, preprocessing=preprocessing)


@pytest.mark.parametrize(
    ("preprocessing", "message"),
    [
        ({"mean": 8.0, "std": 2.0, "raw": {"shape": [8, 8]}}, "not the one of its recorded samples: .*other values"),
        ({"mean": 8.0, "std": 4.0, "raw": {"shape": [8, 8], "range": [0, 3]}}, "raw values are between 0 and 3"),
        ({"kind": "sound"}, "cannot be served: preprocessing.kind='sound' is unknown"),
        ({"std": 0}, "cannot be served: preprocessing.std"),
    ],
)
def test_another_preprocessing_than_the_recorded_one_is_not_served(hibernate, payloads, preprocessing, message):
    bundle = hibernate(canary_inputs=INPUTS, canary_raw=RAW)
    facts = dataclasses.replace(facts_of(bundle), preprocessing=preprocessing)
    folder = bundle.folder.with_name("other")
    write_bundle(folder, payload=payloads["onnxruntime"], facts=facts, canary=bundle.canary)
    with pytest.raises(IntegrityError, match=message) as caught:
        wake(folder)
    assert caught.value.exit_code == 4


def test_a_wrong_model_is_not_called_a_wrong_preprocessing(hibernate, payloads):
    bundle = hibernate(canary_inputs=INPUTS, canary_raw=RAW)
    canary = dataclasses.replace(bundle.canary, outputs=bundle.canary.outputs + 1)
    folder = bundle.folder.with_name("other")
    write_bundle(folder, payload=payloads["onnxruntime"], facts=facts_of(bundle), canary=canary)
    with pytest.raises(IntegrityError, match="woke up with other outputs"):
        wake(folder)


def test_an_unknown_task_is_not_served(hibernate, payloads):
    bundle = hibernate()
    folder = bundle.folder.with_name("other")
    for task, message in (({"name": "divination"}, "divination"), ({"name": "classification", "depth": 3}, "depth")):
        facts = dataclasses.replace(facts_of(bundle), task=task)
        write_bundle(folder, payload=payloads["onnxruntime"], facts=facts, canary=bundle.canary)
        with pytest.raises(IntegrityError, match=message):
            wake(folder)
        folder = folder.with_name("another")


def older(folder, preprocessing=None, **changes):
    """Rewrite a bundle as an older Overwinter wrote it, with a valid seal."""
    from safetensors.numpy import load_file, save_file

    canary = load_file(folder / "canary.safetensors")
    save_file({"inputs": canary["inputs.input"], "outputs": canary["outputs"]}, folder / "canary.safetensors")
    content = manifest.read_sealed(folder / "bundle.json", remedy="")
    shape = content.pop("signature")["inputs"][0]["shape"][1:]
    del content["task"]
    name = "canary.safetensors"
    digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    content["files"][name] = {"sha256": digest, "size_bytes": (folder / name).stat().st_size}
    manifest.write_sealed(folder / "bundle.json", content | {"schema": 1, "input_shape": shape} | changes)


def test_a_bundle_of_an_older_overwinter_is_a_classifier_of_one_input(hibernate):
    folder = hibernate().folder
    older(folder)
    bundle = read_bundle(folder)
    assert bundle.task == {"name": "classification"}
    assert bundle.signature == Signature.of_one([1, 8, 8], output=[3])
    assert bundle.canary.raw is None
    assert wake(folder).predict(RAW)[0]["label"] in "abc"


@pytest.mark.parametrize("changes", [{"input_shape": ["8"]}, {"input_shape": [3]}, {"input_shape": None}, {"task": {}}])
def test_an_older_bundle_that_is_malformed_is_refused(hibernate, changes):
    folder = hibernate().folder
    older(folder, **changes)
    with pytest.raises(IntegrityError):
        read_bundle(folder)


SEVERAL = Signature(
    inputs=(
        TensorSpec(name="ids", dtype="int64", shape=(None, None)),
        TensorSpec(name="mask", dtype="bool", shape=(None, None)),
    ),
    outputs=(),
)


def several(folder, payload, **changes):
    inputs = {"ids": np.array([[1, 2], [3, 4]]), "mask": np.ones((2, 2), bool)}
    canary = {"inputs": inputs, "outputs": np.ones((2, 3), np.float32), "tolerance": 1e-3} | changes
    facts = {"variant": "dense", "runtime": "torch", "labels": (), "preprocessing": {}, "production_energy_j": None}
    facts |= {"lineage": {}, "signature": SEVERAL, "task": {"name": "regression"}}
    return write_bundle(folder, payload=payload, facts=BundleFacts(**facts), canary=Canary(**canary))


def test_several_inputs_are_kept_by_name_and_type(tmp_path, payload):
    bundle = several(tmp_path / "bundle", payload)
    assert {name: str(each.dtype) for name, each in bundle.canary.inputs.items()} == {"ids": "int64", "mask": "bool"}
    assert str(bundle.signature.outputs[0]) == "output: float32 [any, 3]"
    assert open_preprocessing(bundle, None) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inputs": {"ids": np.ones((2, 2), np.int64)}}, "are called ids; the model takes ids, mask"),
        ({"inputs": {"ids": np.ones((2, 2)), "mask": np.ones((2, 2), bool)}}, "ids: float64"),
        ({"inputs": {"ids": np.ones((2, 2), np.int64), "mask": np.ones((3, 2), bool)}}, "are 2, 3, 2"),
        ({"outputs": np.ones((3, 3), np.float32)}, "are 2, 2, 3"),
        ({"outputs": np.ones((2, 3))}, "output"),
        ({"raw": [b"one"]}, "are 2, 2, 2, 1"),
        ({"outputs": np.float32(1)}, "are 2, 2, 1"),
    ],
)
def test_a_canary_that_contradicts_the_signature_is_refused(tmp_path, payload, changes, message):
    with pytest.raises(IntegrityError, match=message):
        several(tmp_path / "bundle", payload, **changes)


@pytest.mark.parametrize(
    ("prepared", "expected", "what"),
    [
        (np.ones(3, np.float32), np.ones(3, np.float32), None),
        (np.float32([1, 1, 1.002]), np.ones(3, np.float32), None),
        (np.float32([1, 1, 1.1]), np.ones(3, np.float32), "other values"),
        (np.float32([1, 1, np.nan]), np.ones(3, np.float32), "other values"),
        (np.zeros(3, np.float32), np.zeros(3, np.float32), None),
        (np.float32([0, 0, 1]), np.zeros(3, np.float32), "other values"),
        (np.ones(3, np.float64), np.ones(3, np.float32), "float64"),
        ({"a": np.array([1, 2])}, {"a": np.array([1, 3])}, "other values of a"),
        ({"a": np.array([1, 2])}, {"b": np.array([1, 2])}, "makes a, and the model takes b"),
    ],
)
def test_prepared_samples_are_compared_with_the_recorded_ones(prepared, expected, what):
    found = difference(prepared, expected)
    assert found is None if what is None else what in found
