"""Two clones of two users share one git repository, one DVC remote and one MLflow server: nothing is run, sent or kept twice.

Of the pipeline there are two small models, both of letters. The tests follow one another, as a team's days do.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from regen import paths
from regen.tracking import state
from tests import smoke
from tests.team import parts

pytestmark = [
    pytest.mark.timeout(3600),  # the machine may have other work
    pytest.mark.skipif(bool(parts.missing()), reason=f"there is no {' and no '.join(parts.missing())}"),
]
TINY = {"epochs": 3, "steps_per_epoch": 5, "hidden": 8}


@dataclass
class User:
    """Somebody with a clone."""

    name: str
    folder: Path
    environment: dict[str, str]

    def run(self, *command: str, check: bool = True, **options: str) -> str:
        """What a command prints, in the clone."""
        done = smoke.run(self.folder, *command, check=False, **{**self.environment, **options})
        assert done.returncode == 0 or not check, f"{self.name}: {' '.join(command)}\n{done.stdout[-3000:]}"
        return str(done.stdout)

    def make(self, target: str, **options: str) -> str:
        """`make TARGET`, with the packages that are there."""
        return self.run("make", "--no-print-directory", "-o", ".venv/.ready", target, **options)

    def repro(self) -> list[str]:
        """The stages that ran."""
        return ran(self.run("dvc", "repro"))

    def set(self, model: str, **values: Any) -> None:
        """Change a model's params."""
        smoke.apply(self.folder, *(f"models.{model}.{name}={value}" for name, value in values.items()))

    def commit(self, message: str) -> None:
        """Commit what was run, and share it."""
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--message", message)
        self.make("push")
        self.run("git", "push", "--quiet", "origin", "HEAD:main")

    def update(self) -> None:
        """Fetch what others shared."""
        self.run("git", "pull", "--quiet", "--no-rebase", "origin", "main")
        self.make("pull")


@dataclass
class Team:
    """The users, and the parts that they share.

    Attributes:
        trained: points of each training's history, by model and signature.
    """

    anna: User
    ben: User
    database: str
    ssh: tuple[str, Path]
    trained: dict[tuple[str, str], int] = field(default_factory=dict)

    def note(self, *users: User) -> None:
        """Remember what the models in the clones were trained by, as nobody asks the server."""
        for user in users:
            for path in user.folder.glob("models/letters_*/model.json"):
                described = state.read(path)
                rows = list(state.Source.of(path.parent).rows())
                self.trained[path.parent.name, described["signature"]] = sum(len(values) for _, values in rows)


def ran(output: str) -> list[str]:
    """The stages that `dvc repro` ran."""
    return re.findall(r"Running stage '([^']+)'", output)


def small(folder: Path) -> None:
    """Leave the letters of params.yaml, with tiny models."""
    given = yaml.safe_load((folder / "params.yaml").read_text())
    block = {**given["models"]["letters_lstm"], **TINY}
    given["models"] = {"letters_lstm": block, "letters_small": {**block, "hidden": 4}}
    given |= {"datasets": {"letters": given["datasets"]["letters"]}, "queries": {}, "encodings": {}, "studies": {}, "threads": 1}
    (folder / "params.yaml").write_text(yaml.safe_dump(given, sort_keys=False))


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    """Anna's and Ben's clones of one repository; nothing has been run yet."""
    place = tmp_path_factory.mktemp("team")
    with ExitStack() as stack:
        database = stack.enter_context(parts.postgres()).address
        store = stack.enter_context(parts.s3(place, "mlflow", "dvc")).address
        server = stack.enter_context(parts.mlflow(place, database, store, "anna", "ben"))
        shell = stack.enter_context(parts.ssh(place))
        first, origin = place / "first", place / "origin.git"
        smoke.copy(first)
        small(first)
        smoke.run(first, "dvc", "remote", "add", "--quiet", "--default", "shared", "s3://dvc/regen")
        smoke.run(first, "dvc", "remote", "modify", "shared", "endpointurl", store)
        smoke.run(first, "git", "commit", "--quiet", "--all", "--message", "a team's")
        smoke.run(first, "git", "branch", "-M", "main")
        smoke.run(first, "git", "clone", "--quiet", "--bare", str(first), str(origin))
        shutil.rmtree(first)
        users = []
        for name in ("anna", "ben"):
            smoke.run(place, "git", "clone", "--quiet", str(origin), str(place / name))
            environment = {**parts.KEYS, "MLFLOW_TRACKING_URI": server.of(name), "MLFLOW_HTTP_REQUEST_TIMEOUT": "60"}
            users.append(User(name, place / name, {**environment, "DVC_NO_ANALYTICS": "1"}))
        yield Team(*users, database=f"{database}/mlflow", ssh=shell)


def assert_all_is_there_once(team: Team) -> None:
    """Count in PostgreSQL: each training is one run, with each of its points once."""
    for user in (team.anna, team.ben):
        while "is being mirrored" in user.run("regen", "sync"):  # a busy machine: what the stages left is still on its way
            time.sleep(5)
    runs = parts.sql(team.database, "select run_uuid from runs where lifecycle_stage = 'active'")
    named = dict.fromkeys((str(run) for (run,) in runs), None)
    tags: dict[str, dict[str, str]] = {run: {} for run in named}
    for run, key, value in parts.sql(team.database, "select run_uuid, key, value from tags"):
        tags[str(run)][str(key)] = str(value)
    trained = Counter((found["regen.model"], found["dvc.signature"]) for found in tags.values())
    assert trained == Counter(dict.fromkeys(team.trained, 1))
    points = parts.sql(
        team.database, "select run_uuid, key, step, count(*) from metrics where key like 'train/%' group by 1, 2, 3"
    )
    assert [point for point in points if point[3] != 1] == []
    counted = Counter((tags[str(run)]["regen.model"], tags[str(run)]["dvc.signature"]) for run, *_ in points)
    assert counted == Counter({training: points for training, points in team.trained.items() if points})
    assert parts.sql(team.database, "select status, count(*) from runs group by 1") == [("FINISHED", len(team.trained))]


