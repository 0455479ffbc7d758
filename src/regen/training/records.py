"""What a training leaves for people to look at: its history and pictures of its progress."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from regen.models.base import TrainedModel

PREVIEW = 64  # images a picture


def write_history(folder: Path, history: list[dict[str, float]]) -> None:
    """Write history.csv, a row an epoch: whole, beside the old one, then renamed, so that a reader never sees half of it."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(history[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: v if isinstance(v, int) else f"{v:.6g}" for k, v in row.items()} for row in history)
    partial = folder / "history.csv.partial"
    partial.write_text(text.getvalue(), encoding="utf-8")
    partial.replace(folder / "history.csv")


@torch.no_grad()
def write_preview(model: TrainedModel, batch: dict[str, Tensor], folder: Path, epoch: int) -> None:
    """Write progress/epoch_NNNN.png: 64 samples, or 64 reconstructions where a model has no sampler. Other models: nothing."""
    sample: Any = getattr(model, "sample", None)
    reconstruct: Any = getattr(model, "reconstruct", None)
    if batch["x"].ndim != 4 or not (sample or reconstruct):
        return
    images = sample(PREVIEW, seed=0) if sample else reconstruct(batch["x"][:PREVIEW])
    levels = images.clamp(0, 1).mul(255).round().to(torch.uint8).cpu()
    levels = torch.cat([levels, levels.new_zeros(-len(levels) % 8, *levels.shape[1:])])  # a small batch: black to the row's end
    rows = [torch.cat(list(row), dim=2) for row in torch.split(levels, 8)]
    pixels = torch.cat(rows, dim=1).permute(1, 2, 0).squeeze(-1).numpy()  # (8 H, 8 W[, 3])
    path = folder / "progress" / f"epoch_{epoch:04d}.png"
    path.parent.mkdir(exist_ok=True)
    partial = path.with_suffix(".partial")
    Image.fromarray(pixels).save(partial, format="PNG")
    os.replace(partial, path)
