"""Synthetic sections of cell-stained cortex: dark cell bodies on light ground, drawn by a marked point process.

They stand in for real sections, whose layout they share; they are not measurements of any brain. In one section, in this
order:

1. a depth below the surface of the tissue, 0 at the surface and beyond it, made wavy by smooth noise;
2. an intensity of cells as a function of depth: a sparse outer layer, a dense folded band, a deep layer, and white matter,
   with round islands of small, crowded cells (the islands of Calleja of the olfactory tubercle); vessels and tears hold none;
3. cells as a Poisson process of that intensity, each with its size, elongation, orientation and stain, large ones with a
   pale nucleus and a dark nucleolus;
4. optical densities add up and light falls by Beer and Lambert's sampler, I = I_0 10^-D, through an uneven ground of neuropil;
5. the microscope: uneven illumination, a focus that differs by section, scratches of the knife, grain, 8 bits.

Each brain has a staining level, a section thickness and a light of its own; each section a magnification and a cut.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from regen.seeding import numpy_generator

IMAGES = {"B01": 276, "B02": 377, "B05": 242, "B07": 245, "B20": 208}  # a brain, as in the reference's file
SIDES = (484, 5840)  # pixels: the least and the largest of the reference's widths and heights
MEDIAN_SIDES, SPREAD = np.array([1030.0, 1085.0]), 0.48  # of the log-normal sampler of heights and widths
PLANES = {0.0: 0.5, 1.5: 0.3, 3.0: 0.35}  # blur of a focal plane, in units of length, and its share of the cells
CELLS_AT_ONCE = 1 << 22  # values, to bound the memory of the drawing


@dataclass(frozen=True)
class Stain:
    """What the sections of one brain have in common."""

    light: float  # grey level of the empty glass
    neuropil: float  # optical density of tissue without cells
    cells: float  # optical density of a cell's body
    crowding: float  # cells an area, relative to the average brain
    thickness: float  # blur by cells out of focus, relative


def stain(brain: str, seed: int) -> Stain:
    """Return the staining of one brain: levels differ between brains more than within one."""
    rng = numpy_generator(seed, "stain", brain)
    return Stain(
        light=rng.uniform(222, 246),
        neuropil=rng.uniform(0.06, 0.15),
        cells=rng.uniform(0.34, 0.52),
        crowding=rng.uniform(0.85, 1.2),
        thickness=rng.uniform(0.8, 1.25),
    )


def sides(brain: str, number: int, scale: float, seed: int) -> tuple[int, int]:
    """Return height and width of one section: right-skewed and correlated, the reference's times `scale`."""
    rng = numpy_generator(seed, "sides", brain, number)
    common, own = rng.normal(), rng.normal(size=2)
    full = MEDIAN_SIDES * np.exp(SPREAD * (np.sqrt(0.6) * common + np.sqrt(0.4) * own))
    height, width = np.maximum(64, np.round(np.clip(full, *SIDES) * scale)).astype(int)
    return int(height), int(width)


def section(brain: str, number: int, scale: float, seed: int) -> np.ndarray:
    """Return one section, uint8 (height, width): the same for the same arguments."""
    height, width = sides(brain, number, scale, seed)
    rng = numpy_generator(seed, "section", brain, number)
    look = stain(brain, seed)
    magnification = 1.7 * float(np.exp(rng.normal(0.0, 0.35))) * scale**0.5  # pixels a unit of length; a cell is 2 to 7 units
    depth, tissue = _anatomy(height, width, magnification, rng)
    islands = _islands(height, width, magnification, depth, rng)
    gaps = _gaps(height, width, magnification, rng)
    focus = rng.uniform(0.5, 1.1)
    density = look.neuropil * _neuropil(depth, rng) * tissue * gaps
    for plane, share in PLANES.items():  # a section is thicker than the focus is deep
        cells = _cells(depth, islands, tissue * gaps, magnification, share * look.crowding, rng)
        blur = np.hypot(focus, plane * look.thickness) * magnification
        density += look.cells * ndimage.gaussian_filter(cells, blur, mode="nearest")
    light = look.light * rng.uniform(0.97, 1.02) * (1 + 0.05 * _noise(height, width, 2.0, rng))  # uneven illumination
    grey = light * 10**-density * _scratches(width, rng)[None, :]
    grey += rng.normal(0.0, rng.uniform(1.5, 3.0), (height, width)).astype(np.float32)
    return np.asarray(np.clip(np.rint(grey), 0, 255).astype(np.uint8))


