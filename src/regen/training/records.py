"""What a training leaves for people to look at: its history and pictures of its progress."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from regen.data import folders
from regen.models.base import TrainedModel

PREVIEW, ROW = 64, 8  # images a picture, and a row of it


def write_history(folder: Path, history: list[dict[str, float]]) -> None:
    """Write history.csv, a row an epoch."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(history[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: v if isinstance(v, int) else f"{v:.6g}" for k, v in row.items()} for row in history)
    folders.write(folder / "history.csv", text.getvalue())


@torch.no_grad()
def write_preview(model: TrainedModel, batch: dict[str, Tensor], folder: Path, epoch: int) -> None:
    """Write progress/epoch_NNNN.png: 64 samples, or 64 reconstructions where a model has no sampler. Other models: nothing."""
    sample: Any = getattr(model, "sample", None)
    reconstruct: Any = getattr(model, "reconstruct", None)
    if batch["x"].ndim != 4 or not (sample or reconstruct):
        return
    images = sample(PREVIEW, seed=0) if sample else reconstruct(batch["x"][:PREVIEW])
    levels = images.clamp(0, 1).mul(255).round().to(torch.uint8).cpu()
    levels = torch.cat([levels, levels.new_zeros(-len(levels) % ROW, *levels.shape[1:])])
    rows = levels.reshape(-1, ROW, *levels.shape[1:]).permute(0, 3, 1, 4, 2).flatten(2, 3).flatten(0, 1)  # (rows * H, ROW * W, C)
    content = io.BytesIO()
    Image.fromarray((rows[:, :, 0] if rows.shape[2] == 1 else rows).numpy()).save(content, format="PNG")
    (folder / "progress").mkdir(exist_ok=True)
    folders.write(folder / "progress" / f"epoch_{epoch:04d}.png", content.getvalue())
