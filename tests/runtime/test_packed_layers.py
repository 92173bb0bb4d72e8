import pytest
import torch

from overwinter.models import Grid, IntegerEmbedding, IntegerLinear
from overwinter.runtime.packed_layers import PackedEmbedding, PackedLinear, block_rows, packs


@pytest.fixture(autouse=True)
def _packable():
    if not block_rows():
        pytest.skip("this processor's 4-bit kernel packs codes in an order that is not known")


def close(output, expected, share=0.02):
    return float((output.float() - expected).norm() / expected.norm()) < share


def layer(rows=48, columns=128, *, bias=True, **grid):
    torch.manual_seed(rows + columns)
    return IntegerLinear.from_float(torch.nn.Linear(columns, rows, bias=bias), Grid(**grid))


CASES = [
    {"bits": 2, "group_size": 32},
    {"bits": 3, "group_size": 32, "symmetric": False},
    {"bits": 4, "group_size": 64, "symmetric": False},
    {"bits": 4, "group_size": None},
    {"bits": 4, "group_size": 96, "columns": 192},
    {"bits": 4, "group_size": 64, "columns": 64, "rows": 200, "bias": False},
    {"bits": 8, "group_size": 32},
    {"bits": 8, "group_size": None, "rows": 130},
    {"bits": 6, "group_size": 64, "columns": 96},
]


@pytest.mark.parametrize("case", CASES)
def test_a_packed_layer_gives_what_its_integers_do_for_few_tokens_and_for_many(case, monkeypatch):
    monkeypatch.setattr("overwinter.runtime.packed_layers._PIECE", 1 << 13)  # several pieces
    integer = layer(**case)
    assert packs(integer)
    given = [torch.randn(2, tokens, integer.columns) for tokens in (1, 8, 70)]
    with torch.inference_mode():
        expected = [integer(inputs) for inputs in given]
        packed = PackedLinear(integer).to(torch.bfloat16)
        for inputs, wanted in zip(given, expected, strict=True):
            output = packed(inputs.bfloat16())
            assert output.dtype == torch.bfloat16
            assert output.shape == wanted.shape
            assert close(output, wanted)
        rows = torch.arange(integer.weight_shape[0]).flip(0)
        assert close(packed.rows(rows), integer.weight()[rows], 0.01)


def test_a_packed_layer_takes_the_bytes_of_its_codes():
    def size(integer):
        return sum(each.nbytes for each in PackedLinear(integer).buffers())

    assert size(layer(256, 256, bits=4, group_size=64)) == 256 * 256 // 2 + 256 * 4 * 4
    assert size(layer(256, 256, bits=8, group_size=64)) == 256 * 256 + 2 * 256 * 4 * 4


@pytest.mark.parametrize(
    "case",
    [
        {"bits": 4, "group_size": 16},  # no group size of the kernel's
        {"bits": 4, "group_size": 64, "columns": 80},  # a short last group
        {"bits": 8, "group_size": 32, "symmetric": False},
    ],
)
def test_what_the_kernel_cannot_hold_is_not_packed(case):
    assert not packs(layer(**case))


def test_an_embedding_looks_its_rows_up_in_the_heads_codes():
    embedding = IntegerEmbedding.from_float(torch.nn.Embedding(150, 64), Grid(bits=8, group_size=32))
    head = IntegerLinear.from_float(torch.nn.Linear(64, 150, bias=False), embedding.grid)
    head.share_codes(embedding)
    served = PackedEmbedding(PackedLinear(head), 3.0)
    tokens = torch.tensor([[0, 149, 63], [64, 128, 31]])
    assert close(served(tokens), 3.0 * embedding(tokens), 0.005)
    assert not list(served.buffers())
