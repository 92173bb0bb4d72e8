"""The figures of language models: quantized, pruned, per token, per response, in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from figure_rows import Row, has_result, result

_WHO = "SmolLM2-135M"
_PLACES = ("in", "out")  # of the domain
_LOSSLESS = 1.003  # perplexity over dense
_DENSE = "dense@torch"  # what all perplexities are over

_PERPLEXITIES = {  # our method -> the peer's, target
    "int8_weight_only": ("torchao_int8_weight_only", "+0.2 % / +0.2 %"),
    "int8_dynamic_grouped": ("torchao_int8_dynamic", "+0.5 % / +0.7 %"),
    "int4_distilled": ("llm_compressor_int4_gptq", "+1.5 % / +10 %"),
}
# method of sparsity_smollm2 -> what it is, target: llm-compressor's on the same windows
_PRUNED = {
    "wanda_50": ("half, Wanda", "1.725 / 2.434"),
    "wanda_50_swaps": ("half, Wanda and swaps", "below Wanda"),
    "sparsegpt_50": ("half, SparseGPT", "1.396 / 2.647"),
    "sparsegpt_50_swaps": ("half, SparseGPT and swaps", "below SparseGPT"),
    "wanda_2_4": ("2:4, Wanda", "3.743 / 8.057"),
    "wanda_2_4_swaps": ("2:4, Wanda and swaps", "below Wanda"),
    "sparsegpt_2_4": ("2:4, SparseGPT", "1.855 / 7.921"),
    "sparsegpt_2_4_swaps": ("2:4, SparseGPT and swaps", "below SparseGPT"),
    "sparsegpt_50_distilled": ("half, SparseGPT, then distilled", "1.12 / 1.60"),
    "sparsegpt_2_4_distilled": ("2:4, SparseGPT, then distilled", "1.30 / 2.60"),
    "sparsegpt_50_distilled_int4": ("half, SparseGPT, distilled, and int4", "1.18 / 1.85"),
}


def language_rows() -> Iterator[Row]:
    """Return the rows of all that was measured of language models."""
    rows = result("quantization_smollm2")["rows"]
    for name, (peer, target) in _PERPLEXITIES.items():
        what = f"SmolLM2-135M (dense: dequantized Q4_1), perplexity over dense in / out of domain: {name} ({peer})"
        yield what, f"{_perplexities(rows[name])} ({_perplexities(rows[peer])})", target
    yield from _sparse_language_rows()
    recovered = rows["int4_distilled"]
    what = f"time of int4_distilled on two cores (CPU time {recovered['cpu_seconds']:.0f} s)"
    yield what, f"{recovered['seconds']:.0f} s", "900 s"
    yield from _response_rows(result("language"))
    yield from _given_rows(result("given_files")["rows"])
    for name, measured in result("server_language")["built"].items():
        ratio = measured["first_token"]["off"]["ratio_to_bare_p50"]
        yield (
            f"{_WHO}, cold start of the server to the first token over a bare script's ({name})",
            f"{ratio:.2f}",
            "1.25",
        )
    yield from _memory_rows()


def _given_rows(rows: Mapping[str, Mapping[str, Any]]) -> Iterator[Row]:
    for name, row in rows.items():
        read, written = row["tokens"]
        kind = " of random weights" if row["random_weights"] else ""
        what = f"{name}{kind} as a GGUF file: joules of what is chosen over the best as given, {read}+{written}"
        yield what, f"{row['chosen_over_given']:.2f} ({row['chosen']})", "1"


def _sparse_language_rows() -> Iterator[Row]:
    if not has_result("sparsity_smollm2"):
        return
    rows = result("sparsity_smollm2")["rows"]
    for name, (what, target) in _PRUNED.items():
        if name in rows:
            label = f"SmolLM2-135M pruned, perplexity over dense in / out of domain: {what}"
            divergence = _both_domains(rows[name], "kl_nats", 2)
            cost = f"{divergence} nats, {rows[name]['cpu_seconds']:.0f} CPU-s"
            peer = rows.get(f"llm_compressor_{name}")
            beside = "" if peer is None else f"; llm-compressor {_both_domains(peer, 'ratio', 3)}"
            yield label, f"{_both_domains(rows[name], 'ratio', 3)} ({cost}{beside})", target


def _both_domains(row: Mapping[str, Mapping[str, float]], figure: str, digits: int) -> str:
    return " / ".join(f"{row[domain][figure]:.{digits}f}" for domain in ("in", "out"))


def _memory_rows() -> Iterator[Row]:
    memory = result("memory")
    share = {name: step["share_of_float32"] for name, step in memory["steps"].items()}
    reference = next(name for name in share if "torchao" in name)
    for method in ("int8_weight_only", "int4_nearest"):
        what = f"{memory['parameters'] / 1e9:.1f} billion parameters, memory over float32's: {method} ({reference})"
        yield what, f"{share[method]:.0%} ({share[reference]:.0%})", "codes and one block"


def _response_rows(content: Mapping[str, Any]) -> Iterator[Row]:
    """For each shape the cheapest variant on our runtimes, with its perplexity; and what the runtimes lose."""
    responses, perplexity = content["responses"], content["perplexity"]
    peers = [name for name in responses if name.startswith("peer: ")]
    ours = [name for name in responses if name in perplexity and not name.startswith("dense")]
    over = f"over {' or '.join(name.removeprefix('peer: ') for name in peers)} on the input file"
    over = f"on {content['machine']['cpu']} {over}"
    targets = {"512+32": "1.05", "128+128": "0.80", "32+512": "0.70"}
    cheapest = {
        shape: min(ours, key=lambda each, shape=shape: responses[each]["shapes"][shape]["ratio"]) for shape in targets
    }
    for shape, name in cheapest.items():
        ratio = "{ratio:.2f} ({ratio_low:.2f} to {ratio_high:.2f})".format(**responses[name]["shapes"][shape])
        what = f"{_WHO}, CPU time of a response of {shape} tokens {over} ({_with_perplexity(name, perplexity)})"
        yield what, ratio, targets[shape]
    yield from _lossless_rows(responses, perplexity)
    for name in dict.fromkeys(cheapest.values()):
        yield from _size_rows(name, content["size_bytes"], responses, peers[0])
    yield from _loss_rows(perplexity, content["windows"])


def _size_rows(name: str, size: Mapping[str, int], responses: Mapping[str, Any], peer: str) -> Iterator[Row]:
    """What a variant takes on the disk and in memory."""
    yield f"{_WHO}, weights and graph over the input file ({name})", f"{size[name] / size[peer]:.2f}", "0.96"
    resident = {each: row["resident_bytes"] for each, row in responses.items()}
    for other, target in {"peer: openvino-genai": "1", "dense@torch-bf16": "0.6"}.items():
        if other in resident:
            what = f"{_WHO}, resident memory over that of {other.removeprefix('peer: ')} ({name})"
            yield what, f"{resident[name] / resident[other]:.2f}", target


def _lossless_rows(responses: Mapping[str, Any], perplexity: Mapping[str, Any]) -> Iterator[Row]:
    """The cheapest lossless variant over llama.cpp, where that was measured."""
    cpu_s = {name: row["shapes"]["512+32"]["cpu_s"] for name, row in responses.items() if "512+32" in row["shapes"]}
    lossless = [name for name in cpu_s if name in perplexity and _worst(perplexity[name]) <= _LOSSLESS]
    if lossless and "peer: llama.cpp" in cpu_s:
        name = min(lossless, key=cpu_s.__getitem__)
        what = f"{_WHO}, CPU time of a lossless variant over llama.cpp on the input file, 512+32 ({name})"
        yield what, f"{cpu_s[name] / cpu_s['peer: llama.cpp']:.2f}", "0.45"


def _loss_rows(perplexity: Mapping[str, Any], windows: int) -> Iterator[Row]:
    """What each runtime adds to a variant's perplexity: to torch's, or to dense's where torch would compute dense."""
    for name in sorted(perplexity):
        variant, _, runtime = name.partition("@")
        reference = f"{variant}@torch" if f"{variant}@torch" in perplexity else _DENSE
        if runtime != "torch" and variant not in ("dense", "input_file"):
            shares = (
                perplexity[name][place]["ratio"]
                / (1.0 if reference == _DENSE else perplexity[reference][place]["ratio"])
                for place in _PLACES
            )
            value = " / ".join(f"{100 * (share - 1):+.2f} %" for share in shares)
            what = f"{_WHO}, perplexity in / out of domain, {windows} windows each: {name} over {reference}"
            yield what, value, "+0.5 %"


def _with_perplexity(name: str, perplexity: Mapping[str, Any]) -> str:
    return f"{name}, perplexity over dense {_both_domains(perplexity[name], 'ratio', 3)}"


def _worst(row: Mapping[str, Any]) -> float:
    return max(float(row[place]["ratio"]) for place in _PLACES)


def _perplexities(row: dict[str, Any]) -> str:
    inside, outside = (100 * (row[place]["ratio"] - 1) for place in ("in", "out"))
    return f"{inside:+.2f} % / {outside:+.2f} %"
