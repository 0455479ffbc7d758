"""The tracking server: a client of it, or one line that says why it cannot be used."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from filelock import FileLock

from regen import paths
from regen.errors import UserError
from regen.tracking import secrets, state
from regen.tracking.launch import reason

if TYPE_CHECKING:
    from mlflow import MlflowClient

KIND = {"mlflow.experimentKind": "custom_model_development"}  # MLflow's pages then begin with runs, and not with chats


def chosen() -> str:
    """Return the server's address.

    Raises:
        UserError: tracking is off, or MLflow is not installed.
    """
    if not (uri := state.server()):
        raise UserError("tracking is off: MLFLOW_TRACKING_URI is empty; unset it for mlflow.db, or set it to a server")
    if importlib.util.find_spec("mlflow") is None:
        raise UserError("mlflow is not installed; install it with `make setup`")
    return uri


def quieten(timeout: int) -> None:
    """Set MLflow's environment, before it is imported: bounded waits, no own retries, nothing sent anywhere else.

    MLflow would repeat a request whose answer was lost, and so store a point twice; we ask what arrived first.
    """
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(timeout))
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
    os.environ |= {
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "MLFLOW_ENABLE_ASYNC_LOGGING": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    }


def failures(uri: str) -> tuple[type[Exception], ...]:
    """Return what MLflow raises where a server, or a driver of a database, is not as it should be."""
    from mlflow.exceptions import MlflowException

    found = (MlflowException, OSError, ImportError, ValueError)
    if re.match("https?:", uri):
        return found  # SQLAlchemy takes half a second to be imported
    from sqlalchemy.exc import SQLAlchemyError

    return (*found, SQLAlchemyError)


def connect(uri: str) -> tuple[MlflowClient, str]:
    """Return a client and the experiment's id, both created where missing.

    One experiment, `regen`, holds the models of all data sets: MLflow compares runs within an experiment, filters them
    by model and shows their data set in a column. `MLFLOW_EXPERIMENT_NAME` chooses another.
    """
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    database = state.database(uri)
    if database and not database.parent.is_dir():  # MLflow would try for minutes
        raise NotADirectoryError(f"{database.parent}: no such folder")
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or "regen"
    with FileLock(f"{database}.lock", timeout=120) if database else nullcontext():  # mlflow's schema creation races
        client = MlflowClient(tracking_uri=secrets.handed_over(state.store(uri)))
        if found := client.get_experiment_by_name(name):
            return client, found.experiment_id
        # A server has its own place for artefacts; a database would put them into the working directory.
        place = database.parent if database else paths.root()
        location = None if re.match(r"https?:|databricks", uri) else (place / "mlartifacts").resolve().as_uri()
        try:
            return client, client.create_experiment(name, location, KIND)
        except MlflowException as error:
            if error.error_code == "RESOURCE_ALREADY_EXISTS" and (found := client.get_experiment_by_name(name)):
                return client, found.experiment_id  # another process was faster
            raise


@contextmanager
def connected(uri: str, timeout: int, otherwise: str = "") -> Iterator[tuple[MlflowClient, str]]:
    """Give a client of a server and the experiment's id.

    Args:
        uri: as `chosen` returned it.
        timeout: seconds that one request may take.
        otherwise: what to tell where the server cannot be used.

    Raises:
        UserError: the server cannot be used, also later, within.
    """
    quieten(timeout)
    failed = failures(uri)
    try:
        yield connect(uri)
    except failed as error:
        raise UserError(f"{secrets.shown(uri)}: the tracking server can't be used ({reason(error)}){otherwise}") from None
