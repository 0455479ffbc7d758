"""Made images of 64 px, of any number: packed, prepared, trained on and evaluated, each in a process of its own.

    python benchmarks/larger_than_memory.py all <folder> 1000000

Each says its seconds, those of the processor (which other programs beside it change less), and its peak of resident memory beyond
what it held after its imports; `each_mib` is the most that a process held which decodes pictures. The folder is left as it is.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import regen.process  # noqa: F401
from regen import families
from regen.data import arrays, loaders
from regen.data.images import index, preparation
from regen.data.images.decoding import Form
from regen.data.images.preparation import Division, Order
from regen.data.images.sources import Archive
from regen.data.loaders import Share
from regen.data.loaders import arrays as ways
from regen.data.loaders.arrays import ArrayBatches
from regen.evaluation.run import evaluate
from regen.evaluation.subject import Subject
from regen.models.base import DataSpec, TrainedModel
from regen.training.distributed import Devices
from regen.training.loop import train

SIDE, BATCH, ARCHIVE = 64, 64, "pictures.zip"
STEPS = 200  # where both ways are timed; of `all`, one whole pass
# A small and fast model: the faster it takes its images, the more of its time it would wait for them.
BLOCK = {
    "dataset": "made", "family": "vae", "latent_dim": 16, "channels": [8, 16, 32], "epochs": 1, "batch_size": BATCH,
    "learning_rate": 1e-3, "flip": True, "shift": 2,
}  # fmt: skip
READER = {
    "dataset": "made", "family": "classifier", "target": "rotation", "channels": [8, 16], "stride": 2, "features": 64,
    "epochs": 1, "batch_size": BATCH, "learning_rate": 1e-3,
}  # fmt: skip


def main() -> None:
    """Run one of them, or all four for a number of images."""
    what, folder, *rest = sys.argv[1], Path(sys.argv[2]), *sys.argv[3:]
    if what == "all":
        steps = [("pack", rest[0]), ("prepare",), ("train", "ahead"), ("evaluate",)]
        results = {}
        for step in steps:
            command = [sys.executable, __file__, step[0], str(folder), *step[1:]]
            results[step[0]] = json.loads(
                subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
            )
            print(step[0], json.dumps(results[step[0]]), flush=True)
        return
    held = _resident()
    start, used = time.perf_counter(), time.process_time()
    steps_ = {"pack": pack, "prepare": prepare, "train": training, "evaluate": evaluation, "both": both}
    result: dict[str, Any] = steps_[what](folder, *rest)
    here, started = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    cpu = time.process_time() - used + started.ru_utime + started.ru_stime
    seconds = {"seconds": round(time.perf_counter() - start, 1), "cpu_seconds": round(cpu, 1)}
    each = {"each_mib": started.ru_maxrss // 1024} if what == "prepare" else {}
    print(json.dumps({**result, **seconds, "mib": round(here.ru_maxrss / 1024 - held), **each}))


def pack(folder: Path, count: str) -> dict[str, Any]:
    """Write made images as JPEG files of an archive."""
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / ARCHIVE, "w") as archive:
        for start in range(0, int(count), 1000):
            for number, pixels in enumerate(made(start, min(int(count), start + 1000)), start):
                content = BytesIO()
                Image.fromarray(pixels).save(content, "JPEG", quality=90)
                archive.writestr(f"{number:08d}.jpg", content.getvalue())
    return {"bytes": (folder / ARCHIVE).stat().st_size}


def prepare(folder: Path) -> dict[str, Any]:
    """Prepare the archive as a data set of `kind: images`, a tenth of it held out."""
    raw, source = folder / "raw", Archive(folder / ARCHIVE, ARCHIVE)
    raw.mkdir()
    start = time.perf_counter()
    index.write(raw, source.items(), ARCHIVE)
    indexed = time.perf_counter()
    form, division = Form(SIDE, "centre", "smooth", True, "#ffffff"), Division(0.1, "", "none", False, True)
    order = Order(raw, source, ARCHIVE, "made", form, division, examples=0, seed=0)
    about = preparation.prepare(order, folder / "work", folder)
    prepared = time.perf_counter()
    arrays.describe(folder, about | {"dataset": "made", "kind": "images", "loader": "arrays"})
    took = {"index": indexed - start, "prepare": prepared - indexed, "describe": time.perf_counter() - prepared}
    return {name: round(seconds, 1) for name, seconds in took.items()}


def made(start: int, stop: int) -> np.ndarray:
    """Return images start to stop: coarse colours, enlarged, with noise on every pixel."""
    draws = np.random.default_rng(start)
    coarse = draws.integers(0, 240, (stop - start, 8, 8, 3), dtype=np.uint8)
    enlarged = coarse.repeat(SIDE // 8, 1).repeat(SIDE // 8, 2)
    enlarged += draws.integers(0, 16, enlarged.shape, dtype=np.uint8)
    return enlarged


def training(folder: Path, way: str) -> dict[str, Any]:
    """Train for one pass, and keep the model."""
    rate, waiting = trained(folder, way, folder / "model", steps=0)
    return {"images_per_second": round(rate), "waiting": waiting}


def both(folder: Path) -> dict[str, Any]:
    """Train on images that are kept in memory, and on the same read ahead."""
    with tempfile.TemporaryDirectory() as work:
        trained(folder, "kept", Path(work))  # kernels are chosen and compiled, files read
        kept, _ = trained(folder, "kept", Path(work))
        ahead, waiting = trained(folder, "ahead", Path(work))
    return {"kept": kept, "ahead": ahead, "waiting": waiting}


def trained(folder: Path, way: str, work: Path, steps: int = STEPS) -> tuple[float, float]:
    """Train a model for so many steps, 0 = one pass; return its images/s and the share of its time that it waited for images."""
    devices = Devices("auto", 1)
    ways.KEPT = {"kept": 1.0, "ahead": 0.0}[way]
    model = families.build(
        families.config({**BLOCK, "steps_per_epoch": steps}, "made"), DataSpec.of("made", arrays.statistics(folder))
    )
    assert isinstance(model, TrainedModel)
    batches = loaders.read(folder, Share(BATCH, 0, steps, device=devices.device, flip=True, shift=2))
    assert isinstance(batches, ArrayBatches)
    assert bool(batches.kept) == (way == "kept")
    waited, began = 0.0, 0.0
    ahead = batches._ahead

    def timed(step: int) -> Any:
        nonlocal waited, began
        start = time.perf_counter()
        batch = ahead(step)
        if step == 1:
            began = start  # the first step waits for its images and compiles its kernels
        elif step:
            waited += time.perf_counter() - start
        return batch

    batches._ahead = timed  # type: ignore[assignment]
    with tempfile.TemporaryDirectory() as part:
        start = time.perf_counter()
        model = train(model, batches, devices, name="made", seed=0, folder=Path(part), checkpoint_seconds=1e9)
        seconds = time.perf_counter() - start
    work.mkdir(exist_ok=True)
    families.save(model, work)
    return batches.per_epoch * BATCH / seconds, waited / (time.perf_counter() - began) if began else 0.0


def evaluation(folder: Path) -> dict[str, Any]:
    """Measure and draw the trained model, in the features of a network that has learnt nothing."""
    Devices("fp32", 1)
    reader = families.build(families.config(READER, "made"), DataSpec.of("made", arrays.statistics(folder))).eval()
    with tempfile.TemporaryDirectory() as figures:
        subject = Subject(families.load(folder / "model"), reader, 0, folder, folder / "none", Path(figures))
        return {"figures": len(evaluate(subject))}


def _resident() -> float:
    """Return the MiB that this process holds in memory now."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


if __name__ == "__main__":
    main()
