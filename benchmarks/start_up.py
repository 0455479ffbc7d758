"""Seconds from the start of this process to the end of `import torch`, or to the end of a training's first step."""

from __future__ import annotations

import json
import os
import sys
import time


def elapsed() -> float:
    """Seconds since the kernel started this process."""
    with open("/proc/self/stat") as file:
        ticks = int(file.read().rsplit(")", 1)[1].split()[19])
    with open("/proc/uptime") as file:
        return float(file.read().split()[0]) - ticks / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Do what a train stage does, until its first step is done."""
    if sys.argv[1] == "torch":
        import torch  # noqa: F401

        print(json.dumps({"seconds": elapsed()}))
        return
    import setting

    from regen import models
    from regen.models.base import DataSpec
    from regen.training.adam import Adam
    from regen.training.batches import ArrayBatches
    from regen.training.devices import Devices
    from regen.training.loop import train  # noqa: F401

    block = {**setting.BLOCK, "epochs": 1}
    devices = Devices("auto", setting.THREADS)
    model = models.build(models.config(block, "bench"), DataSpec(dataset="bench", kind="bench", shape=(3, 64, 64)))
    batches = ArrayBatches({"x": setting.images()[: setting.BATCH]}, setting.BATCH, 0, devices)
    (player, parameters), *_ = model.players().items()  # type: ignore[operator]
    optimizer = Adam(parameters)
    started = time.perf_counter()
    with devices.autocast():
        loss, _ = model.loss(batches(0), player)  # type: ignore[operator]
    loss.backward()
    optimizer.step(1e-3)
    print(json.dumps({"seconds": elapsed() - (time.perf_counter() - started)}))  # the step itself is no start-up


if __name__ == "__main__":
    main()
