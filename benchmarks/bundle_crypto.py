"""Speed of reading and verifying an encrypted bundle, compared with `openssl speed` for the cipher alone.

    python benchmarks/bundle_crypto.py [--mb 512] [--rounds 7]

The sealed file is in the page cache. `read_bundle` reads and decrypts every byte into fresh memory, digests it against
the list in bundle.json, and checks the Ed25519 signature over that. The target is 1.5 GB/s on two cores, or 0.8 of
`openssl speed` on one core, whichever is less. The median of the rounds is judged; the process runs on as many cores as
it is given, and once more on one.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from common import write_result
from overwinter.bundle import BundleFacts, Canary, Keys, read_bundle, seal_bundle, sign_bundle, write_bundle
from overwinter.bundle.sealed import create_signing_key, load_signing_key
from overwinter.signature import Signature

TARGET_GB_PER_S = 1.5
TARGET_SHARE = 0.8
BLOCK_BYTES = 16384


def main() -> None:
    """Measure, print, and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mb", type=int, default=512, help="of weights in the bundle")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    openssl_gb_per_s = openssl_speed()
    target = min(TARGET_GB_PER_S, TARGET_SHARE * openssl_gb_per_s) if openssl_gb_per_s else TARGET_GB_PER_S
    with tempfile.TemporaryDirectory() as folder:
        content: dict[str, Any] = measure(Path(folder), arguments.mb * 10**6, arguments.rounds)
    content |= {
        "openssl_speed_gb_per_s": openssl_gb_per_s,
        "target_gb_per_s": target,
        "met": content["read"]["2"]["median_gb_per_s"] >= target,
    }
    for cores, found in content["read"].items():
        print(f"read, {cores} core(s): {found['median_gb_per_s']:.2f} GB/s (best {found['best_gb_per_s']:.2f})")
    print(
        f"seal: {content['seal_gb_per_s']:.2f} GB/s; openssl speed: {openssl_gb_per_s} GB/s; target {target:.2f} GB/s"
    )
    print(f"wrote results/{write_result('bundle_crypto', content).name}")


def openssl_speed() -> float | None:
    """Return GB/s of decryption by the `openssl` on this machine, on one core; None if it is not installed."""
    command = ["openssl", "speed", "-seconds", "2", "-bytes", str(BLOCK_BYTES), "-decrypt", "-evp", "aes-256-gcm"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    found = re.search(r"AES-256-GCM\s+([\d.]+)k", done.stdout, re.IGNORECASE)
    return float(found[1]) / 1e6 if found else None


def measure(folder: Path, size_bytes: int, rounds: int) -> dict[str, Any]:
    """Seal random weights once, and read them repeatedly."""
    keys = sealed_bundle(folder, size_bytes)
    sealed = folder / "sealed"
    begin_s = time.perf_counter()
    seal_bundle(folder / "bundle", sealed, keys.wrapping_keys())
    sealed_s = time.perf_counter() - begin_s
    cores = sorted(os.sched_getaffinity(0))
    rates = {}
    for count in (1, 2):
        os.sched_setaffinity(0, cores[:count])
        rates[str(count)] = read(sealed, keys, size_bytes, rounds)
    return {"size_bytes": size_bytes, "rounds": rounds, "seal_gb_per_s": size_bytes / sealed_s / 1e9, "read": rates}


def sealed_bundle(folder: Path, size_bytes: int) -> Keys:
    """Write a signed bundle of random weights; return who vouches for it and what will open it."""
    (folder / "payload").mkdir()
    with (folder / "payload" / "model.onnx").open("wb") as stream:
        for begin in range(0, size_bytes, 1 << 20):
            stream.write(os.urandom(min(1 << 20, size_bytes - begin)))
    facts = BundleFacts(
        variant="dense",
        runtime="onnxruntime",
        signature=Signature.of_one((2,)),
        labels=("no", "yes"),
        preprocessing={},
        production_energy_j=None,
        lineage={},
    )
    canary = Canary(inputs=np.zeros((1, 2), np.float32), outputs=np.ones((1, 2), np.float32), tolerance=1e-3)
    write_bundle(folder / "bundle", payload=folder / "payload", facts=facts, canary=canary)
    create_signing_key(folder / "key", folder / "key.pub")
    sign_bundle(folder / "bundle", load_signing_key(f"file:{folder / 'key'}"))
    (folder / "secret").write_text(os.urandom(32).hex())
    (folder / "secret").chmod(0o600)
    return Keys(trusted=(folder / "key.pub",), opening=(f"file:{folder / 'secret'}",))


def read(sealed: Path, keys: Keys, size_bytes: int, rounds: int) -> dict[str, float]:
    """Return GB/s over the rounds."""
    rates = []
    for _ in range(rounds):
        begin_s = time.perf_counter()
        bundle = read_bundle(sealed, keys=keys)
        rates.append(size_bytes / (time.perf_counter() - begin_s) / 1e9)
        assert bundle.signed_by
        assert (bundle.payload / "model.onnx").stat().st_size == size_bytes
        del bundle
    return {"median_gb_per_s": statistics.median(rates), "best_gb_per_s": max(rates)}


if __name__ == "__main__":
    main()
