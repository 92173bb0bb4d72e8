"""At least 100,000 altered bundles: all refused, none crashes the reader, and the memory stays bounded.

    python benchmarks/bundle_mutations.py [--count 100000] [--seed 0]

A small signed bundle is altered as storage and enemies do: as a folder, as one encrypted file, and as a store that was
pinned. Each alteration is read by the very function that wakes a model, in this process; anything but an
`IntegrityError` fails the benchmark.
"""

from __future__ import annotations

import argparse
import collections
import itertools
import os
import random
import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from common import write_result
from overwinter import manifest
from overwinter.bundle import BundleFacts, Canary, Keys, read_bundle, sign_bundle, write_bundle
from overwinter.bundle import contents as bundle_contents
from overwinter.bundle.sealed import WrappingKey, create_signing_key, load_signing_key, rewrap, seal
from overwinter.bundle.store import Pins, open_store
from overwinter.errors import IntegrityError
from overwinter.signature import Signature

CHUNK_BYTES = 16384
MODEL_BYTES = 150_000  # more than two of the pieces that its digests are of
Alteration = tuple[str, Callable[[], object]]


def main() -> None:
    """Alter, count, and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    memory = Path("/dev/shm")  # noqa: S108 -- the disk is not what is measured
    bundle_contents.PIECE_BYTES = 1 << 16  # so that a small bundle has several
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        scene = Scene(Path(folder), random.Random(arguments.seed))  # noqa: S311 -- no secret
        before_mb, begin_s = peak_mb(), time.perf_counter()
        refused: collections.Counter[str] = collections.Counter()
        accepted: collections.Counter[str] = collections.Counter()
        for kind, read in itertools.islice(scene.alterations(), arguments.count):
            try:
                read()
                accepted[kind] += 1
            except IntegrityError:
                refused[kind] += 1
        duration_s = time.perf_counter() - begin_s
    content = {
        "count": arguments.count,
        "seed": arguments.seed,
        "refused": dict(sorted(refused.items())),
        "accepted": dict(sorted(accepted.items())),
        "duration_s": duration_s,
        "peak_memory_before_mb": before_mb,
        "peak_memory_after_mb": peak_mb(),
        "met": arguments.count >= 100_000 and not accepted,
    }
    for kind in sorted(refused | accepted):
        print(f"{kind:36} refused {refused[kind]:7}   accepted {accepted[kind]}")
    print(f"{arguments.count} in {duration_s:.0f} s; peak memory {before_mb:.0f} -> {peak_mb():.0f} MB")
    print(f"wrote results/{write_result('bundle_mutations', content).name}")


def peak_mb() -> float:
    """Return the largest memory that this process ever had resident."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


