"""Pixel art: do generated pictures keep to the coarse grid and the palette of the real ones?"""

from __future__ import annotations

import torch
from torch import Tensor

from regen.errors import UserError
from regen.metrics.values import Measured, images, mean, pixels, same_dimensions

TOLERANCE = 8  # grey levels that a pixel may be off: seen by no one, and about the noise of a good decoder


class Grid:
    """The grid of `cells` x `cells` and the palette of a set of enlarged pictures.

    Attributes:
        starts: (cells + 1,) first pixel of each cell along one side.
        palette: (colours, 3) uint8, sorted.
    """

    def __init__(self, real: Tensor, cells: int = 24) -> None:
        """Read grid and palette off real images, (N, 3, size, size) uint8.

        Raises:
            UserError: images that are no RGB bytes, or are no nearest-neighbour enlargement of `cells` x `cells` pictures.
        """
        images(real, "real images")
        if real.dtype != torch.uint8 or real.shape[1] != 3 or real.shape[2] != real.shape[3]:
            raise UserError(f"real images: expected square RGB as uint8 (N, 3, size, size), got {real.dtype} {tuple(real.shape)}")
        if cells > real.shape[2]:
            raise UserError(f"real images: {real.shape[2]} pixels a side hold no grid of {cells} cells; ask for fewer cells")
        self.size, self.cells = real.shape[2], cells
        places = torch.arange(self.size)
        for offset in (0.5, 0.0):  # the two conventions of nearest-neighbour enlargement: by centres, by corners
            index = ((places + offset) * cells / self.size).long()
            self.starts = torch.searchsorted(index, torch.arange(cells + 1))
            if all(bool((self._spread(part) == 0).all()) for part in torch.split(real, 500)):
                break
        else:
            raise UserError(
                f"real images: not constant on a grid of {cells} x {cells} cells; prepare them again, or ask for another"
            )
        seen = torch.zeros(256**3, dtype=torch.bool)
        for part in torch.split(real, 500):
            seen[_packed(self.shrink(part))] = True
        colours = seen.nonzero()[:, 0]
        self.palette = torch.stack([colours >> 16, colours >> 8 & 255, colours & 255], 1).to(torch.uint8)

    def on_grid(self, x: Tensor, tolerance: int = TOLERANCE) -> Tensor:
        """Return (N,): share of each image's cells all of whose pixels lie within `tolerance` grey levels of one colour."""
        parts = [(self._spread(_bytes(part)) <= 2 * tolerance).all(1) for part in torch.split(x, 100)]
        return torch.cat(parts).double().mean((1, 2))

    def in_palette(self, x: Tensor, tolerance: int = TOLERANCE) -> Tensor:
        """Return (N,): share of each image's pixels within `tolerance` grey levels, in every channel, of a palette colour."""
        near = torch.zeros(256, 256, 256, dtype=torch.bool)
        for colour in self.palette.tolist():
            near[tuple(slice(max(level - tolerance, 0), level + tolerance + 1) for level in colour)] = True
        near = near.flatten()
        return torch.cat([near[_packed(_bytes(part))].double().mean((1, 2)) for part in torch.split(x, 100)])

    def snap(self, x: Tensor) -> Tensor:
        """Return (N, 3, cells, cells) uint8: the palette colour nearest to the mean of each cell."""
        palette = self.palette.float()
        snapped = []
        for part in torch.split(x, 100):
            means = torch.stack([columns.mean(3) for columns in self._along(pixels(part).cpu(), 3)], 3)
            means = torch.stack([rows.mean(2) for rows in self._along(means, 2)], 2) * 255  # (n, 3, cells, cells)
            flat = means.permute(0, 2, 3, 1).reshape(-1, 3)
            index = torch.addmm(palette.square().sum(1), flat, palette.T, alpha=-2).argmin(1)
            snapped.append(self.palette[index].view(len(part), self.cells, self.cells, 3).permute(0, 3, 1, 2))
        return torch.cat(snapped)

    def _along(self, x: Tensor, axis: int) -> tuple[Tensor, ...]:
        return torch.tensor_split(x, self.starts[1:-1].tolist(), dim=axis)

    def shrink(self, real: Tensor) -> Tensor:
        """Return (N, 3, cells, cells): one pixel of each cell, all that real images hold."""
        return real[:, :, self.starts[:-1]][:, :, :, self.starts[:-1]]

    def _spread(self, x: Tensor) -> Tensor:
        """Return (n, 3, cells, cells): highest less lowest level in each cell."""
        high = torch.stack([rows.amax(2) for rows in self._along(x, 2)], 2)
        low = torch.stack([rows.amin(2) for rows in self._along(x, 2)], 2)
        high = torch.stack([columns.amax(3) for columns in self._along(high, 3)], 3)
        return high - torch.stack([columns.amin(3) for columns in self._along(low, 3)], 3)


def pixel_measures(samples: Tensor, test: Tensor, grid: Grid) -> Measured:
    """Return on_grid and in_palette of (N, 3, size, size) samples, means over images, beside those of test images.

    Raises:
        UserError: no images, different shapes, or values that are not finite.
    """
    images(samples, "samples"), images(test, "test images")
    same_dimensions(samples=samples, test=test)
    return {
        "on_grid": mean(grid.on_grid(samples), real=grid.on_grid(test)),
        "in_palette": mean(grid.in_palette(samples), real=grid.in_palette(test)),
    }


def _bytes(x: Tensor) -> Tensor:
    return x.cpu() if x.dtype == torch.uint8 else x.cpu().float().clamp(0, 1).mul(255).round().to(torch.uint8)


def _packed(x: Tensor) -> Tensor:
    """Return (n, height, width): the colours of (n, 3, height, width) bytes as one number each."""
    red, green, blue = x.long().unbind(1)
    return red << 16 | green << 8 | blue
