import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from overwinter.errors import ConfigError
from overwinter.models.grid import Grid, pack, unpack

GRIDS = st.builds(
    Grid, bits=st.integers(2, 8), group_size=st.one_of(st.none(), st.integers(1, 20)), symmetric=st.booleans()
)


def matrix(seed: int, rows: int, columns: int) -> torch.Tensor:
    values = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))
    return torch.where(values.abs() < 0.3, 0.0, values)


@settings(max_examples=60)
@given(grid=GRIDS, seed=st.integers(0, 99), rows=st.integers(1, 4), columns=st.integers(1, 40))
def test_rounding_is_off_by_half_a_step_and_keeps_zeros(grid, seed, rows, columns):
    weight = matrix(seed, rows, columns)
    codes = grid.nearest(weight)
    values = grid.decode(codes)
    steps = codes.scale.repeat_interleave(grid.group_size or columns, 1)[:, :columns]
    # The zero point is rounded too, so the ends of an asymmetric range may be cut by another half.
    assert bool(((values - weight).abs() <= (0.5 if grid.symmetric else 1.0) * steps * 1.0001 + 1e-7).all())
    assert bool((values[weight == 0] == 0).all())
    assert int(codes.codes.max()) <= grid.top
    assert codes.scale.shape == (rows, grid.groups(columns))


@settings(max_examples=60)
@given(grid=GRIDS, seed=st.integers(0, 99), columns=st.integers(1, 40))
def test_values_on_the_grid_keep_their_codes(grid, seed, columns):
    codes = grid.nearest(matrix(seed, 3, columns))
    again = grid.encode(grid.decode(codes), codes.scale, None if codes.zero is None else codes.zero.float())
    assert torch.equal(again.codes, codes.codes)


@given(columns=st.integers(1, 9), seed=st.integers(0, 9))
def test_packing_is_undone_exactly(columns, seed):
    codes = torch.randint(0, 16, (3, columns), generator=torch.Generator().manual_seed(seed)).to(torch.uint8)
    packed = pack(codes)
    assert packed.shape == (3, -(-columns // 2))
    assert torch.equal(unpack(packed, columns), codes)


@pytest.mark.parametrize("symmetric", [True, False])
def test_a_group_of_zeros_is_zero(symmetric):
    grid = Grid(bits=4, group_size=2, symmetric=symmetric)
    assert torch.equal(grid.decode(grid.nearest(torch.zeros(2, 5))), torch.zeros(2, 5))


@pytest.mark.parametrize(
    ("values", "message"),
    [({"bits": 1}, "1 bits"), ({"bits": 9}, "9 bits"), ({"bits": 4, "group_size": 0}, "group_size=0")],
)
def test_a_grid_that_cannot_be_is_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        Grid(**values)
