import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from overwinter.bundle import Keys, read_bundle, resolve_bundle, seal_bundle
from overwinter.bundle.store import open_store
from overwinter.bundle.store import store as store_module
from overwinter.bundle.store import transfer as transfer_module
from overwinter.errors import ConfigError, IntegrityError


def fetched(store, tmp_path, which="champion"):
    target = tmp_path / f"fetched-{which}"
    shutil.rmtree(target, ignore_errors=True)
    store.fetch(store.resolve("digits", which)[1], target)
    return read_bundle(target)


def test_what_was_published_comes_back(store, make, tmp_path):
    number, version = store.publish(make("a"), "digits", alias="champion")
    bundle = fetched(store, tmp_path)
    assert (number, version.digest) == (1, bundle.digest)
    assert bundle.lineage == {"name": "a"}
    assert {path.stat().st_mode & 0o777 for path in tmp_path.glob("store/**/*") if path.is_file()} == {0o600}
    assert {path.stat().st_mode & 0o777 for path in bundle.source.rglob("*") if path.is_file()} == {0o600}
    assert store.names() == ["digits"]


def test_every_version_has_its_names(store, make):
    digests = [store.publish(make(name), "digits", alias="champion")[1].digest for name in "abc"]
    assert store.catalog("digits").aliases == {"champion": 3, "previous": 2}
    assert store.resolve("digits", f"sha256:{digests[0]}")[0] == store.resolve("digits", "1")[0] == 1
    store.set_alias("digits", "canary", "1")
    assert store.resolve("digits", "canary")[1].digest == digests[0]
    with pytest.raises(ConfigError, match=r"no 'champoin'.*Did you mean 'champion'"):
        store.resolve("digits", "champoin")


def test_what_is_published_again_is_the_version_that_it_was(store, make):
    first, second = make("a"), make("b")
    store.publish(first, "digits", alias="champion")
    published = store.publish(second, "digits", alias="champion")
    assert store.publish(second, "digits", alias="champion") == published
    assert store.catalog("digits").aliases == {"champion": 2, "previous": 1}  # there is something to go back to
    assert store.publish(first, "digits", alias="canary")[0] == 1
    assert sorted(store.catalog("digits").versions) == [1, 2]


def test_rolling_back_twice_is_where_one_was(store, make):
    with pytest.raises(ConfigError, match="no previous champion"):
        store.rollback("digits")
    for name in "ab":
        store.publish(make(name), "digits", alias="champion")
    assert store.rollback("digits").aliases == {"champion": 1, "previous": 2}
    assert store.rollback("digits").aliases == {"champion": 2, "previous": 1}


def test_publishers_side_by_side_lose_nothing(store, make):
    bundles = [make(f"m{number}", bytes([number]) * 100) for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(lambda bundle: store.publish(bundle, "digits", alias="champion")[0], bundles))
    catalog = store.catalog("digits")
    assert sorted(numbers) == sorted(catalog.versions) == list(range(1, 9))
    assert len({version.digest for version in catalog.versions.values()}) == 8
    assert catalog.serial == 8


