"""Peak memory of checking, training and evaluating on data of 200 MB and of 2 GB, generated while they are read.

    python benchmarks/streaming.py [--megabytes 200 2000] [--repeats 3]

A map-style and an iterable data set make each sample when it is asked for. Each row is a process of its own, which does
what the stages do with data: checks the splits, fits an epoch on a training split of that size, evaluates on validation
and test splits as large, and draws samples from the whole. If data of any size stream, ten times as much takes the same
memory.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

KINDS = ("map-style", "iterable")
SHAPE = (3, 128, 128)
_SAMPLE_BYTES = 4 * 3 * 128 * 128
_SEEDS = {"train": 0, "validation": 1_000_000, "test": 2_000_000}


def main() -> None:
    """Measure every kind at every size, and write results/streaming.json."""
    import common

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, nargs="+", default=[200, 2000])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--row", nargs=2, metavar=("KIND", "MEGABYTES"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.row:
        print(json.dumps(measured(arguments.row[0], int(arguments.row[1]))))
        return
    rows: dict[str, dict[int, list[dict[str, float]]]] = {
        kind: {size: [in_process(kind, size) for _ in range(arguments.repeats)] for size in arguments.megabytes}
        for kind in KINDS
    }
    common.write_result("streaming", {"sample_bytes": _SAMPLE_BYTES, **summary(rows), "rows": rows})
    print(json.dumps(summary(rows), indent=2))


def in_process(kind: str, megabytes: int) -> dict[str, float]:
    """Measure one row in a fresh process."""
    command = [sys.executable, str(Path(__file__)), "--row", kind, str(megabytes)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    row: dict[str, float] = json.loads(done.stdout)
    print(kind, megabytes, row, flush=True)
    return row


def summary(rows: Mapping[str, Mapping[int, Sequence[Mapping[str, float]]]]) -> dict[str, Any]:
    """Return the median peak of each kind and size, and the largest against the smallest."""
    found = {
        kind: {size: statistics.median(row["peak_bytes"] for row in repeats) for size, repeats in sizes.items()}
        for kind, sizes in rows.items()
    }
    added = {kind: sizes[max(sizes)] - sizes[min(sizes)] for kind, sizes in found.items()}
    noise = {kind: max(spread(repeats) for repeats in sizes.values()) for kind, sizes in rows.items()}
    return {"peak_bytes": found, "added_by_more_data_bytes": added, "spread_of_repeats_bytes": noise}


def spread(repeats: Sequence[Mapping[str, float]]) -> float:
    """Return the largest peak less the smallest."""
    peaks = [row["peak_bytes"] for row in repeats]
    return max(peaks) - min(peaks)


def measured(kind: str, megabytes: int) -> dict[str, float]:
    """Check, fit and evaluate in this process; return its peak memory and the time that it took."""
    import torch

    from overwinter import data, tasks, training
    from overwinter.config.groups import FitConfig

    torch.set_num_threads(1)
    begun = time.perf_counter()
    source = data.Data(Source(kind, 10**6 * megabytes // _SAMPLE_BYTES))
    source = source.use(tasks.Classification(source.labels))
    data.check_splits(source)
    imported_bytes = peak_bytes()
    settings = FitConfig(
        epochs=1,
        batch_size=32,
        learning_rate=0.01,
        weight_decay=0.0,
        warmup_fraction=0.1,
        gradient_clip_norm=1.0,
        patience_epochs=0,
        precision="fp32",
        checkpoint_interval_s=1e9,
    )
    train, validation, device = source.split("train"), source.split("validation"), torch.device("cpu")
    model = network()
    fitted = training.fit(model, train, validation, settings, task=source.task, seed=0, device=device)
    score = training.evaluate(fitted.model, source.split("test"), source.task)
    source.split("train").spread(64, seed=0)
    return {
        "peak_bytes": peak_bytes(),
        "peak_before_training_bytes": imported_bytes,
        "duration_s": round(time.perf_counter() - begun, 2),
        "samples": float(train.count()),
        "accuracy": score.measures["accuracy"],
    }


def network() -> Any:
    """Return a small network, so that the time goes into the data."""
    from torch import nn

    return nn.Sequential(nn.AvgPool2d(16), nn.Flatten(), nn.Linear(3 * 8 * 8, 2))


def peak_bytes() -> int:
    """Return the most memory that this process has had."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


class Source:
    """Noise, brighter in one of two classes; each sample is drawn by its number.

    Args:
        kind: ``map-style`` or ``iterable``.
        samples: of each split.
    """

    labels = ("dark", "bright")
    preprocessing: Mapping[str, Any] = {}

    def __init__(self, kind: str, samples: int) -> None:
        self._kind, self._samples = kind, samples

    def split(self, name: str) -> Any:
        """Return the data set."""
        made = MapStyle(self._samples, _SEEDS[name])
        return made if self._kind == "map-style" else iterable(made)


class MapStyle:
    """Samples by their numbers.

    Args:
        samples: how many.
        seed: number of the first.
    """

    def __init__(self, samples: int, seed: int) -> None:
        self._samples, self._seed = samples, seed

    def __len__(self) -> int:
        return self._samples

    def __getitem__(self, index: int) -> tuple[Any, int]:
        import numpy as np

        noise = np.random.default_rng(self._seed + index).random(SHAPE, dtype=np.float32)
        return noise - np.float32(0.45 if index % 2 else 0.55), index % 2


def iterable(samples: MapStyle) -> Any:
    """Return the same samples as an iterable data set that does not say how many there are."""
    from torch.utils.data import IterableDataset

    class Stream(IterableDataset[Any]):
        def __iter__(self) -> Iterator[Any]:
            return (samples[index] for index in range(len(samples)))

    return Stream()


if __name__ == "__main__":
    main()