def test_what_one_has_run_the_other_pulls_and_does_not_run(team: Team) -> None:
    of_models = {f"{stage}@{key}" for stage in ("train", "evaluate", "export") for key in ("letters_lstm", "letters_small")}
    assert set(team.anna.repro()) == {"check", "download@letters", "prepare@letters", *of_models, "runtime", "report"}
    team.note(team.anna)
    team.anna.commit("run")
    team.ben.update()
    assert team.ben.repro() == []


def test_a_changed_param_reruns_its_model_alone_and_only_where_it_was_changed(team: Team) -> None:
    team.ben.set("letters_lstm", learning_rate=0.02)
    assert set(team.ben.repro()) - {"check"} == {
        *(f"{stage}@letters_lstm" for stage in ("train", "evaluate", "export")),
        "report",
    }
    team.note(team.ben)
    team.ben.commit("another rate")
    team.anna.update()
    assert team.anna.repro() == []


def test_both_train_at_once_and_no_run_is_doubled_and_no_point_is_lost(team: Team) -> None:
    team.anna.set("letters_lstm", learning_rate=0.03)
    team.ben.set("letters_small", learning_rate=0.03)
    started = [
        subprocess.Popen(
            ["dvc", "repro"], cwd=user.folder, env={**smoke.environment(user.folder), **user.environment},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for user in (team.anna, team.ben)
    ]  # fmt: skip
    for process in started:
        said, _ = process.communicate()
        assert process.returncode == 0, said
        assert len([stage for stage in ran(said) if stage.startswith("train@")]) == 1
        assert "tracking:" not in said
    team.note(team.anna, team.ben)
    assert_all_is_there_once(team)


def test_weights_are_one_version_each_whoever_has_them(team: Team) -> None:
    found = parts.sql(team.database, "select name, value from model_version_tags where key = 'regen.sha256'")
    assert len(found) == len(set(found)) == len(team.trained)


def test_a_model_is_handed_over_by_its_alias(team: Team) -> None:
    assert "letters_lstm: version " in team.anna.run("regen", "promote", "letters_lstm", "champion")
    code = "import regen; print(regen.load('models:/letters_lstm@champion').sample(3, seed=1).sum().item())"
    here = code.replace("models:/letters_lstm@champion", "models/letters_lstm")
    assert team.ben.run(sys.executable, "-c", code).split()[-1] == team.anna.run(sys.executable, "-c", here).split()[-1]


def test_a_wrong_password_is_one_line(team: Team) -> None:
    address = re.sub("ben:[^@]+", "ben:wrong", team.ben.environment["MLFLOW_TRACKING_URI"])
    said = team.ben.run("regen", "sync", check=False, MLFLOW_TRACKING_URI=address)
    assert "the tracking server can't be used (user or password refused (HTTP 401))" in said
    assert "wrong" not in said


def test_after_a_merge_nothing_runs_again_that_either_has_run(team: Team) -> None:
    team.anna.commit("a third rate")
    team.ben.run("git", "commit", "--quiet", "--all", "--message", "another rate of the small one")
    team.ben.make("push")
    said = team.ben.run("git", "pull", "--quiet", "--no-rebase", "origin", "main", check=False)
    assert "dvc.lock" in team.ben.run("git", "diff", "--name-only", "--diff-filter=U"), said
    rerun = ran(team.ben.make("resolve"))
    assert set(rerun) <= {"check", "report"}
    team.ben.commit("merge")
    team.anna.update()
    assert team.anna.repro() == []
    assert_all_is_there_once(team)


def test_an_experiment_is_handed_over_with_its_outs(team: Team) -> None:
    team.ben.run("dvc", "exp", "run", "--name", "wide", "-S", "models.letters_lstm.hidden=12")
    team.note(team.ben)
    team.ben.run("dvc", "exp", "push", "origin", "wide")
    team.anna.run("git", "pull", "--quiet", "--no-rebase", "origin", "main")
    team.anna.run("dvc", "exp", "pull", "origin", "wide")
    assert ".work/compare.html: HEAD, wide" in team.anna.run("regen", "compare", "wide")
    assert "Neither in DVC" not in (team.anna.folder / ".work/compare.html").read_text()
    team.anna.run("dvc", "exp", "apply", "wide")
    assert team.anna.repro() == []


def test_the_same_over_ssh(team: Team, tmp_path: Path) -> None:
    address, key = team.ssh
    for user in (team.anna, User("carla", tmp_path / "carla", {**team.anna.environment, "MLFLOW_TRACKING_URI": ""})):
        if user.name == "carla":
            smoke.run(tmp_path, "git", "clone", "--quiet", str(team.anna.folder), str(user.folder))
        user.run("dvc", "remote", "add", "--local", "--default", "shell", address)
        user.run("dvc", "remote", "modify", "--local", "shell", "keyfile", str(key))
        if user.name == "anna":
            user.run("git", "commit", "--quiet", "--all", "--message", "wide")
            user.make("push")
        else:
            user.make("pull")
            assert user.repro() == []
    assert paths.REPORTS.name in os.listdir(tmp_path / "carla")
