"""The benchmark of responses: rounds that go on where they stopped, and ratios to the better peer."""

import json
import shutil
import sys
from types import SimpleNamespace

import pytest
import torch

from tests.support.decoders import tokens
from tests.support.networks import language_model, save_language_model

pytest.importorskip("transformers", reason="the extra llm is not installed")

RESPONDER = """
import sys
sys.path.insert(0, {peers!r})
from responding import answer
print("a library's greeting")
answer(lambda prompt, count: [len(prompt)] * count)
"""


@pytest.fixture
def program(load_benchmark):
    return load_benchmark("language")


@pytest.fixture
def contenders(load_benchmark, program):
    """Return the commands of two contenders, in processes that respond at once."""
    peers = str(program.common.RESULTS.parent / "peers")
    command = [sys.executable, "-c", RESPONDER.format(peers=peers)]
    return dict.fromkeys(["int4@somewhere", next(iter(program.PEERS))], command)


def reply(contender, each, cpu_s, resident=1):
    return {"contender": contender, "round": each, "shape": [8, 2], "cpu_s": cpu_s, "resident_bytes": resident}


def test_all_respond_in_every_round_and_a_later_run_goes_on(program, contenders, tmp_path, monkeypatch):
    monkeypatch.setattr(program, "SHAPES", ((8, 2), (4, 6)))
    arguments = SimpleNamespace(work=tmp_path, threads=1)
    texts = [[list(range(begin, begin + 8))] * 2 for begin in (0, 8)]
    first = program.respond(contenders, texts[:1], arguments)
    assert len(first) == 2 * 2
    with (tmp_path / "responses_1.jsonl").open("a") as file:
        file.write('{"round": 1, "conten')  # cut short
    again = program.respond(contenders, texts, arguments)
    assert again[:4] == [json.loads(json.dumps(row)) for row in first]
    assert sorted((row["round"], row["contender"]) for row in again[4:]) == sorted(
        (1, name) for name in contenders for _ in range(2)
    )
    assert all(row["cpu_s"] < row["wall_s"] + 1 for row in again)
    assert all(row["resident_bytes"] > 1 << 20 for row in again)


def test_no_two_prompts_begin_alike(program, monkeypatch):
    spread = torch.arange(6 * 512).reshape(6, 512)  # windows of a text
    monkeypatch.setattr(program.smollm2, "scored_windows", lambda _, count, length: {"in": spread[:count, :length]})
    texts = program.prompts(None, 2)
    assert [len(each) for each in texts] == [len(program.SHAPES)] * 2
    assert len({text[0] for each in texts for text in each}) == 6


def test_ratios_are_to_the_better_peer_of_the_same_round(program):
    slow, fast = program.PEERS
    replies = [reply(slow, each, 9.0) for each in range(3)]
    replies += [reply(fast, each, cpu_s) for each, cpu_s in enumerate((2.0, 4.0, 8.0))]
    replies += [reply("int4@x", each, cpu_s, 10 * each) for each, cpu_s in enumerate((1.0, 2.0, 6.0))]
    found = program.summarize(replies)
    ours = found["int4@x"]["shapes"]["8+2"]
    assert ours["ratio"] == 0.5
    assert ours["ratio_low"] <= 0.5 < ours["ratio_high"] <= 0.75
    assert (ours["cpu_s"], ours["rounds"]) == (2.0, 3)
    assert found["int4@x"]["resident_bytes"] == 20
    assert found[fast]["shapes"]["8+2"]["ratio"] == 1


def test_without_a_peer_there_is_no_ratio(program):
    found = program.summarize([reply("int4@x", 0, 1.0)])
    assert "ratio" not in found["int4@x"]["shapes"]["8+2"]


def test_a_contender_that_ends_is_named(program, tmp_path):
    with pytest.raises(SystemExit, match="ended with 3"), program.running({"x": [sys.executable, "-c", "exit(3)"]}, 1):
        pass


def test_models_that_are_not_there_are_asked_for(program, tmp_path):
    with pytest.raises(SystemExit, match="overwinter -C pipelines/smollm2 run"):
        program.case_variants(tmp_path, tmp_path)


