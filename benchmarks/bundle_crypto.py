"""Reading and verifying an encrypted bundle, beside what `openssl speed` gives for the cipher alone.

    python benchmarks/bundle_crypto.py [--mb 512] [--rounds 5]

The sealed file is in the page cache; opening it reads, decrypts and verifies every byte into fresh memory. The target
is 1.5 GB/s on two cores, or 0.8 of `openssl speed` on one core, whichever is less. The median of the rounds is judged.
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

from common import write_result
from overwinter.serving.sealing import WrappingKey, seal, unseal

TARGET_GB_PER_S = 1.5
TARGET_SHARE = 0.8
BLOCK_BYTES = 16384


def main() -> None:
    """Measure, print, and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mb", type=int, default=512, help="of weights in the bundle")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    openssl_gb_per_s = openssl_speed()
    target = min(TARGET_GB_PER_S, TARGET_SHARE * openssl_gb_per_s) if openssl_gb_per_s else TARGET_GB_PER_S
    with tempfile.TemporaryDirectory() as folder:
        content: dict[str, Any] = measure(Path(folder), arguments.mb * 10**6, arguments.rounds)
    content |= {
        "openssl_speed_gb_per_s": openssl_gb_per_s,
        "target_gb_per_s": target,
        "met": content["unseal"]["2"]["median_gb_per_s"] >= target,
    }
    for threads, found in content["unseal"].items():
        print(f"unseal, {threads} thread(s): {found['median_gb_per_s']:.2f} GB/s (best {found['best_gb_per_s']:.2f})")
    print(
        f"seal: {content['seal_gb_per_s']:.2f} GB/s; openssl speed: {openssl_gb_per_s} GB/s; target {target:.2f} GB/s"
    )
    print(f"wrote results/{write_result('bundle_crypto', content).name}")


def openssl_speed() -> float | None:
    """Return GB/s of decryption by the `openssl` on this machine, on one core; None where there is none."""
    command = ["openssl", "speed", "-seconds", "2", "-bytes", str(BLOCK_BYTES), "-decrypt", "-evp", "aes-256-gcm"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    found = re.search(r"AES-256-GCM\s+([\d.]+)k", done.stdout, re.IGNORECASE)
    return float(found[1]) / 1e6 if found else None


def measure(folder: Path, size_bytes: int, rounds: int) -> dict[str, Any]:
    """Seal random weights once, and open them again and again."""
    weights, sealed, key = folder / "weights", folder / "sealed", WrappingKey.of(os.urandom(32))
    with weights.open("wb") as stream:
        for begin in range(0, size_bytes, 1 << 20):
            stream.write(os.urandom(min(1 << 20, size_bytes - begin)))
    begin_s = time.perf_counter()
    seal({"weights": weights}, sealed, [key])
    sealed_s = time.perf_counter() - begin_s
    return {
        "size_bytes": size_bytes,
        "rounds": rounds,
        "seal_gb_per_s": size_bytes / sealed_s / 1e9,
        "unseal": {str(threads): opened(sealed, key, size_bytes, threads, rounds) for threads in (1, 2)},
    }


def opened(sealed: Path, key: WrappingKey, size_bytes: int, threads: int, rounds: int) -> dict[str, float]:
    """Return GB/s over the rounds."""
    rates = []
    for _ in range(rounds):
        begin_s = time.perf_counter()
        found = unseal(sealed, [key], threads=threads)
        rates.append(size_bytes / (time.perf_counter() - begin_s) / 1e9)
        assert len(found["weights"]) == size_bytes
        del found
    return {"median_gb_per_s": statistics.median(rates), "best_gb_per_s": max(rates)}


if __name__ == "__main__":
    main()
