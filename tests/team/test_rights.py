"""What a user may do, and what happens to a training of one who may not any more."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from regen.tracking import launch
from tests.team import parts
from tests.team.trainings import EPOCHS, Trainings, until

pytestmark = [
    pytest.mark.timeout(1800),
    pytest.mark.skipif(bool(parts.missing()), reason=f"there is no {' and no '.join(parts.missing())}"),
]
MODELS = ("model_0", "model_1")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[parts.Server, str]]:
    """An MLflow where nobody sees what others made unless they were let in; and its database."""
    place = tmp_path_factory.mktemp("rights")
    with ExitStack() as stack:
        database = stack.enter_context(parts.postgres()).address
        store = stack.enter_context(parts.s3(place, "mlflow")).address
        users = ("anna", "ben")
        found = stack.enter_context(parts.mlflow(place, database, store, *users, permission="NO_PERMISSIONS"))
        yield found, f"{database}/mlflow"


def test_a_training_outlives_a_lost_permission_and_is_sent_when_it_is_back(
    server: tuple[parts.Server, str], tmp_path: Path
) -> None:
    service, database = server
    experiment = MlflowClient(service.of("anna")).create_experiment("regen")
    granted = list[str]()
    environment = {
        **os.environ, "PYTHONPATH": str(Path(launch.__file__).parents[2]), "MLFLOW_TRACKING_URI": service.of("ben"),
    }  # fmt: skip

    def let(permission: str | None) -> None:
        """Let Ben do this with Anna's experiment, and no more."""
        about = {"username": "ben", "resource_type": "experiment", "resource_id": experiment}
        if granted:
            service.administer("3.0/mlflow/users/permissions/revoke", **about)
            granted.clear()
        if permission:
            service.administer("3.0/mlflow/users/permissions/grant", **about, permission=permission)
            granted.append(permission)

    def arrived(epoch: int) -> bool:
        query = f"select count(*) from metrics where key = 'train/loss' and step = {epoch}"
        return parts.sql(database, query) == [(len(MODELS),)]

    let("EDIT")
    ben = Trainings(tmp_path / "ben", environment)
    with ben.of(*MODELS):
        ben.go(1, 5)
        until(lambda: arrived(5))

        let("READ")
        ben.go(5, EPOCHS + 1)
        ben.end()

    def refused() -> bool:
        """Whether all is refused, a line each; false while mirrors still try."""
        done = ben.sync()
        return done.returncode == 1 and done.stdout.count("not allowed (HTTP 403)") == len(MODELS)

    until(refused)

    let("EDIT")
    until(ben.synced)
    runs = parts.sql(database, "select name, status from runs")
    assert sorted(runs) == [(name, "FINISHED") for name in MODELS]
    points = parts.sql(database, "select run_uuid, step, count(*) from metrics where key = 'train/loss' group by 1, 2")
    assert Counter(count for *_, count in points) == {1: len(MODELS) * EPOCHS}

    let(None)
    shut_out = ben.sync()
    assert shut_out.returncode == 1
    assert "not allowed (HTTP 403)" in shut_out.stderr
    assert len(shut_out.stderr.splitlines()) == 1


def test_who_has_no_permission_sees_nothing(server: tuple[parts.Server, str]) -> None:
    service, database = server
    owner, stranger = MlflowClient(service.of("anna")), MlflowClient(service.of("ben"))
    run = str(parts.sql(database, "select run_uuid from runs limit 1")[0][0])
    experiment = owner.get_run(run).info.experiment_id
    owner.create_registered_model("model_0")
    files = owner.list_artifacts(run, "images")
    assert files
    assert {one.name for one in owner.search_experiments()} == {"regen"}

    assert stranger.search_experiments() == []
    assert stranger.search_registered_models() == []
    for ask in (
        lambda: stranger.get_experiment(experiment),
        lambda: stranger.get_experiment_by_name("regen"),
        lambda: stranger.get_run(run),
        lambda: stranger.get_metric_history(run, "train/loss"),
        lambda: stranger.list_artifacts(run, "images"),
        lambda: stranger.get_registered_model("model_0"),
    ):
        with pytest.raises(MlflowException, match="403"):
            ask()
    assert list(stranger.search_runs([experiment])) == []
    path = f"api/2.0/mlflow-artifacts/artifacts/{experiment}/{run}/artifacts/{files[0].path}"
    answers = {user: requests.get(f"{service.of(user)}/{path}", timeout=60).status_code for user in ("anna", "ben")}
    assert answers == {"anna": 200, "ben": 403}