def _anatomy(height: int, width: int, magnification: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the depth below the surface, in units of length, and the share of tissue in each pixel."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    angle = rng.normal(0.0, 0.5) if rng.random() < 0.8 else rng.uniform(-np.pi, np.pi)  # the surface is mostly above
    along = np.cos(angle) * (x - width / 2) + np.sin(angle) * (y - height / 2)
    across = -np.sin(angle) * (x - width / 2) + np.cos(angle) * (y - height / 2)
    reach = abs(np.sin(angle)) * width / 2 + abs(np.cos(angle)) * height / 2
    bend = rng.normal(0.0, 0.35) * along**2 / max(height, width)
    beyond = rng.uniform(-0.25, 0.45) * reach  # how much glass lies beyond the surface
    waves = 0.07 * min(height, width) * _noise(height, width, rng.uniform(2, 5), rng)
    depth = (across + reach - beyond + bend + waves) / magnification
    frayed = depth + 1.5 * _noise(height, width, max(height, width) / (14 * magnification), rng)
    return depth, np.clip(frayed / 2.0, 0, 1)


def _islands(height: int, width: int, magnification: float, depth: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return how far each pixel belongs to an island of crowded small cells, from 0 to 1."""
    inside = np.zeros((height, width), np.float32)
    y, x = np.ogrid[0:height, 0:width]
    for _ in range(rng.poisson(height * width / (190 * magnification) ** 2)):
        row, column = rng.integers(height), rng.integers(width)
        if not 60 < depth[row, column] < 420:
            continue
        a = rng.lognormal(np.log(26), 0.35) * magnification
        b, turn = a * rng.uniform(0.45, 1.0), rng.uniform(0, np.pi)
        top, bottom = max(0, int(row - 1.5 * a)), int(row + 1.5 * a) + 1
        left, right = max(0, int(column - 1.5 * a)), int(column + 1.5 * a) + 1
        dy, dx = y[top:bottom] - row, x[:, left:right] - column
        r = np.hypot((np.cos(turn) * dx + np.sin(turn) * dy) / a, (np.cos(turn) * dy - np.sin(turn) * dx) / b)
        part = inside[top:bottom, left:right]
        np.maximum(part, np.clip(3.5 * (1.05 - r), 0, 1), out=part)
    return inside


def _gaps(height: int, width: int, magnification: float, rng: np.random.Generator) -> np.ndarray:
    """Return 0 in vessels and tears, 1 elsewhere: round cuts of vessels, and now and then a long tear."""
    kept = np.ones((height, width), np.float32)
    y, x = np.ogrid[0:height, 0:width]
    for _ in range(rng.poisson(height * width / (210 * magnification) ** 2)):
        row, column, turn = rng.integers(height), rng.integers(width), rng.uniform(0, np.pi)
        b = rng.lognormal(np.log(4.5), 0.5) * magnification
        a = b * rng.choice([1.0, 1.6, 6.0], p=[0.5, 0.35, 0.15])
        top, bottom = max(0, int(row - 1.3 * a)), int(row + 1.3 * a) + 1
        left, right = max(0, int(column - 1.3 * a)), int(column + 1.3 * a) + 1
        dy, dx = y[top:bottom] - row, x[:, left:right] - column
        r = np.hypot((np.cos(turn) * dx + np.sin(turn) * dy) / a, (np.cos(turn) * dy - np.sin(turn) * dx) / b)
        part = kept[top:bottom, left:right]
        np.minimum(part, np.clip(1 + b * (r - 1), 0, 1), out=part)
    if rng.random() < 0.2:
        slope, wave = rng.normal(0, 0.4), 0.05 * height * _noise(1, width, 4, rng)
        middle = rng.uniform(0, height) + slope * (x - width / 2) + wave
        breadth = np.clip(rng.uniform(2, 7) * magnification * (0.5 + _noise(1, width, 3, rng)), 0, None)
        kept *= np.clip(np.abs(y - middle) - breadth, 0, 1)
    return kept


def _neuropil(depth: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the ground between cells, about 1: denser in the band of cells, paler in white matter, cloudy."""
    profile = np.interp(depth, [0, 8, 60, 90, 150, 190, 430, 520], [1.3, 0.8, 0.8, 1.35, 1.35, 1.05, 1.0, 0.6])
    height, width = depth.shape
    clouds = 0.22 * _noise(height, width, 7, rng) + 0.10 * _noise(height, width, 30, rng)
    return np.asarray(profile * (1 + clouds), np.float32)


def _cells(
    depth: np.ndarray, islands: np.ndarray, tissue: np.ndarray, magnification: float, crowding: float, rng: np.random.Generator
) -> np.ndarray:
    """Return the optical density of all cell bodies, in units of one body's."""
    height, width = depth.shape
    folded = depth + 22 * _noise(height, width, max(height, width) / (170 * magnification), rng)
    layers = np.interp(
        folded, [0, 3, 10, 62, 76, 96, 128, 150, 200, 330, 430, 520, 700],
        [0, 5, 2.2, 2.6, 9, 21, 19, 8.5, 6.0, 7.0, 6.0, 3.0, 2.6],
    )  # fmt: skip
    crowd = np.maximum(1 + 0.35 * _noise(height, width, 12, rng), 0.1)
    intensity = (layers * crowd * (1 - islands) + 42 * islands) * tissue * crowding * 1e-3  # cells a square unit
    most = float(intensity.max(initial=0.0))
    n = rng.poisson(most * height * width / magnification**2)
    y, x, u = rng.uniform(0, height, n), rng.uniform(0, width, n), rng.random(n)
    kept = u * most < intensity[y.astype(int), x.astype(int)]
    y, x = y[kept], x[kept]
    at = (y.astype(int), x.astype(int))
    crowded = islands[at] > 0.5
    white = depth[at] > 470
    radius = np.where(crowded, rng.lognormal(np.log(2.0), 0.15, len(y)), rng.lognormal(np.log(3.1), 0.34, len(y)))
    radius = np.where(white, rng.lognormal(np.log(1.7), 0.2, len(y)), radius) * magnification
    long = 1 + rng.gamma(2.0, 0.16, len(y)) * ~crowded  # pyramidal bodies point to the surface
    turn = rng.normal(np.pi / 2, 0.5, len(y)) + rng.uniform(-0.3, 0.3)
    dark = rng.lognormal(-0.1, 0.32, len(y)) * np.where(crowded, 1.25, 1.0)
    return _drawn(height, width, y, x, radius, long, turn, dark)


def _drawn(
    height: int, width: int, y: np.ndarray, x: np.ndarray,
    radius: np.ndarray, long: np.ndarray, turn: np.ndarray, dark: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Add up soft ellipses: cells of like size at a time, each a small square of pixels."""
    total = np.zeros(height * width)
    half = np.ceil(radius * long + 1.5).astype(int)
    for size in np.unique(half):
        step = np.arange(-size, size + 1)
        members = np.flatnonzero(half == size)
        for chosen in np.array_split(members, 1 + len(members) * len(step) ** 2 // CELLS_AT_ONCE):
            row, column = y[chosen].astype(int), x[chosen].astype(int)
            dy = (row - y[chosen] + 0.5).astype(np.float32)[:, None, None] + step[:, None].astype(np.float32)
            dx = (column - x[chosen] + 0.5).astype(np.float32)[:, None, None] + step.astype(np.float32)
            cos, sin = (f(turn[chosen]).astype(np.float32)[:, None, None] for f in (np.cos, np.sin))
            a, b = ((radius[chosen] * f).astype(np.float32)[:, None, None] for f in (long[chosen] ** 0.5, long[chosen] ** -0.5))
            r = np.hypot((cos * dx + sin * dy) / a, (cos * dy - sin * dx) / b)
            body = np.clip(0.5 + (1 - r) * b, 0, 1)  # a soft edge of one pixel
            nucleus = np.clip((0.55 - r) * b, 0, 1) - 1.3 * np.clip((0.2 - r) * b, 0, 1)
            body -= 0.45 * np.clip((b - 3.2) / 2, 0, 1) * nucleus  # seen in large cells only
            body *= dark[chosen].astype(np.float32)[:, None, None]
            rows, columns = row[:, None, None] + step[:, None], column[:, None, None] + step
            inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
            total += np.bincount((rows * width + columns)[inside], body[inside], minlength=height * width)
    return total.reshape(height, width).astype(np.float32)


def _scratches(width: int, rng: np.random.Generator) -> np.ndarray:
    """Return the light that passes each column: the knife leaves faint lines."""
    lines = np.ones(width, np.float32)
    for column in rng.integers(0, width, rng.poisson(1.2)):
        lines[column : column + rng.integers(1, 4)] *= rng.uniform(0.93, 1.05)
    return lines


def _noise(height: int, width: int, waves: float, rng: np.random.Generator) -> np.ndarray:
    """Return smooth noise of mean 0 and deviation about 1, with `waves` bumps along the longer side."""
    spacing = max(max(height, width) / max(waves, 1.0), 1.0)
    coarse = rng.normal(size=(int(height / spacing) + 4, int(width / spacing) + 4))
    rows = np.linspace(1, 1 + height / spacing, height)
    columns = np.linspace(1, 1 + width / spacing, width)
    smooth = _spline(coarse, rows)
    return (1.6 * _spline(smooth.T, columns).T).astype(np.float32)


def _spline(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Interpolate rows of `values` at fractional `places` with cubic B-splines: no seams between grid cells."""
    whole = places.astype(int)
    t = (places - whole)[:, None]
    weights = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)
    top = len(values) - 1
    total: np.ndarray = sum(weight / 6 * values[np.minimum(whole + k - 1, top)] for k, weight in enumerate(weights))
    return total
