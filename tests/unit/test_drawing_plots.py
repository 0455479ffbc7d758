"""Plots: they hold what was given, and have the same bytes for the same numbers."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from regen.drawing import plots
from regen.errors import UserError


@pytest.fixture
def history(tmp_path) -> Path:
    path = tmp_path / "history.csv"
    rows = [f"{epoch},{epoch * 10},{epoch * 80},{1 / epoch},{2 - 1 / epoch},0.001" for epoch in range(1, 6)]
    path.write_text("\n".join(["epoch,step,examples,distortion,rate,learning_rate", *rows]) + "\n")
    return path


def draw_all(history: Path, folder: Path, ending: str) -> list[Path]:
    outs = [folder / f"{name}.{ending}" for name in ("history", "curves", "scatter", "bars", "confusion")]
    plots.training_curves(history, outs[0], bounds={"distortion": 0.1})
    plots.curves({"a": ([1, 2], [3, 4]), "b": ([1, 2], [4, 3])}, outs[1], "x", "y", errors={"a": [0.1, 0.2]}, levels={"bound": 2})
    plots.scatter(np.random.default_rng(0).normal(size=(50, 2)), outs[2], np.arange(50) % 3, ["one", "four", "eight"])
    plots.bars({"VAE": 3.0, "GAN": 1.0}, outs[3], "distance", errors={"VAE": 0.1}, level=0.5)
    plots.confusion([[9, 1], [0, 8]], ["a", "b"], outs[4])
    return outs


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_every_plot_has_the_same_bytes_every_time_whatever_the_users_style(history, tmp_path, ending) -> None:
    first = [path.read_bytes() for path in draw_all(history, tmp_path / "first", ending)]
    with mpl.rc_context({"axes.facecolor": "pink", "font.size": 30, "svg.hashsalt": None}):
        second = [path.read_bytes() for path in draw_all(history, tmp_path / "second", ending)]
    assert first == second


def test_pictures_tell_of_no_program_and_no_date(history, tmp_path) -> None:
    for path in draw_all(history, tmp_path, "png"):
        with Image.open(path) as image:
            assert not {"Software", "date", "Creation Time"} & set(image.info)
    for path in draw_all(history, tmp_path, "svg"):
        assert "dc:date" not in path.read_text()
        assert "dc:creator" not in path.read_text()


def test_training_curves_have_a_panel_for_each_loss_and_none_for_the_counters(history, tmp_path, monkeypatch) -> None:
    titles: list[str] = []
    monkeypatch.setattr("matplotlib.axes.Axes.set_title", lambda self, label, **kwargs: titles.append(label))
    plots.training_curves(history, tmp_path / "curves.png")
    assert titles == ["distortion", "rate", "learning rate"]


def test_labels_of_lines_that_end_together_are_kept_apart(tmp_path, monkeypatch) -> None:
    heights: dict[str, float] = {}
    from matplotlib.axes import Axes

    annotate = Axes.annotate

    def note(self, text, xy, *args, **kwargs):
        heights[text] = xy[1]
        return annotate(self, text, xy, *args, **kwargs)

    monkeypatch.setattr(Axes, "annotate", note)
    plots.curves({"a": ([0, 1], [0, 1.0]), "b": ([0, 1], [0, 1.001]), "c": ([0, 1], [0, 0.5])}, tmp_path / "x.png", "x", "y")
    assert heights["b"] - heights["a"] > 0.04
    assert heights["c"] == 0.5


def test_a_missing_or_empty_history_is_named(tmp_path) -> None:
    with pytest.raises(UserError, match=r"history\.csv: no such file"):
        plots.training_curves(tmp_path / "history.csv", tmp_path / "x.png")
    (tmp_path / "history.csv").write_text("epoch,step,examples,loss\n")
    with pytest.raises(UserError, match=r"history\.csv: no rows"):
        plots.training_curves(tmp_path / "history.csv", tmp_path / "x.png")


def test_points_that_are_not_in_the_plane_are_refused(tmp_path) -> None:
    with pytest.raises(UserError, match=r"expected points of shape \(N, 2\)"):
        plots.scatter(np.zeros((4, 3)), tmp_path / "x.png")
