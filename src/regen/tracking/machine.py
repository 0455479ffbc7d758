"""What a machine does while a model trains on it: its processor, memory and GPU, and how many examples a second it takes.

It is sent as it is seen, by the process beside the training. Nothing of it lies in a file, so none of it is ever sent again.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

from mlflow import MlflowClient
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

from regen.tracking import state

PREFIX = "system/"  # of MLflow's own names, too
RATE = f"{PREFIX}examples_per_second"
SWITCH = "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING"  # MLflow's own variable


def watched() -> bool:
    """Whether a machine is watched: unless MLflow's own variable says no."""
    return os.environ.get(SWITCH, "true").strip().lower() not in ("false", "0")


class Machine:
    """Watches this machine for one run, until `end`."""

    def __init__(self, client: MlflowClient, run_id: str) -> None:
        self.client, self.run_id = client, run_id
        self.seen: tuple[float, float] | None = None  # examples, and seconds, when the history was last written
        monitor: Any = SystemMetricsMonitor
        self.monitor = monitor(run_id, resume_logging=True, tracking_uri=client.tracking_uri)
        self.monitor.start()

    def look(self, source: state.Source) -> None:
        """Send how many examples a second were taken since the last look, if an epoch has ended since."""
        with suppress(OSError):
            written = os.stat(source.history).st_mtime
            epoch, examples = max(((epoch, row.get("examples", 0.0)) for epoch, row in source.rows()), default=(0, 0.0))
            before, self.seen = self.seen, (examples, written)
            if before and examples > before[0] and written > before[1]:
                self.client.log_metric(self.run_id, RATE, (examples - before[0]) / (written - before[1]), step=epoch)

    def end(self) -> None:
        """Send what was seen last."""
        self.monitor.finish()