def test_a_transfer_that_was_cut_off_goes_on(store, make, tmp_path, monkeypatch):
    monkeypatch.setattr(transfer_module, "PART_BYTES", 100)
    bundle = make("a", bytes(range(250)) * 4)
    moved = []

    def count(method, die_after):
        def counting(name, *rest):
            if len(moved) == die_after:
                raise KeyboardInterrupt
            moved.append(name)
            return method(name, *rest)

        return counting

    with monkeypatch.context() as cut:
        cut.setattr(store._place, "write", count(store._place.write, 5))
        with pytest.raises(KeyboardInterrupt):
            store.publish(bundle, "digits", alias="champion")
    assert store.catalog("digits").serial == 0  # no partial publication is visible
    first, moved = moved[:], []
    with monkeypatch.context() as going_on:
        going_on.setattr(store._place, "write", count(store._place.write, None))
        _, version = store.publish(bundle, "digits", alias="champion")
    assert len(first) == 5
    assert moved
    assert not set(first) & set(moved)

    moved = []
    with monkeypatch.context() as cut:
        cut.setattr(store._place, "read", count(store._place.read, 7))
        with pytest.raises(KeyboardInterrupt):
            store.fetch(version, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    first, moved = moved[1:], []  # the manifest is read again
    monkeypatch.setattr(store._place, "read", count(store._place.read, None))
    store.fetch(version, tmp_path / "out")
    assert not set(first) & set(moved)
    assert read_bundle(tmp_path / "out").digest == version.digest


def test_only_the_version_that_is_asked_for_counts_as_there(store, make, tmp_path):
    _, first = store.publish(make("a"), "digits", alias="champion")
    _, second = store.publish(make("b", b"another"), "digits", alias="champion")
    store.fetch(first, tmp_path / "out")
    store.fetch(first, tmp_path / "out")
    with pytest.raises(ConfigError, match="is not this version"):
        store.fetch(second, tmp_path / "out")
    assert read_bundle(tmp_path / "out").digest == first.digest
    (tmp_path / "out" / "more").touch()
    with pytest.raises(ConfigError, match="is not this version"):
        store.fetch(first, tmp_path / "out")
    (tmp_path / "out" / "more").unlink()
    (tmp_path / "out" / "payload" / "model.onnx").write_bytes(b"mOdel")
    with pytest.raises(ConfigError, match="is not this version"):
        store.fetch(first, tmp_path / "out")


def test_what_another_version_has_left_is_no_part_of_this_one(store, make, tmp_path):
    _, version = store.publish(make("a"), "digits", alias="champion")
    (tmp_path / "out.partial" / "extras").mkdir(parents=True)
    (tmp_path / "out.partial" / "extras" / "tokenizer.json").touch()
    store.fetch(version, tmp_path / "out")
    assert read_bundle(tmp_path / "out").digest == version.digest
    assert not (tmp_path / "out" / "extras").exists()


def test_a_catalog_that_lies_about_a_bundle_is_refused(store, make, tmp_path):
    _, version = store.publish(make("a"), "digits", alias="champion")
    with pytest.raises(IntegrityError, match="its catalog says 000000000000"):
        store.fetch(replace(version, digest="0" * 64), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("key", ["manifest", "digest"])
@pytest.mark.parametrize("given", ["../../../precious", "/precious", "A" * 64, "٣" * 64, 5])
def test_a_catalog_with_names_for_digests_is_refused_and_nothing_touched(key, given, store, make, tmp_path):
    (tmp_path / "precious").mkdir()
    store.publish(make("a"), "digits", alias="champion")
    (tmp_path / "cache" / "overwinter" / "bundles").mkdir(parents=True)
    path = tmp_path / "store" / "names" / "digits" / "0000000001.json"
    content = json.loads(path.read_text())
    content["versions"]["1"][key] = given
    path.write_text(json.dumps(content))
    with pytest.raises(IntegrityError, match="a digest is not a SHA-256"):
        resolve_bundle(f"{store.address}#digits")
    assert (tmp_path / "precious").is_dir()


@pytest.mark.parametrize("place", [".", "..", "/"])
def test_a_place_without_a_name_is_refused(place, store, make):
    _, version = store.publish(make("a"), "digits", alias="champion")
    with pytest.raises(ConfigError, match="is not a valid name for a bundle"):
        store.fetch(version, Path(place))


def test_nothing_is_collected_where_no_store_is(store, make, tmp_path):
    with pytest.raises(ConfigError, match="nothing was ever published there"):
        store.collect(keep=0)
    store.publish(make("a"), "digits", alias="champion")
    with pytest.raises(ConfigError, match="--keep -1"):
        store.collect(keep=-1)


def test_fetches_side_by_side_leave_the_bundle_and_nothing_else(store, make, tmp_path):
    _, version = store.publish(make("a"), "digits", alias="champion")
    for round_ in range(10):
        target = tmp_path / "here" / f"out-{round_}"
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _, target=target: store.fetch(version, target), range(8)))
        assert read_bundle(target).digest == version.digest
    assert len(list((tmp_path / "here").iterdir())) == 10  # no locks, nothing partial


