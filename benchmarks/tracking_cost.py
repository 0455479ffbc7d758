"""Seconds of a short training: mirrored to a server that accepts connections and never answers, to a database while its machine
is watched or not, or not mirrored."""

from __future__ import annotations

import json
import os
import socket
import sys
import tempfile
import time
from pathlib import Path

EPOCHS = 5  # half a minute or so


def main() -> None:
    """Train some epochs as stages/train.py does, and say how long that took."""
    with socket.socket() as server, tempfile.TemporaryDirectory() as folder:
        server.bind(("127.0.0.1", 0))
        server.listen()
        way, database = sys.argv[1], f"sqlite:///{folder}/mlflow.db"
        addresses = {
            "hanging": f"http://127.0.0.1:{server.getsockname()[1]}",
            "watched": database,
            "unwatched": database,
            "none": "",
        }
        os.environ["MLFLOW_TRACKING_URI"] = addresses[way]
        os.environ["MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING"] = str(way == "watched").lower()
        os.environ["DVC_ROOT"] = folder
        os.chdir(folder)
        print(json.dumps({"seconds": trained()}))


def trained() -> float:
    """Return the seconds of one mirrored training."""
    import setting

    from regen import families
    from regen.data import folders
    from regen.data.loaders import Share
    from regen.data.loaders.arrays import ArrayBatches
    from regen.models.base import DataSpec, TrainedModel
    from regen.tracking import launch
    from regen.training import checkpoint
    from regen.training.distributed import Devices
    from regen.training.loop import train

    block = {**setting.BLOCK, "epochs": EPOCHS}
    devices = Devices("auto", setting.THREADS)
    model = families.build(families.config(block, "bench"), DataSpec(dataset="bench", kind="bench", shape=(3, 64, 64)))
    assert isinstance(model, TrainedModel)
    batches = ArrayBatches({"x": setting.images()}, Share(setting.BATCH, 0, device=devices.device))
    work = checkpoint.folder("bench", "signature")
    start = time.perf_counter()
    with folders.held(work, "training of bench"), launch.mirrored("bench", "signature", block, "bench", "cpu", after=0):
        train(model, batches, devices, name="bench", seed=0, folder=Path(work), checkpoint_seconds=20)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