def test_the_table_takes_what_is_there(program, capsys):
    replies = [reply(name, 0, 1.0, 2_000_000) for name in (*program.PEERS, "int4@x")]
    program.show(
        {
            "responses": program.summarize(replies),
            "size_bytes": dict.fromkeys((*program.PEERS, "int4@x"), 98_400_000),
            "perplexity": {"int4@x": {"in": {"ratio": 1.01}, "out": {"ratio": 1.1}}},
            "refused": {"as_given@torch": "no module"},
        }
    )
    shown = capsys.readouterr().out
    assert "98.4" in shown
    assert "1.010 / 1.100" in shown
    assert "as_given@torch: no module" in shown


def rows_of(program, load_benchmark, peers):
    names = [*peers, "dense@torch-bf16", "int4@x", "int8@x"]
    cpu_s = dict(zip(names, (*(3.0, 2.0)[-len(peers) :], 9.0, 1.0, 1.5), strict=True))
    replies = [reply(name, 0, cpu_s[name], 100) | {"shape": shape} for name in names for shape in program.SHAPES]
    perplexity = {"int4@x": (1.02, 1.1), "int8@x": (1.0, 1.001), "int4@torch": (1.0, 1.1), "dense@torch": (1.0, 1.0)}
    rows = load_benchmark("figure_rows_language")._response_rows(
        {
            "machine": {"cpu": "a CPU"},
            "windows": 4,
            "responses": program.summarize(replies),
            "size_bytes": dict.fromkeys(names, 96) | dict.fromkeys(peers, 100),
            "perplexity": {
                name: {"in": {"ratio": each[0]}, "out": {"ratio": each[1]}} for name, each in perplexity.items()
            },
        }
    )
    return [(what.removeprefix("SmolLM2-135M, "), value, target) for what, value, target in rows]


def test_the_figures_rows_are_of_the_cheapest_with_its_perplexity(program, load_benchmark):
    found = rows_of(program, load_benchmark, list(program.PEERS))
    name = "on a CPU over llama.cpp or openvino-genai on the input file (int4@x, perplexity over dense 1.020 / 1.100)"
    assert found == [
        (f"CPU time of a response of 512+32 tokens {name}", "0.50 (0.50 to 0.50)", "1.05"),
        (f"CPU time of a response of 128+128 tokens {name}", "0.50 (0.50 to 0.50)", "0.80"),
        (f"CPU time of a response of 32+512 tokens {name}", "0.50 (0.50 to 0.50)", "0.70"),
        ("CPU time of a lossless variant over llama.cpp on the input file, 512+32 (int8@x)", "0.50", "0.45"),
        ("weights and graph over the input file (int4@x)", "0.96", "0.96"),
        ("resident memory over that of openvino-genai (int4@x)", "1.00", "1"),
        ("resident memory over that of dense@torch-bf16 (int4@x)", "1.00", "0.6"),
        ("perplexity in / out of domain, 4 windows each: int4@x over int4@torch", "+2.00 % / +0.00 %", "+0.5 %"),
        ("perplexity in / out of domain, 4 windows each: int8@x over dense@torch", "+0.00 % / +0.10 %", "+0.5 %"),
    ]


def test_rows_name_the_peers_that_were_there(program, load_benchmark):
    found = rows_of(program, load_benchmark, ["peer: openvino-genai"])
    assert all("on a CPU over openvino-genai on the input file" in what for what, _, _ in found[:3])
    assert not any("llama.cpp" in what for what, _, _ in found)


def test_perplexities_are_over_denses_and_kept(program, tmp_path):
    built = tmp_path / "built"
    for name, seed in {"dense@torch": 0, "same@torch": 0, "other@torch-bf16": 1}.items():
        save_language_model(built / name, language_model(seed=seed))
    windows = {domain: tokens(6, 8) % 32 for domain in ("in", "out")}
    arguments = SimpleNamespace(work=tmp_path, threads=1, only=(), windows=6)
    found = program.perplexities(built, windows, arguments)
    assert found["same@torch"]["in"] == {"ratio": 1.0, "low": 1.0, "high": 1.0}
    assert found["other@torch-bf16"]["out"]["ratio"] != 1
    shutil.rmtree(built / "other@torch-bf16")
    (built / "other@torch-bf16").mkdir()  # nothing is computed again
    assert program.perplexities(built, windows, arguments) == found
