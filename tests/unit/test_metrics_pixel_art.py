"""Pixel art: grid, palette and snapping."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from regen.errors import UserError
from regen.metrics.pixel_art import Grid, pixel_measures

PALETTE = np.array([[0, 0, 0], [255, 255, 255], [200, 60, 20], [99, 133, 150]], np.uint8)


@pytest.fixture(scope="module")
def small() -> np.ndarray:
    return PALETTE[np.random.default_rng(0).integers(0, 4, (20, 24, 24))]  # (20, 24, 24, 3)


def as_tensor(arrays: list[np.ndarray] | np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.stack(list(arrays))).permute(0, 3, 1, 2)


@pytest.fixture(scope="module")
def real(small) -> torch.Tensor:
    return as_tensor([np.asarray(Image.fromarray(x).resize((64, 64), Image.Resampling.NEAREST)) for x in small])


@pytest.fixture(scope="module")
def grid(real) -> Grid:
    return Grid(real)


def test_the_palette_is_that_of_the_images(grid) -> None:
    assert grid.palette.tolist() == sorted(PALETTE.tolist())


def test_snapping_real_images_gives_the_pictures_that_were_enlarged(grid, real, small) -> None:
    assert torch.equal(grid.snap(real), as_tensor(small))
    assert torch.equal(grid.shrink(real), as_tensor(small))


def test_enlargement_by_corners_is_found_as_well(small) -> None:
    index = np.arange(64) * 24 // 64
    enlarged = as_tensor(small[:, index][:, :, index])
    assert torch.equal(Grid(enlarged).snap(enlarged), as_tensor(small))


def test_real_images_are_on_the_grid_and_in_the_palette(grid, real) -> None:
    whole = {"value": 1.0, "real": 1.0, "error": 1 / len(real)}  # none of 20 is wrong: one of 20 may be
    assert pixel_measures(real.float() / 255, real, grid) == {"on_grid": whole, "in_palette": whole}


def test_one_wrong_pixel_takes_one_cell_off_the_grid_and_one_pixel_out_of_the_palette(grid, real) -> None:
    x = real.clone()
    x[:, :, 10, 10] = torch.tensor([10, 250, 10], dtype=torch.uint8)
    torch.testing.assert_close(grid.on_grid(x), torch.full((20,), 1 - 1 / 24**2, dtype=torch.float64))
    torch.testing.assert_close(grid.in_palette(x), torch.full((20,), 1 - 1 / 64**2, dtype=torch.float64))


@pytest.mark.parametrize(("levels", "share"), [(8, 1.0), (9, 0.0)])
def test_a_colour_may_be_a_few_grey_levels_off(grid, levels, share) -> None:
    x = torch.tensor([99, 133, 150 + levels], dtype=torch.uint8).view(1, 3, 1, 1).expand(1, 3, 64, 64)
    assert grid.in_palette(x).item() == share
    assert grid.on_grid(x).item() == 1.0


@pytest.mark.parametrize(("levels", "share"), [(16, 1.0), (17, 0.0)])
def test_a_cell_may_vary_by_the_tolerance_on_either_side(grid, levels, share) -> None:
    x = torch.full((1, 3, 64, 64), 100, dtype=torch.uint8)
    x[:, 0, ::2] += levels
    x[:, 0, :, ::2] = 100  # at least one pixel of each cell is left
    assert grid.on_grid(x).item() == share


def test_snapping_undoes_noise(grid, real, small) -> None:
    noisy = real.float() / 255 + 0.05 * torch.randn(real.shape, generator=torch.Generator().manual_seed(0))
    assert torch.equal(grid.snap(noisy), as_tensor(small))


def test_images_off_any_grid_are_refused() -> None:
    with pytest.raises(UserError, match="not constant on a grid of 24 x 24 cells"):
        Grid(torch.randint(0, 256, (3, 3, 64, 64), dtype=torch.uint8))


def test_grey_images_are_refused() -> None:
    with pytest.raises(UserError, match="expected square RGB"):
        Grid(torch.zeros(3, 1, 64, 64, dtype=torch.uint8))
