"""Plots in one style: training curves, scatter plots, bars. The same bytes for the same numbers, as PNG or SVG."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from regen.errors import UserError, shown

Numbers = npt.ArrayLike

# Okabe & Ito 2008: told apart by people with any colour vision; yellow is left out, too light on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
INK, FAINT, MUTED = "#404044", "#E4E4E0", "#77777C"
FEW = 12  # points up to which each is marked
NOT_LOSSES = ("epoch", "step", "examples", "iteration")
STYLE: dict[str, Any] = {
    "figure.dpi": 110,
    "savefig.dpi": 110,
    "figure.facecolor": "white",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#B8B8B4",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.formatter.useoffset": False,
    "grid.color": FAINT,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "svg.hashsalt": "regen",  # else the ids in an SVG are random
    "svg.fonttype": "path",
}


def training_curves(history: Path, out: Path, bounds: Mapping[str, float] | None = None, x: str = "") -> None:
    """Draw every column of history.csv but the counters against `x`, by default its first column, one panel each.

    `bounds`, by column, are dashed lines with their values.

    Raises:
        UserError: no such file, no rows, or no column `x`.
    """
    columns = _columns(history)
    x = x or next(iter(columns))  # epoch, or the iteration of a fit in closed form
    if x not in columns:
        raise UserError(f"{history}: no column {x!r}; there are {', '.join(columns)}")
    names = [name for name in columns if name not in NOT_LOSSES]
    wide = 2 if len(names) in (2, 4) else min(3, len(names))
    high = -(-len(names) // wide)
    with figure(out, (3.6 * wide, 2.5 * high), high, wide) as axes:
        for name, axis, colour in zip(names, axes, itertools.cycle(COLOURS), strict=False):
            _line(axis, columns[x], columns[name], colour)
            axis.set_title(plain(name.replace("_", " ")))
            if (bound := (bounds or {}).get(name)) is not None:
                _level(axis, bound, f"bound {_number(bound)}")
        for axis in axes[max(0, len(names) - wide) : len(names)]:
            axis.set_xlabel(plain(x))


def curves(
    lines: Mapping[str, tuple[Numbers, Numbers]],
    out: Path,
    xlabel: str,
    ylabel: str,
    errors: Mapping[str, Numbers] | None = None,
    levels: Mapping[str, float] | None = None,
) -> None:
    """Draw one line for each name, (x, y), labelled at its end; `errors` are half-widths of a band, `levels` dashed lines."""
    with figure(out, (6.4, 3.8)) as (axis,):
        ends = []
        for (name, (x, y)), colour in zip(lines.items(), itertools.cycle(COLOURS), strict=False):
            x, y = np.asarray(x, float), np.asarray(y, float)
            _line(axis, x, y, colour)
            if errors and name in errors:
                half = np.asarray(errors[name], float)
                axis.fill_between(x, y - half, y + half, color=colour, alpha=0.18, linewidth=0)
            ends.append((float(x[-1]), float(y[-1]), name, colour))
        for name, level in (levels or {}).items():
            _level(axis, level, plain(name))
        axis.set(xlabel=xlabel, ylabel=ylabel)
        _label_ends(axis, ends)


def scatter(
    points: Numbers,
    out: Path,
    labels: Sequence[int] | npt.NDArray[Any] | None = None,
    names: Sequence[str] | None = None,
    xlabel: str = "",
    ylabel: str = "",
) -> None:
    """Draw (N, 2) points, coloured by their integer `labels`, each class named at its median."""
    xy = np.asarray(points, float)
    if xy.ndim != 2 or xy.shape[1] != 2:
        raise UserError(f"scatter plot: expected points of shape (N, 2), got {xy.shape}")
    classes = np.zeros(len(xy), int) if labels is None else np.asarray(labels, int)
    size = float(np.clip(4000 / max(len(xy), 1), 4, 30))
    with figure(out, (5.6, 5.2)) as (axis,):
        present = np.unique(classes)
        palette = COLOURS if len(present) <= len(COLOURS) else many_colours(len(present))
        colours = {int(c): palette[i] for i, c in enumerate(present)}
        axis.scatter(*xy.T, s=size, c=[colours[int(c)] for c in classes], alpha=0.55, linewidths=0)
        for c in present if labels is not None else []:
            x, y = np.median(xy[classes == c], axis=0)
            text = plain(names[int(c)]) if names is not None else str(c)
            box = {"boxstyle": "round,pad=0.25", "facecolor": "white", "edgecolor": colours[int(c)], "alpha": 0.9}
            axis.text(x, y, text, ha="center", va="center", fontsize=9, bbox=box)
        axis.set(xlabel=xlabel, ylabel=ylabel)
        axis.set_aspect("equal", "datalim")


def bars(
    values: Mapping[str, float],
    out: Path,
    xlabel: str,
    errors: Mapping[str, float] | None = None,
    level: float | None = None,
    level_label: str = "",
    published: Mapping[str, float] | None = None,
) -> None:
    """Draw horizontal bars, first name on top, with their values (and +- `errors`); `level` is a dashed line.

    `published`: figures of others, each a diamond on its bar.
    """
    names = list(values)
    heights = [values[name] for name in names]
    half = [(errors or {}).get(name, 0.0) for name in names]
    with figure(out, (6.4, 0.42 * len(names) + 1.1)) as (axis,):
        places = np.arange(len(names))[::-1]
        axis.barh(places, heights, height=0.62, color=COLOURS[0], alpha=0.85)
        if errors:
            axis.errorbar(heights, places, xerr=half, fmt="none", ecolor=INK, elinewidth=1.2, capsize=3)
        published = published or {}
        reach = max([abs(v) + e for v, e in zip(heights, half, strict=True)] + [abs(level or 0.0), *published.values()]) or 1.0
        for place, name, value, error in zip(places, names, heights, half, strict=True):
            text = _number(value) + (f" ± {_number(error, 2)}" if errors and name in errors else "")
            end = value + error if value >= 0 else 0.0
            room = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}  # legible on the dashed line
            axis.text(end + 0.015 * reach, place, text, va="center", fontsize=9, bbox=room, zorder=3)
        if published:
            at = [place for place, name in zip(places, names, strict=True) if name in published]
            marked = axis.scatter([published[name] for name in names if name in published], at, marker="D", s=36, zorder=4,
                                  facecolor="white", edgecolor=COLOURS[1], linewidth=1.4)  # fmt: skip
            axis.legend([marked], ["published"], frameon=False, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0)
        if level is not None:
            axis.axvline(level, color=MUTED, linestyle=(0, (4, 3)), linewidth=1.2)
            side = "left" if level < reach / 2 else "right"
            label = f"{plain(level_label)} {_number(level)}".strip()
            axis.text(level, 1.02, label, transform=axis.get_xaxis_transform(), ha=side, fontsize=9, color=MUTED)
        axis.set_yticks(places, [plain(name) for name in names])
        axis.set_xlabel(xlabel)
        axis.set_xlim(min(0.0, *heights) if heights else 0.0, 1.16 * reach)
        axis.grid(axis="y", visible=False)


def confusion(counts: Numbers, names: Sequence[str], out: Path, xlabel: str = "read", ylabel: str = "true") -> None:
    """Draw a (K, K) table of counts, rows = truth, shaded by their share of the row; each count is written in its cell."""
    table = np.asarray(counts, float)
    shares = table / np.maximum(table.sum(1, keepdims=True), 1)
    texts, longest = [plain(name) for name in names], max(map(len, names))
    side = 1.2 + 0.46 * len(names) + 0.06 * longest
    turned = {"rotation": 45, "rotation_mode": "anchor", "ha": "right"} if longest > 4 else {}
    with figure(out, (side, side)) as (axis,):
        axis.imshow(np.sqrt(shares), cmap="Blues", vmin=0, vmax=1.15)  # the root: rare errors are seen too
        for (row, column), count in np.ndenumerate(table):
            if count:
                colour = "white" if shares[row, column] > 0.3 else INK
                axis.text(column, row, f"{count:g}", ha="center", va="center", fontsize=8, color=colour)
        axis.set_xticks(range(len(names)), texts, **turned)
        axis.set_yticks(range(len(names)), texts)
        axis.set(xlabel=xlabel, ylabel=ylabel)
        axis.grid(visible=False)


def plain(text: str) -> str:
    """Return a name, whoever gave it, as a text that is drawn as it stands: its dollar signs begin no formula."""
    return shown(text).replace("$", r"\$")


@contextmanager
def figure(out: Path, size: tuple[float, float], high: int = 1, wide: int = 1, **options: Any) -> Iterator[list[Any]]:
    """Yield the axes, made with matplotlib's `subplots` options; then save the figure.

    Without dates and program names: the bytes depend on the numbers alone.
    """
    import matplotlib as mpl  # takes a second to import
    from matplotlib.figure import Figure

    style: dict[Any, Any] = {**mpl.rcParamsDefault, "backend": "agg", **STYLE}  # whatever the reader's matplotlibrc says
    with mpl.rc_context(style):
        drawn = Figure(figsize=size, layout="constrained")
        axes = list(drawn.subplots(high, wide, squeeze=False, **options).flat)
        yield axes
        for axis in axes:
            if not axis.has_data():
                axis.set_axis_off()
        out.parent.mkdir(parents=True, exist_ok=True)
        metadata = {"Date": None, "Creator": None} if out.suffix == ".svg" else {"Software": None}
        drawn.savefig(out, metadata=metadata)


def _columns(history: Path) -> dict[str, npt.NDArray[np.float64]]:
    try:
        with history.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError:
        raise UserError(f"{history}: no such file; train the model first") from None
    if not rows:
        raise UserError(f"{history}: no rows; train the model first")
    return {name: np.array([float(row[name] or "nan") for row in rows]) for name in rows[0]}


def _line(axis: Any, x: Numbers, y: Numbers, colour: str) -> None:
    """Draw a line; the points of a short one are marked, and there is no tick between whole numbers."""
    values = np.asarray(x, float)
    axis.plot(values, y, color=colour, marker="o" if values.size <= FEW else None, markersize=5)
    if (values == values.round()).all():
        axis.xaxis.get_major_locator().set_params(integer=True)


def _level(axis: Any, level: float, label: str) -> None:
    """Draw a dashed line, with its label on the side away from the data."""
    axis.axhline(level, color=MUTED, linestyle=(0, (4, 3)), linewidth=1.2)
    low, high = axis.get_ylim()
    below = level < (low + high) / 2
    room = 0.1 * (high - low)
    axis.set_ylim(min(low, level - room) if below else low, high if below else max(high, level + room))
    axis.annotate(
        label,
        (1, level),
        xytext=(-2, -3 if below else 3),
        xycoords=axis.get_yaxis_transform(),
        textcoords="offset points",
        ha="right",
        va="top" if below else "bottom",
        fontsize=9,
        color=MUTED,
    )


def _number(value: float, digits: int = 4) -> str:
    return f"{float(f'{value:.{digits}g}'):g}"


def _label_ends(axis: Any, ends: list[tuple[float, float, str, str]]) -> None:
    """Name each line at its right end, moved apart where ends are close together."""
    low, high = axis.get_ylim()
    apart = 0.055 * (high - low)
    last = -np.inf
    right = max(x for x, *_ in ends)
    for _, y, name, colour in sorted(ends, key=lambda end: end[1]):
        last = max(y, last + apart)
        axis.annotate(
            plain(name), (right, last), xytext=(6, 0), textcoords="offset points", va="center", color=colour,
            annotation_clip=False,
        )  # fmt: skip


def many_colours(n: int) -> list[str]:
    """Return n colours along a ramp, for more classes than COLOURS tells apart."""
    import matplotlib as mpl

    ramp = mpl.colormaps["turbo"](np.linspace(0.05, 0.95, n))
    return [mpl.colors.to_hex(colour) for colour in ramp]
