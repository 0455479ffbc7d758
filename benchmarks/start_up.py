"""Seconds from the start of this process to the end of `import torch`, or to the first step of a train stage."""

from __future__ import annotations

import json
import os
import runpy
import sys
from pathlib import Path


def elapsed() -> float:
    """Seconds since the kernel started this process."""
    with open("/proc/self/stat") as file:
        ticks = int(file.read().rsplit(")", 1)[1].split()[19])
    with open("/proc/uptime") as file:
        return float(file.read().split()[0]) - ticks / os.sysconf("SC_CLK_TCK")


def prepare(folder: Path) -> None:
    """Write a params.yaml and a prepared data set for a train stage."""
    import setting
    import yaml

    from regen.data import arrays

    top = {"seed": 0, "precision": "auto", "threads": setting.THREADS, "checkpoint_seconds": 20.0, "launcher": "python"}
    block = {**setting.BLOCK, "epochs": 1}
    (folder / "params.yaml").write_text(yaml.safe_dump({**top, "datasets": {}, "models": {"bench": block}}))
    images = setting.images()
    arrays.write(folder / "data/prepared/bench", {"train": images}, {"kind": "bench", "shape": [3, 64, 64]})


def stage(folder: Path) -> None:
    """Run the train stage in that folder, tracking and all, up to its first loss."""
    script = Path("stages/train.py").resolve()
    os.environ.pop("MLFLOW_TRACKING_URI", None)  # as by default: a local database
    os.chdir(folder)

    from regen.models.vae import Model

    def first(self: Model, batch: object, network: str) -> None:
        print(json.dumps({"seconds": elapsed()}), flush=True)
        os._exit(0)

    Model.loss = first  # type: ignore[assignment, method-assign]
    sys.argv = [str(script), "bench"]
    runpy.run_path(str(script), run_name="__main__")


def main() -> None:
    """Prepare, import torch, or run the stage."""
    what, folder = sys.argv[1], Path(sys.argv[2])
    if what == "prepare":
        prepare(folder)
        print("{}")
    elif what == "torch":
        import torch  # noqa: F401

        print(json.dumps({"seconds": elapsed()}))
    else:
        stage(folder)


if __name__ == "__main__":
    main()
