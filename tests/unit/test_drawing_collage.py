"""Collages: where each image stands, and that it stands there whole."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from PIL import Image

from regen.drawing import collage
from regen.drawing.collage import GAP, MARGIN
from regen.errors import UserError


def colours(n: int, size: int = 64) -> torch.Tensor:
    return torch.randint(0, 256, (n, 3, 1, 1), generator=torch.Generator().manual_seed(0), dtype=torch.uint8).expand(
        n, 3, size, size
    )


def test_a_grid_holds_every_image_whole_row_by_row() -> None:
    x = torch.randint(0, 256, (7, 3, 64, 64), dtype=torch.uint8)
    picture = collage.grid(x, columns=3)
    assert picture.shape == (2 * MARGIN + 3 * 64 + 2 * GAP, 2 * MARGIN + 3 * 64 + 2 * GAP, 3)
    for index in range(7):
        top, left = (MARGIN + place * (64 + GAP) for place in divmod(index, 3))
        np.testing.assert_array_equal(picture[top : top + 64, left : left + 64], x[index].permute(1, 2, 0))


def test_floats_are_rounded_to_the_nearest_grey_level_and_cut() -> None:
    x = torch.tensor([-0.5, 0.4999 / 255, 0.5001 / 255, 1.0, 1.5]).view(5, 1, 1, 1).expand(5, 3, 64, 64)
    picture = collage.grid(x, columns=5)
    assert picture[MARGIN + 5, MARGIN + 5 :: 64 + GAP][:5, 0].tolist() == [0, 0, 1, 255, 255]


def test_grey_images_are_drawn_in_grey_and_small_ones_enlarged_to_64_pixels() -> None:
    x = torch.arange(28 * 28, dtype=torch.float32).view(1, 1, 28, 28) / 28**2
    picture = collage.grid(x)
    tile = picture[MARGIN:-MARGIN, MARGIN:-MARGIN]
    assert tile.shape == (84, 84, 3)
    levels = (x[0, 0] * 255).round().to(torch.uint8).numpy()
    np.testing.assert_array_equal(tile, np.kron(levels, np.ones((3, 3), np.uint8))[..., None].repeat(3, 2))


def test_rows_stand_below_each_other_beside_their_names() -> None:
    x = colours(6)
    picture = collage.rows({"originals": x[:3], "reconstructions": x[3:]}, headers=["a", "b", "c"])
    bottom = picture[-MARGIN - 64 : -MARGIN, -MARGIN - 64 : -MARGIN]
    np.testing.assert_array_equal(bottom, x[5].permute(1, 2, 0))
    np.testing.assert_array_equal(picture[-MARGIN - 128 - GAP, -MARGIN - 1], x[2, :, 0, 0])
    names = picture[:, : -MARGIN - 3 * 64 - 2 * GAP]
    assert (names != collage.BACKGROUND).any()


def test_captions_do_not_touch_the_images() -> None:
    x = colours(4)
    picture = collage.grid(x, columns=2, captions=["a caption that is much wider than its image", "g", "j", "y"])
    for index, (row, column) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
        top, left = MARGIN + row * (64 + GAP + collage.LINE + 2), MARGIN + column * (64 + GAP)
        tile = picture[top : top + 64, left : left + 64]
        np.testing.assert_array_equal(tile, x[index].permute(1, 2, 0))


def test_a_saved_collage_has_the_same_bytes_every_time_and_the_same_pixels(tmp_path) -> None:
    picture = collage.rows({"samples": colours(3)})
    for name in ("a.png", "b.png"):
        collage.save(picture, tmp_path / "new" / name)
    first, second = (hashlib.sha256((tmp_path / "new" / name).read_bytes()).digest() for name in ("a.png", "b.png"))
    assert first == second
    with Image.open(tmp_path / "new" / "a.png") as image:
        assert image.info == {}
        np.testing.assert_array_equal(np.asarray(image), picture)


@pytest.mark.parametrize("shape", [(0, 3, 8, 8), (2, 4, 8, 8), (3, 8, 8)])
def test_what_is_no_image_is_refused(shape) -> None:
    with pytest.raises(UserError, match="collage: expected"):
        collage.grid(torch.zeros(shape))


def test_captions_must_be_as_many_as_images() -> None:
    with pytest.raises(UserError, match="2 captions for 3 images"):
        collage.grid(colours(3), captions=["a", "b"])
