"""CUDA_VISIBLE_DEVICES, in every form that CUDA understands."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overwinter.energy.cuda_devices import visible_gpus

UUIDS = ["GPU-11aa-0000", "GPU-22bb-0000", "GPU-22cc-0000"]
MIGS = {"MIG-9f00-1": 1, "MIG-9f11-2": 1, "MIG-7777-0": 2}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, [0, 1, 2]),
        ("", []),
        ("1", [1]),
        ("2,0", [2, 0]),
        (" 0 , 1 ", [0, 1]),
        ("0,7,1", [0]),  # an index out of range hides itself and all after it
        ("-1", []),
        ("0,-1,1", [0]),
        ("0,0", []),  # CUDA shows nothing when a device is named twice
        ("GPU-11aa-0000", [0]),
        ("GPU-22bb", [1]),
        ("GPU-22", []),  # ambiguous
        ("GPU-22bb,GPU-11", [1, 0]),
        ("GPU-22bb,1", []),
        ("MIG-9f00-1", [1]),
        ("MIG-9f00,MIG-9f11", [1]),  # two slices of one board, which is counted once
        ("MIG-7777", [2]),
        ("MIG-GPU-22cc-0000/1/0", [2]),
        ("MIG-GPU-22cc-0000/1/0,MIG-GPU-22cc-0000/2/0", [2]),
        ("NoDevFiles", []),
    ],
)
def test_variants(value: str | None, expected: list[int]) -> None:
    assert visible_gpus(value, UUIDS, MIGS) == expected


def test_numbers_are_cudas_and_uuids_are_the_boards_own() -> None:
    assert visible_gpus("0,2", UUIDS, MIGS, order=[2, 0, 1]) == [2, 1]
    assert visible_gpus("GPU-11aa", UUIDS, MIGS, order=[2, 0, 1]) == [0]


def test_a_uuid_that_no_one_has_is_that_of_the_only_silent_board() -> None:
    assert visible_gpus("GPU-77", [UUIDS[0], None, UUIDS[2]], MIGS) == [1]
    assert visible_gpus("GPU-77", [UUIDS[0], None, None], MIGS) == []
    assert visible_gpus("GPU-22", [UUIDS[0], None, UUIDS[2]], MIGS) == [2]


@given(st.text(alphabet="0123456789,-GPUMIGab/ ", max_size=40))
def test_any_text_names_existing_gpus_once(value: str) -> None:
    indices = visible_gpus(value, UUIDS, MIGS)
    assert len(set(indices)) == len(indices)
    assert all(0 <= index < len(UUIDS) for index in indices)
