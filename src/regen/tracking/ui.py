"""The MLflow UI of the trainings: a team's server has its own, a database gets one here."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import webbrowser

from regen.errors import UserError
from regen.tracking import secrets, state
from regen.tracking.connection import chosen, quieten


def show(port: int) -> None:
    """Open a server's own pages, or serve those of a database on 127.0.0.1 until Ctrl-C.

    An address and its password are no argument of any command: everybody on a machine can read those.

    Raises:
        UserError: tracking is off, there is no such page, or MLflow is not installed or fails.
    """
    uri = chosen()
    if re.match("https?:", uri):
        address = re.sub(r"//.*@", "//", uri)  # the browser asks for user and password itself
        print(f"MLflow: {address}")
        webbrowser.open(address)
        return
    if not re.match(r"(sqlite|mysql|mssql|postgresql)(\+\w+)?://", uri):  # MLflow prints another one whole, with its password
        raise UserError("MLFLOW_TRACKING_URI: expected an address that begins with https://, http://, sqlite://, mysql://, "
                        f"mssql:// or postgresql://, got {secrets.shown(uri)}")  # fmt: skip
    quieten(timeout=10)
    print(f"MLflow: http://127.0.0.1:{port} shows {secrets.shown(uri)}; Ctrl-C ends it", flush=True)
    command = [sys.executable, "-m", "mlflow", "ui", "--port", str(port), "--workers", "1"]
    options = {"MLFLOW_BACKEND_STORE_URI": state.store(uri), "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # of language models
    if code := subprocess.run(command, env=os.environ | options).returncode:
        raise UserError(f"mlflow ui ended with exit status {code}; is port {port} taken? `regen ui --port 5001` takes another")
