"""Files that came quantized, through pipelines/smollm2: what is chosen costs no more than the file as it was given.

    python benchmarks/given_files.py [NAME[=GGUF] ...] [--work FOLDER]

Without a file, a name is a family's: a model of random weights in Q4_1 with SmolLM2's tokenizer. Such a model predicts
nothing, so its ruin by four bits is no reason to stop (`quantize.min_agreement=0`); whether a variant takes part is
for the limits of the case to say. Outputs of a run stay in --work, and a later run reads them.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from rich.console import Console
from rich.table import Table

import common
from language_contenders import input_file
from overwinter.files import write_json
from overwinter.models.gguf_file import gguf_reader
from overwinter.models.given import GIVEN

NAME = "given_files"
ROOT = Path(__file__).parents[1]
FAMILIES = ("qwen2", "qwen3")
OVERRIDES = [
    *("model=huggingface", "quantize=int8_weight_only", "quantize.methods=[int8_weight_only,int4_nearest]"),
    *("quantize.min_agreement=0", "evaluate.runtimes=[torch,torch-bf16,onnxruntime,openvino,llama-cpp]"),
    *("data.windows={train: 8, validation: 4, test: 4}", "evaluate.repeats=5"),
]
_OVERRIDES = "overrides.json"
_HIDDEN, _BLOCKS, _HEADS, _KEYS, _INNER = 192, 6, 6, 2, 512
_BLOCK_MATRICES = {
    "attn_q": (_HIDDEN, _HIDDEN),
    "attn_k": (_HIDDEN * _KEYS // _HEADS, _HIDDEN),
    "attn_v": (_HIDDEN * _KEYS // _HEADS, _HIDDEN),
    "attn_output": (_HIDDEN, _HIDDEN),
    "ffn_gate": (_INNER, _HIDDEN),
    "ffn_up": (_INNER, _HIDDEN),
    "ffn_down": (_HIDDEN, _INNER),
}
# Beside the norms of all: what a family has more.
_BIASED = {"qwen2": ("attn_q", "attn_k", "attn_v"), "qwen3": ()}
_HEAD_NORMS = {"qwen2": (), "qwen3": ("attn_q_norm", "attn_k_norm")}


def main() -> None:
    """Run what was asked for, write after each result, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", metavar="NAME[=GGUF]", default=FAMILIES)
    parser.add_argument("--work", type=Path, default=ROOT / "build" / NAME)
    arguments = parser.parse_args()
    path = common.RESULTS / f"{NAME}.json"
    rows: dict[str, Any] = json.loads(path.read_text())["rows"] if path.exists() else {}
    for each in arguments.files:
        name, _, given = each.partition("=")
        found = row(outputs(name, Path(given) if given else None, arguments.work))
        rows[name] = {"random_weights": name in FAMILIES, **found}
        common.write_result(NAME, {"rows": rows})
    show(rows)


def outputs(name: str, given: Path | None, work: Path) -> Path:
    """Return the outputs of a file's run, or run the case."""
    kept = work / name
    if not kept.is_dir():
        root = given or random_gguf(work / f"{name}.gguf", name)
        command = ["overwinter", "-C", "pipelines/smollm2", "run", f"model.root={root}", f"data.tokenizer={root}"]
        subprocess.run([*command, *OVERRIDES], cwd=ROOT, check=True)
        shutil.copytree(ROOT / "pipelines/smollm2/outputs", kept)
        write_json(kept / _OVERRIDES, OVERRIDES)
    return kept


def row(folder: Path) -> dict[str, Any]:
    """Return joules per response of what is chosen and of every other within the limits, over the best as given."""
    metrics, candidates = common.read_evaluation(folder / "evaluate")
    allowed = {name: each for name, each in candidates.items() if not each["broken_limits"]}
    energy_j = {name: each["energy_per_response_j"] for name, each in allowed.items()}
    given_j = min(value for name, value in energy_j.items() if name.partition("@")[0] in GIVEN)
    chosen = metrics.chosen.name
    return {
        "chosen": chosen,
        "chosen_over_given": energy_j[chosen] / given_j,
        "over_given": {name: value / given_j for name, value in sorted(energy_j.items())},
        "left_out": sorted(set(candidates) - set(allowed)),
        "tokens": [metrics.prompt_tokens, metrics.written_tokens],
        "overrides": json.loads((folder / _OVERRIDES).read_text()),
    }


def random_gguf(path: Path, family: str) -> Path:
    """Write a model of random weights with the tokenizer of the case's file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fields = {name: field for name, field in gguf_reader(input_file()).fields.items() if name.startswith("tokenizer.")}
    writer = gguf.GGUFWriter(path, family)
    for name, field in fields.items():
        if field.types[0] == gguf.GGUFValueType.ARRAY:
            writer.add_array(name, field.contents())
        else:
            writer.add_key_value(name, field.contents(), field.types[0])
    words = len(fields["tokenizer.ggml.tokens"].data)
    _describe(writer, words)
    random = np.random.default_rng(0)

    def add(name: str, kind: str, values: Any) -> None:
        quantization = gguf.GGMLQuantizationType[kind]
        writer.add_tensor(name, gguf.quantize(values.astype(np.float32), quantization), raw_dtype=quantization)

    def matrix(name: str, kind: str, shape: tuple[int, int]) -> None:
        add(name, kind, random.standard_normal(shape) / np.sqrt(shape[1]))

    matrix("token_embd.weight", "Q8_0", (words, _HIDDEN))
    add("output_norm.weight", "F32", np.ones(_HIDDEN))
    for block in range(_BLOCKS):
        for name, shape in _BLOCK_MATRICES.items():
            matrix(f"blk.{block}.{name}.weight", "Q4_1", shape)
        for name in _BIASED[family]:
            add(f"blk.{block}.{name}.bias", "F32", random.standard_normal(_BLOCK_MATRICES[name][0]) / 10)
        for name in _HEAD_NORMS[family]:
            add(f"blk.{block}.{name}.weight", "F32", np.ones(_HIDDEN // _HEADS))
        for name in ("attn_norm", "ffn_norm"):
            add(f"blk.{block}.{name}.weight", "F32", np.ones(_HIDDEN))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _describe(writer: gguf.GGUFWriter, words: int) -> None:
    writer.add_context_length(2048)
    writer.add_embedding_length(_HIDDEN)
    writer.add_block_count(_BLOCKS)
    writer.add_feed_forward_length(_INNER)
    writer.add_head_count(_HEADS)
    writer.add_head_count_kv(_KEYS)
    writer.add_key_length(_HIDDEN // _HEADS)
    writer.add_value_length(_HIDDEN // _HEADS)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(words)
    writer.add_file_type(gguf.LlamaFileType.GUESSED)  # openvino-genai reads no file without one


def show(rows: dict[str, Any]) -> None:
    """Print the table."""
    table = Table("file", "chosen", "joules over the best as given", "cheapest within the limits", "beyond the limits")
    for name, found in rows.items():
        cheapest = min(found["over_given"], key=found["over_given"].__getitem__)
        least = f"{cheapest} {found['over_given'][cheapest]:.2f}"
        table.add_row(
            name, found["chosen"], f"{found['chosen_over_given']:.2f}", least, ", ".join(found["left_out"]) or "none"
        )
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
