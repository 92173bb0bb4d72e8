import pytest
import torch

from overwinter.models import Codes, Grid
from overwinter.quantization import gptq

GRIDS = [
    Grid(bits=4, group_size=16, symmetric=False),
    Grid(bits=4, group_size=20),  # the last group is shorter
    Grid(bits=3),
]


def problem(columns: int = 48) -> tuple[torch.Tensor, torch.Tensor]:
    randomness = torch.Generator().manual_seed(0)
    inputs = torch.randn(256, columns, generator=randomness) @ torch.randn(columns, columns, generator=randomness)
    return torch.randn(24, columns, generator=randomness), inputs.T @ inputs / len(inputs)


def error(weight: torch.Tensor, hessian: torch.Tensor, grid: Grid, codes: Codes) -> float:
    missed = grid.decode(codes) - weight
    return float((missed @ hessian * missed).sum())


@pytest.mark.parametrize("grid", GRIDS)
def test_each_round_of_refinement_comes_closer(grid, monkeypatch):
    weight, hessian = problem()
    errors = [error(weight, hessian, grid, grid.nearest(weight))]
    for rounds in (0, 1, 3):
        monkeypatch.setattr(gptq, "_REFINED", rounds)
        errors.append(error(weight, hessian, grid, gptq.solve_gptq(weight, grid, hessian, damping=0.001)))
    assert errors[3] < errors[2] < 0.97 * errors[1] < 0.7 * errors[0]


@pytest.mark.parametrize("grid", GRIDS)
def test_refitted_scales_cannot_be_bettered(grid):
    weight, hessian = problem()
    start = grid.nearest(weight)
    codes = gptq._refitted(weight, hessian, grid, start)
    least = error(weight, hessian, grid, codes)
    assert least < error(weight, hessian, grid, start)
    for share in (0.99, 1.01):
        moved = Codes(codes=codes.codes, scale=codes.scale * share, zero=codes.zero)
        assert least < error(weight, hessian, grid, moved)


@pytest.mark.parametrize("grid", GRIDS)
def test_what_is_zero_stays_zero(grid):
    weight, hessian = problem()
    weight[:, ::2] = 0
    weight[3] = 0
    weight[5, :20] = 0  # a whole group
    codes = gptq.solve_gptq(weight, grid, hessian, 0.1 * hessian)
    assert bool((grid.decode(codes)[weight == 0] == 0).all())
    assert bool((codes.scale > 0).all())
    assert bool(torch.isfinite(codes.scale).all())


def test_inputs_that_are_always_zero_do_no_harm():
    weight, hessian = problem()
    hessian[:, 7] = hessian[7] = 0
    codes = gptq.solve_gptq(weight, GRIDS[0], hessian)
    assert error(weight, hessian, GRIDS[0], codes) < error(weight, hessian, GRIDS[0], GRIDS[0].nearest(weight))
