"""A team's server on this machine, for a try: `make team`. Ctrl-C ends it, and nothing of it is kept.

PostgreSQL, an S3 stand-in and MLflow with two users, Anna and Ben, as the tests of this folder start them.
"""

from __future__ import annotations

import signal
import sys
import tempfile
import threading
from contextlib import ExitStack
from pathlib import Path

from regen.errors import UserError, reported
from tests.team import parts

USERS = ("anna", "ben")


def main() -> None:
    """Start the parts, say how to use them, wait."""
    if parts.POSTGRES in parts.missing():
        raise UserError(f"there is no {parts.POSTGRES}")
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="regen-team-")))
        print("starting PostgreSQL, an S3 store and MLflow ...", file=sys.stderr)
        database = stack.enter_context(parts.postgres()).address
        store = stack.enter_context(parts.s3(folder, "mlflow", "dvc")).address
        server = stack.enter_context(parts.mlflow(folder, database, store, *USERS))
        print(f"MLflow: http://127.0.0.1:{server.port}, for a browser: user admin, password {server.passwords['admin']}\n")
        for name in USERS:
            print(f"{name}, in a clone:\n  export MLFLOW_TRACKING_URI={server.of(name)}")
        print(f"\nboth, in their clones:\n  export {' '.join(f'{name}={value}' for name, value in parts.KEYS.items())}")
        print(f"  dvc remote add --default team s3://dvc/regen && dvc remote modify team endpointurl {store}")
        print("\nCtrl-C ends all of it, and keeps nothing.", flush=True)
        ended.wait()


if __name__ == "__main__":
    with reported():
        main()
