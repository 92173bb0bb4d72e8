"""The same store on a local S3 server (moto), and at an address that no driver knows."""

import os
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from fsspec.registry import _registry

from overwinter.bundle import read_bundle
from overwinter.bundle.store import open_store
from overwinter.errors import ConfigError, IntegrityError, OverwinterError

noise = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")  # botocore's and moto's


@pytest.fixture
def bucket(s3):
    s3.mkdir("models")
    return "s3://models/overwinter"


@noise
@pytest.mark.special
def test_a_store_in_s3(bucket, make, tmp_path, pins):
    store = open_store(bucket, pins=pins)
    assert store.names() == []
    assert store.catalog("digits").serial == 0
    for name in "ab":
        store.publish(make(name, os.urandom(1000)), "digits", alias="champion")
    store.fetch(store.resolve("digits", "previous")[1], tmp_path / "out")
    assert read_bundle(tmp_path / "out").lineage == {"name": "a"}
    assert store.rollback("digits").aliases == {"champion": 1, "previous": 2}
    store.set_alias("digits", "previous", "1")
    assert store.collect(keep=0) == (1, 0)
    forgotten, removed = store.collect(keep=0, grace_s=0.0)
    assert forgotten == 0
    assert removed > 0
    store.fetch(store.resolve("digits", "champion")[1], tmp_path / "again")
    bundles = [make(f"m{number}") for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        numbers = pool.map(lambda bundle: store.publish(bundle, "digits", alias="champion")[0], bundles)
        assert sorted(numbers) == [3, 4, 5, 6]
    with pytest.raises(IntegrityError, match="missing"):
        store._place.read("parts/none", 10)
    with pytest.raises(IntegrityError, match="larger than"):
        store._place.read(store._place.names("names")[0], 10)
    with pytest.raises(OverwinterError, match="cannot be reached"):
        open_store("s3://no-such-bucket/x", pins=pins).publish(bundles[0], "digits", alias="champion")


def test_an_address_that_no_driver_knows_is_refused():
    with pytest.raises(ConfigError, match="No driver for the store nothing://x"):
        open_store("nothing://x")


def test_a_missing_driver_of_a_store_says_what_to_install(monkeypatch):
    monkeypatch.delitem(_registry, "gs", raising=False)
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(ConfigError, match=r"No driver for the store gs://seasons/x: .*\nRun: pip install gcsfs$"):
        open_store("gs://seasons/x")
