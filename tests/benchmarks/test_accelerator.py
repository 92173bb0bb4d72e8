"""The benchmark for a GPU, on the CPU: its model is correct, and the program completes."""

import importlib.util
import sys
import time
from pathlib import Path

import pytest
import torch

SMALL = (
    "--layers 1 --width 256 --hidden 64 --vocabulary 64 --prompt 8 --cache 16 --batches 1,2 --repeats 3 --sample 0.001 "
    "--solve 1"
)


@pytest.fixture
def program(load_benchmark):
    return load_benchmark("accelerator")


@pytest.fixture
def shape(program):
    return program.Shape(layers=2, width=256, hidden=64, vocabulary=64, prompt=7, cache=12)


def test_a_prompt_read_at_once_and_token_by_token_says_the_same(program, shape):
    torch.manual_seed(0)
    model, tokens = program.Decoder(shape).eval(), torch.randint(64, (3, 7))
    empty = [torch.zeros(2, 3, 1, shape.cache, program.HEAD) for _ in range(shape.layers)]
    with torch.no_grad():
        at_once = model(tokens, torch.arange(7), [each.clone() for each in empty])
        for at in range(7):
            logits = model(tokens[:, at : at + 1], torch.tensor([at]), empty)
        other = model(tokens.flip(1), torch.arange(7), [each.clone() for each in empty])
    torch.testing.assert_close(logits, at_once)
    assert float((other - at_once).abs().max()) > 0.1  # and order counts


def test_decoding_goes_round_the_positions_behind_the_prompt(program, shape):
    cache = [program.empty_cache(shape, 1, torch.device("cpu")) for _ in range(shape.layers)]
    asked = []

    def model(token, position, _cache):
        asked.append((token.clone(), int(position)))
        return torch.nn.functional.one_hot(token[:, 0] + 1, 64)

    write = program.steps(model, shape, 1, cache)[program.DECODE]
    for _ in range(7):
        write()
    assert [position for _, position in asked] == [7, 8, 9, 10, 11, 7, 8]
    assert [int(token - asked[0][0]) for token, _ in asked] == list(range(7)), "each token is the next input"


def test_a_variant_that_loses_is_shown_as_losing(program):
    def cell(rates, energies_j):
        return program.Cell(
            step=lambda: None,
            tokens=1,
            calls=1,
            how="compiled",
            rates=rates,
            energies_j=energies_j,
            powers_w=[300.0] * 3,
        )

    cells = {
        ("bf16", "decode", 1): cell([100.0, 101.0, 99.0], [2.0, 2.02, 1.98]),
        ("saver", "decode", 1): cell([150.0, 151.0, 149.0], [1.5, 1.51, 1.49]),
        ("loser", "decode", 1): cell([50.0, 51.0, 49.0], [4.0, 4.1, 3.9]),
        ("equal", "decode", 1): cell([100.0, 101.0, 99.0], [2.1, 2.0, 1.95]),
    }
    content = program.summary(cells, dict.fromkeys(("bf16", "saver", "loser", "equal"), 0.0), {"idle_w": 60.0}, {})
    rows = {row["variant"]: row for row in content["rows"]}
    assert {name: row["verdict"] for name, row in rows.items()} == {
        "bf16": "equal",
        "saver": "saves",
        "loser": "loses",
        "equal": "equal",
    }
    assert rows["loser"]["energy_over_bf16"] == pytest.approx(2.0, rel=0.02)
    assert rows["saver"]["energy_above_idle_per_token_j"] == pytest.approx(1.5 - 60 / 150)


def test_what_has_no_kernel_or_no_time_is_named(program, shape, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["accelerator.py", "--batches", "1"])
    arguments, left_out = program.parsed(), {}

    def captured(step, *, tuned):
        if step == "fp8":
            raise RuntimeError("no kernel\nfor it")
        return (lambda: None), "compiled"

    monkeypatch.setattr(program, "captured", captured)
    monkeypatch.setattr(program, "steps", lambda model, *_: dict.fromkeys(program.PHASES, model))
    monkeypatch.setattr(program, "calls", lambda *_: 1)
    cells = program.prepared({"bf16": "bf16", "fp8": "fp8"}, shape, [], arguments, left_out)
    assert set(cells) == {("bf16", "decode", 1), ("bf16", "prefill", 1)}
    assert left_out == {"fp8, decode at batch 1": "no kernel", "fp8, prefill at batch 1": "no kernel"}
    arguments.seconds = -1.0
    assert program.prepared({"bf16": "bf16"}, shape, [], arguments, left_out) == {}
    assert left_out["bf16, decode at batch 1"] == "compiling took too long; run it again"


def stand_in():
    spec = importlib.util.spec_from_file_location("stand_in_nvml", Path(__file__).parents[1] / "stand_in" / "nvml.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.special
@pytest.mark.skipif(stand_in().compiler() is None, reason="needs a C compiler for the stand-in driver")
def test_joules_are_those_of_the_counter(program, tmp_path, monkeypatch):
    """pynvml and the meter are real, on a compiled stand-in driver whose GPU draws 500 W."""
    stand_in().StandIn(tmp_path).enter(monkeypatch)
    monkeypatch.setattr(program, "IDLE_S", 0.2)
    cell = program.Cell(step=lambda: time.sleep(0.05), tokens=4, calls=6, how="eager")
    with program.open_meter(*program.energy_settings("nvml")) as meter:
        drawn = program.idle(meter)
        program.taken({("bf16", "decode", 1): cell}, meter, 1, until_s=0.0)
    assert drawn == {"joules": "GPU board, nvml-counter", "idle_w": pytest.approx(500, rel=0.2)}
    assert cell.rates == [pytest.approx(4 / 0.05, rel=0.2)]
    assert cell.energies_j == [pytest.approx(500 * 0.05 / 4, rel=0.3)]
    assert cell.powers_w == [pytest.approx(500, rel=0.2)]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device, and this writes no result")
def test_without_a_gpu_it_runs_to_its_end_and_writes_nothing(program, monkeypatch, capsys):
    written = []
    monkeypatch.setattr(program.common, "write_result", lambda *given: written.append(given))
    monkeypatch.setattr(sys, "argv", ["accelerator.py", *SMALL.split()])
    program.main()
    output = capsys.readouterr().out
    assert "nothing is written" in output
    assert "fp8 dynamic is left out: it has kernels on GPUs only" in output
    assert "GPTQ of 1 blocks on 128 tokens" in output
    assert output.count("int8 weight-only") == 2 * 2 * 2  # phases, batches; made and shown
    assert written == []