class Scene:
    """A bundle in its three formats, another one of the same maker, and ways to damage them."""

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self._folder, self._rng = folder, rng
        create_signing_key(folder / "key", folder / "key.pub")
        secret = folder / "secret"
        secret.write_text(os.urandom(32).hex())
        secret.chmod(0o600)
        self._keys = Keys(trusted=(folder / "key.pub",), opening=(f"file:{secret}",))
        self._lock = self._keys.wrapping_keys()[0]
        self._plain, self._old = self._bundle("new"), self._bundle("old")
        self._sealed = self._seal(self._plain, "new.sealed", self._lock)
        self._other = self._seal(self._old, "old.sealed", self._lock)
        self._store()

    def _bundle(self, name: str) -> Path:
        payload = self._folder / f"{name}.payload"
        payload.mkdir()
        (payload / "model.onnx").write_bytes(name.encode() * (MODEL_BYTES // len(name)))
        (payload / "table.json").write_text("{}")
        facts = BundleFacts(
            variant="dense",
            runtime="onnxruntime",
            signature=Signature.of_one((2,)),
            labels=("no", "yes"),
            preprocessing={},
            production_energy_j=1.0,
            lineage={"name": name},
        )
        canary = Canary(inputs=np.zeros((1, 2), np.float32), outputs=np.ones((1, 2), np.float32), tolerance=1e-3)
        folder = write_bundle(self._folder / name, payload=payload, facts=facts, canary=canary).folder
        sign_bundle(folder, load_signing_key(f"file:{self._folder / 'key'}"))
        return folder

    def _seal(self, bundle: Path, name: str, lock: WrappingKey) -> bytes:
        out = self._folder / name
        seal(contents(bundle), out, [lock], chunk_bytes=CHUNK_BYTES)
        return out.read_bytes()

    def _store(self) -> None:
        """Publish the old one, then the new one, and pin: what an enemy can bring back is the state in between."""
        key = load_signing_key(f"file:{self._folder / 'key'}")
        pins = Pins(self._folder / "pins.json")
        self._shop = open_store(
            str(self._folder / "store"), keys=Keys(trusted=self._keys.trusted), sign_key=key, pins=pins
        )
        for bundle in (self._old, self._plain):
            self._shop.publish(bundle, "model", alias="champion")
        self._shop.pin("model")
        self._catalogs = sorted((self._folder / "store" / "names" / "model").iterdir())

    def alterations(self) -> Iterator[Alteration]:
        """Yield, repeatedly, one kind of damage and the reading that must refuse it."""
        kinds = [
            (self._folder_bit, 30),
            (self._folder_length, 10),
            (self._folder_names, 10),
            (self._folder_document, 10),
            (self._sealed_bit, 40),
            (self._sealed_length, 10),
            (self._sealed_chunks, 20),
            (self._sealed_header, 10),
            (self._sealed_replay, 1),
            (self._store_catalog, 10),
        ]
        makers, weights = zip(*kinds, strict=True)
        while True:
            yield self._rng.choices(makers, weights)[0]()

    # A folder.

    def _read_with(self, path: Path, content: bytes) -> None:
        whole = path.read_bytes()
        try:
            path.write_bytes(content)
            read_bundle(self._plain, keys=self._keys, threads=1)
        finally:
            path.write_bytes(whole)

    def _any_file(self) -> Path:
        return self._rng.choice(list(contents(self._plain).values()))

    def _folder_bit(self) -> Alteration:
        path = self._any_file()
        content = bytearray(path.read_bytes())
        content[self._rng.randrange(len(content))] ^= 1 << self._rng.randrange(8)
        return "folder: a bit", lambda: self._read_with(path, bytes(content))

    def _folder_length(self) -> Alteration:
        path = self._any_file()
        content = path.read_bytes()
        longer = content + self._rng.randbytes(self._rng.randrange(1, 9))
        altered = self._rng.choice([content[: self._rng.randrange(len(content))], longer])
        return "folder: cut short or extended", lambda: self._read_with(path, altered)

    def _folder_names(self) -> Alteration:
        path = self._any_file()
        strange = path.with_name(f"x{self._rng.randrange(10**6)}")

        def renamed() -> None:
            path.rename(strange)
            try:
                read_bundle(self._plain, keys=self._keys, threads=1)
            finally:
                strange.rename(path)

        def added() -> None:
            strange.symlink_to(path) if self._rng.random() < 0.5 else strange.write_bytes(b"")
            try:
                read_bundle(self._plain, keys=self._keys, threads=1)
            finally:
                strange.unlink()

        return self._rng.choice([("folder: a file renamed", renamed), ("folder: a file or a link added", added)])

    def _folder_document(self) -> Alteration:
        """A liar's bundle.json with a seal that fits: traversal, giants, the old one."""
        whole = manifest.read_sealed(self._plain / "bundle.json", remedy="")
        name = self._rng.choice(["../../etc/passwd", "/etc/passwd", "payload/../../x", "\ud800", "a\0b"])
        entry = {"sha256": "0" * 64, "size_bytes": self._rng.choice([0, -1, 1 << 70, 10])}
        texts = {
            "folder: a path that leads out": self._document(whole, {name: entry}),
            "folder: a false list of pieces": self._document(whole, {"payload/model.onnx": self._pieces(whole)}),
            "folder: a giant document": b"[" * self._rng.randrange(10_000, 300_000),
            "folder: an old bundle.json": (self._old / "bundle.json").read_bytes(),
        }
        kind = self._rng.choice(list(texts))
        return kind, lambda: self._read_with(self._plain / "bundle.json", texts[kind])

    def _document(self, whole: dict[str, Any], listed: dict[str, Any]) -> bytes:
        staging = self._folder / "document"
        manifest.write_sealed(staging, whole | {"files": whole["files"] | listed})
        return staging.read_bytes()

    def _pieces(self, whole: dict[str, Any]) -> dict[str, Any]:
        entry = whole["files"]["payload/model.onnx"]
        digests, size = entry["pieces_sha256"], entry["piece_bytes"]
        lies = [
            {"pieces_sha256": digests[::-1]},
            {"pieces_sha256": digests[:-1]},
            {"pieces_sha256": digests * 1000},
            {"pieces_sha256": [], "piece_bytes": 1 << 62},
            {"piece_bytes": self._rng.choice([0, -size, 1, size - 1, 2 * size, 1 << 62])},
            {"sha256": digests[0]},
        ]
        return entry | self._rng.choice(lies)

    # An encrypted file.

    def _read_sealed(self, content: bytes) -> None:
        path = self._folder / "altered.sealed"
        path.write_bytes(content)
        read_bundle(path, keys=self._keys)

    def _begins(self) -> int:
        return 12 + int.from_bytes(self._sealed[8:12], "big")

    def _sealed_bit(self) -> Alteration:
        content = bytearray(self._sealed)
        place = self._rng.randrange(self._rng.choice([len(content), self._begins(), 12]))
        content[place] ^= 1 << self._rng.randrange(8)
        return "sealed: a bit", lambda: self._read_sealed(bytes(content))

    def _sealed_length(self) -> Alteration:
        cut = self._sealed[: self._rng.randrange(len(self._sealed))]
        content = self._rng.choice([cut, self._sealed + bytes(self._rng.choice([1, CHUNK_BYTES + 16]))])
        return "sealed: cut short or extended", lambda: self._read_sealed(content)

    def _sealed_chunks(self) -> Alteration:
        size, begins, content = CHUNK_BYTES + 16, self._begins(), bytearray(self._sealed)
        count = (len(content) - begins) // size
        one, two = self._rng.sample(range(count), 2)
        here, there = (slice(begins + number * size, begins + (number + 1) * size) for number in (one, two))
        if self._rng.random() < 0.5:
            content[here], content[there] = content[there], content[here]
            return "sealed: chunks swapped", lambda: self._read_sealed(bytes(content))
        content[here] = self._other[here]
        return "sealed: a chunk of another file", lambda: self._read_sealed(bytes(content))

    def _sealed_header(self) -> Alteration:
        claim = self._rng.choice([0, 1, 1 << 16, (1 << 16) + 1, (1 << 32) - 1])
        header = b'{"chunk_bytes": 16777216, "chunks": %d}' % self._rng.randrange(1 << 40)
        content = b"OWSEAL1\n" + claim.to_bytes(4, "big") + self._rng.choice([header, b"[" * 70_000, self._sealed])
        return "sealed: a giant or false header", lambda: self._read_sealed(content)

    def _sealed_replay(self) -> Alteration:
        """A bundle encrypted for a key that is not ours, or unsigned and encrypted for ours."""
        path = self._folder / "replayed.sealed"
        if self._rng.random() < 0.5:
            path.write_bytes(self._sealed)
            rewrap(path, [self._lock], [WrappingKey.of(self._rng.randbytes(32))])
            return "sealed: for another key", lambda: self._read_sealed(path.read_bytes())
        unsigned = {name: at for name, at in contents(self._plain).items() if name != "signature.json"}
        seal(unsigned, path, [self._lock], chunk_bytes=CHUNK_BYTES)
        return "sealed: signature taken out", lambda: self._read_sealed(path.read_bytes())

    # A store.

    def _store_catalog(self) -> Alteration:
        first, newest = self._catalogs
        kind = self._rng.choice(["store: a bit of the catalog", "store: an old version replayed", "store: rolled back"])
        content = bytearray(newest.read_bytes())
        content[self._rng.randrange(len(content))] ^= 1 << self._rng.randrange(8)

        def read() -> None:
            whole = newest.read_bytes()
            try:
                if kind == "store: a bit of the catalog":
                    newest.write_bytes(content)
                elif kind == "store: an old version replayed":
                    shutil.copyfile(first, newest)
                else:
                    newest.unlink()
                self._shop.catalog("model")
            finally:
                newest.write_bytes(whole)

        return kind, read


def contents(folder: Path) -> dict[str, Path]:
    """Return the files of a folder by name."""
    return {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}


if __name__ == "__main__":
    main()