def test_the_collector_takes_no_version_that_is_named(store, make, tmp_path):
    for name in "abcd":
        store.publish(make(name, name.encode() * 50), "digits", alias="champion")
    store.set_alias("digits", "kept", "1")
    assert store.collect(keep=0, grace_s=0.0) == (
        1,
        3,
    )  # the manifest, bundle.json and model.onnx of version 2; the canary is shared
    assert sorted(store.catalog("digits").versions) == [1, 3, 4]
    for which in ("kept", "previous", "champion"):
        fetched(store, tmp_path, which)
    assert store.publish(make("e"), "digits", alias="champion")[0] == 5


def test_the_collector_leaves_young_parts_alone(store, make):
    for name in "ab":
        store.publish(make(name, name.encode() * 50), "digits", alias="trial")
    assert store.collect(keep=0) == (1, 0)
    assert store.collect(keep=0, grace_s=0.0)[1] > 0


def test_a_collector_beside_publishers_takes_nothing_they_need(store, make, tmp_path):
    bundles = [make(f"m{number}", bytes([number]) * 100) for number in range(12)]
    with ThreadPoolExecutor(3) as pool:
        publishing = [pool.submit(store.publish, bundle, "digits", alias=f"a{i}") for i, bundle in enumerate(bundles)]
        collecting = [pool.submit(store.collect, keep=0) for _ in range(6)]
        for done in [*publishing, *collecting]:
            done.result()
    for number in range(12):
        fetched(store, tmp_path, f"a{number}")


def test_a_damaged_catalog_stops_the_collector(store, make, tmp_path):
    store.publish(make("a"), "digits", alias="champion")
    catalog = next((tmp_path / "store" / "names").rglob("*.json"))
    catalog.write_text("{}")
    before = sorted((tmp_path / "store" / "parts").rglob("*"))
    with pytest.raises(IntegrityError):
        store.collect(keep=0, grace_s=0.0)
    assert sorted((tmp_path / "store" / "parts").rglob("*")) == before


def test_an_altered_part_is_refused(store, make, tmp_path):
    _, version = store.publish(make("a"), "digits", alias="champion")
    for part in list((tmp_path / "store" / "parts").glob("*/*")):
        content = part.read_bytes()
        for altered in (b"x" + content[1:], content[:-1], content + b"x" * 9_000_000):
            part.write_bytes(altered)
            with pytest.raises(IntegrityError):
                store.fetch(version, tmp_path / f"{part.name}-{len(altered)}" / "out")
        part.write_bytes(content)
    store.fetch(version, tmp_path / "out")


def test_a_manifest_that_leads_out_is_refused(store, tmp_path):
    (tmp_path / "x").write_text("x")
    for name in ("../up", "/root/up", "a/../../up"):
        manifest = transfer_module.send(store._place, {name: tmp_path / "x"}, sealed=False)
        with pytest.raises(IntegrityError, match="is not valid"):
            transfer_module.receive(store._place, manifest, tmp_path / "in" / "out", digest="0" * 64)
    assert not (tmp_path / "in" / "up").exists()


def test_a_pinned_store_cannot_go_back(store, make, tmp_path):
    store.publish(make("a"), "digits", alias="champion")
    assert store.pin("digits") == 1
    store.publish(make("b"), "digits", alias="champion")
    assert store.resolve("digits", "champion")[0] == 2  # seen: the pin moves on
    (tmp_path / "store" / "names" / "digits" / "0000000002.json").unlink()  # an enemy's replay
    with pytest.raises(IntegrityError, match="went back to its change 1, but change 2"):
        store.resolve("digits", "champion")
    shutil.rmtree(tmp_path / "store" / "names")
    with pytest.raises(IntegrityError, match="went back to its change 0"):
        store.catalog("digits")


def test_an_older_catalog_under_a_newer_name_is_refused(store, make, tmp_path):
    store.publish(make("a"), "digits", alias="champion")
    folder = tmp_path / "store" / "names" / "digits"
    shutil.copy(folder / "0000000001.json", folder / "0000000002.json")
    with pytest.raises(IntegrityError, match="another state"):
        store.catalog("digits")


