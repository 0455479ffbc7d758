"""What a machine does while a model trains on it: its processor, memory and GPU.

It is sent as it is seen, by the process beside the training. Nothing of it lies in a file, so none of it is ever sent again.
"""

from __future__ import annotations

import os
from typing import Any

from mlflow import MlflowClient
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

SWITCH = "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING"  # MLflow's own variable


def watched() -> bool:
    """Whether a machine is watched: unless MLflow's own variable says no."""
    return os.environ.get(SWITCH, "true").strip().lower() not in ("false", "0")


class Machine:
    """Watches this machine for one run, until `end`."""

    def __init__(self, client: MlflowClient, run_id: str) -> None:
        monitor: Any = SystemMetricsMonitor
        self.monitor = monitor(run_id, resume_logging=True, tracking_uri=client.tracking_uri)
        self.monitor.start()

    def end(self) -> None:
        """Send what was seen last."""
        self.monitor.finish()