def test_a_signed_store_takes_no_unsigned_change(make, tmp_path, pins, key_pair):
    key, public = key_pair
    address = str(tmp_path / "store")
    signed = open_store(address, keys=Keys(trusted=(public,)), sign_key=key, pins=pins)
    signed.publish(make("a"), "digits", alias="champion")
    assert signed.resolve("digits", "champion")[0] == 1
    with pytest.raises(ConfigError, match="is signed: name the key"):
        open_store(address, pins=pins).set_alias("digits", "x", "1")
    newest = tmp_path / "store" / "names" / "digits" / "0000000001.json"
    newest.write_text(newest.read_text().replace("champion", "champiom"))
    for strange in (newest.read_bytes()[:-40], b'{"schema": 1}', b"[" * 100_000):
        newest.write_bytes(strange)
        with pytest.raises(IntegrityError):
            signed.catalog("digits")


def test_an_unsigned_catalog_is_refused_where_a_key_is_trusted(store, make, tmp_path, pins, key_pair):
    store.publish(make("a"), "digits", alias="champion")
    with pytest.raises(IntegrityError, match=r"is not signed.*--sign-key"):
        open_store(store.address, keys=Keys(trusted=(key_pair[1],)), pins=pins).catalog("digits")


def test_a_bundle_is_obtained_by_its_address(store, make, tmp_path):
    store.publish(make("a"), "digits", alias="champion")
    address = f"{store.address}#digits"
    bundle = resolve_bundle(address)
    assert bundle.lineage == {"name": "a"}
    (bundle.source / "payload" / "model.onnx").write_bytes(b"damaged here")
    assert resolve_bundle(address + "@1").lineage == {"name": "a"}  # fetched again
    with pytest.raises(ConfigError, match="no '7'"):
        resolve_bundle(address + "@7")
    with pytest.raises(IntegrityError, match="There is no bundle at"):
        resolve_bundle(tmp_path / "none")


def test_a_sealed_bundle_is_published_and_obtained(store, make, tmp_path):
    from overwinter.bundle import seal_bundle
    from overwinter.bundle.sealed import load_wrapping_key

    (tmp_path / "secret").write_text("ab" * 32)
    (tmp_path / "secret").chmod(0o600)
    source = f"file:{tmp_path / 'secret'}"
    seal_bundle(make("a"), tmp_path / "a.sealed", [load_wrapping_key(source)])
    store.publish(tmp_path / "a.sealed", "digits", alias="champion", keys=Keys(opening=(source,)))
    assert not any(b"model.onnx" in part.read_bytes() for part in (tmp_path / "store").glob("**/*") if part.is_file())
    assert resolve_bundle(f"{store.address}#digits", keys=Keys(opening=(source,))).lineage == {"name": "a"}
    with pytest.raises(IntegrityError, match="encrypted for other keys"):
        resolve_bundle(f"{store.address}#digits")


@pytest.mark.parametrize("name", ["", "../x", "A", "a/b", "x" * 65])
def test_wrong_names_are_refused(store, make, name):
    with pytest.raises(ConfigError, match="must be 1 to 64"):
        store.catalog(name)


def test_what_is_damaged_is_not_published(store, make):
    bundle = make("a")
    (bundle / "payload" / "model.onnx").write_bytes(b"other")
    with pytest.raises(IntegrityError):
        store.publish(bundle, "digits", alias="champion")
    assert store.names() == []


@pytest.mark.parametrize("variant", ["folder", "sealed"])
def test_what_was_verified_is_published(store, make, tmp_path, variant, monkeypatch):
    bundle, keys = make("a"), Keys()
    if variant == "sealed":
        (tmp_path / "secret").write_text("ab" * 32)
        (tmp_path / "secret").chmod(0o600)
        keys = Keys(opening=(f"file:{tmp_path / 'secret'}",))
        seal_bundle(bundle, tmp_path / "bundle.sealed", keys.wrapping_keys())
        bundle = tmp_path / "bundle.sealed"
    altered = bundle / "payload" / "model.onnx" if variant == "folder" else bundle
    before = altered.read_bytes()
    real = store_module.send

    def send(*arguments, **settings):
        altered.write_bytes(before[::-1])
        return real(*arguments, **settings)

    monkeypatch.setattr(store_module, "send", send)
    _, version = store.publish(bundle, "digits", alias="champion", keys=keys)
    store.fetch(version, tmp_path / "fetched")
    assert read_bundle(tmp_path / "fetched", keys=keys).lineage == {"name": "a"}
