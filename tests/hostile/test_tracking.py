"""A tracking server that knows a password, notes that are half written, folders of odd names: nothing leaks, nothing stops."""

from __future__ import annotations

import http.server
import json
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import filelock
import pytest
from click.testing import CliRunner
from mlflow import MlflowClient
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.tracking._tracking_service.registry import TrackingStoreRegistry

from regen import cli
from regen.errors import UserError
from regen.tracking import launch, secrets, state, ui
from regen.tracking.sync import sync
from tests.hostile.passwords import BASIC, FORMS, PASSWORD, address, command_lines, leaks

SOURCES = str(Path(launch.__file__).parents[2])
TRAINER = """
import sys, time
from pathlib import Path
from regen.tracking import launch
work = Path(".work/train/vae/s1")
work.mkdir(parents=True)
with launch.mirrored("vae", "s1", {"beta": 1.0}, "punks", "cpu", after=float(sys.argv[1])):
    (work / "history.csv").write_text("epoch,loss\\n1,0.5\\n")
    print("trained", flush=True)
    time.sleep(float(sys.argv[2]))
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith(("MLFLOW_", "DVC_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def childless(root: Path, database: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root with a database, where no mirror gets off the ground: all is left to `sync`."""
    shutil.copyfile(database, root / "mlflow.db")
    monkeypatch.setattr(launch, "spawn", lambda folder, mode, after: None)
    return root


def train(key: str = "vae", status: str = "FINISHED") -> None:
    with launch.mirrored(key, "s1", {"beta": 1.0}, "punks", "cpu") as mirror:
        work = Path(".work/train") / key / "s1"
        work.mkdir(parents=True, exist_ok=True)
        (work / "history.csv").write_text("epoch,loss\n1,0.5\n")
        mirror.finish(status)


def runs() -> list[Any]:
    client = MlflowClient(tracking_uri=state.store(state.server()))
    return list(client.search_runs([client.get_experiment_by_name("regen").experiment_id]))


# -- the password


def answering(kind: str) -> type[http.server.BaseHTTPRequestHandler]:
    """A server that says what it was given, in its answers: what MLflow prints of them must be cleaned, too."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.server.asked.append(self.headers.get("Authorization"))  # type: ignore[attr-defined]
            said = f"{self.headers.get('Authorization')} {PASSWORD} anna:{quote(PASSWORD, safe='')}".encode()
            if kind == "hangs up":
                self.connection.close()
                return
            self.send_response({"401": 401, "500": 500, "redirects": 302}[kind])
            if kind == "redirects":
                self.send_header("Location", f"http://anna:{quote(PASSWORD, safe='')}@127.0.0.1:9/away")
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        do_GET = do_POST = answer  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[http.server.ThreadingHTTPServer]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), answering(request.param)) as server:
        server.asked = []  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield server
        server.shutdown()


@pytest.mark.parametrize("server", ["401", "500", "redirects", "hangs up"], indirect=True)
def test_a_password_stays_in_the_environment(
    root: Path,
    server: http.server.ThreadingHTTPServer,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """What a followed training and a sync leave: files, what they print, and what `ps` shows meanwhile."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address(server.server_address[1]))
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "")  # so that what a connection sets is taken back
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "")
    command = [sys.executable, "-c", TRAINER, "0", "0.5"]
    trainer = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": SOURCES}, text=True)
    seen = ""
    while trainer.poll() is None:
        seen += command_lines()
        time.sleep(0.05)
    end = time.monotonic() + 300
    while not server.asked:  # type: ignore[attr-defined]
        assert time.monotonic() < end
        time.sleep(0.1)
    with filelock.FileLock(state.folder("vae", "s1") / "lock", timeout=300):  # free when the mirror has ended
        pass
    assert trainer.returncode == 0
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda seconds: None)
    with pytest.raises(UserError) as refused:
        sync()
    said = capfd.readouterr()
    if sys.platform == "linux":
        assert "-m regen.tracking " in seen
    assert "Traceback" not in said.err
    assert leaks(root, said.out, said.err, str(refused.value), *seen.splitlines()) == []
    assert set(server.asked) == {f"Basic {BASIC}"}  # type: ignore[attr-defined]  # it was used all the same


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("http://anna:pw@host:5000/team", "http://***@host:5000/team"),
        ("http://host:5000", "http://host:5000"),
        ("http://anna:p@ss/w?rd@host", "http://***@host"),
        ("http://anna:two words@host", "http://***@host"),
        ("postgresql+psycopg://anna:pw@host/db?sslpassword=pw", "postgresql+psycopg://***@host/db"),
        ("mysql://host/db?user=anna&password=pw", "mysql://host/db"),
        ("sqlite:////home/me@work/a?b.db", "sqlite:////home/me@work/a?b.db"),
        ("https://token@host", "https://***@host"),
    ],
)
def test_an_address_is_shown_without_what_opens_it(uri: str, expected: str) -> None:
    assert secrets.shown(uri) == expected


@pytest.mark.parametrize("name", ["MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"])
def test_what_somebody_says_is_cleaned_of_passwords_in_the_environment_too(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, PASSWORD)
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "anna")
    for form in FORMS[:4]:
        assert secrets.clean(f"refused: {form}!", "http://host") == "refused: ***!"


@pytest.mark.parametrize(
    ("said", "uri", "expected"),
    [
        ('authentication failed for user "anna"', "postgresql://anna:pw12@host/db", 'authentication failed for user "***"'),
        ("Access denied for 'anna'@'host'", "mysql://anna:pw12@host/db", "Access denied for '***'@'host'"),
        ("annals of anna's", "mysql://anna:pw12@host/db", "annals of anna's"),
        ("sent Basic dG9rZW4xMjM6", "https://token123@host", "sent Basic ***"),
    ],
)
def test_who_somebody_is_is_not_told_either(said: str, uri: str, expected: str) -> None:
    assert secrets.clean(said, uri) == expected


def test_a_log_is_cleaned_also_where_a_password_comes_in_two_parts(tmp_path: Path) -> None:
    log = secrets.CleanLog(tmp_path / "log", f"http://anna:{quote(PASSWORD, safe='')}@host")
    for part in ("Traceback: ", PASSWORD[:5], PASSWORD[5:], " was refused\n"):
        log.write(part)
    assert (tmp_path / "log").read_text() == "Traceback: *** was refused\n"


def test_the_name_of_a_letter_box_tells_nothing_of_a_password(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    boxes = set()
    for password in ("one", "another"):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://anna:{password}@host")
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", password)
        boxes.add(state.box())
    assert len(boxes) == 1


# -- what is sent


def test_who_and_where_one_is_can_be_kept_back(childless: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGEN_TRACKING_PRIVATE", "1")
    monkeypatch.setenv("LOGNAME", "anna-who-is-private")
    monkeypatch.setenv("DVC_EXP_NAME", "anna-who-is-private-tries")
    with launch.mirrored("vae", "s1", {"start": "/home/anna-who-is-private/weights"}, "punks", "a GPU of ours"):
        pass
    sync()
    (run,) = runs()
    told = json.dumps([run.data.tags, run.data.params, run.info.run_name])
    assert "anna-who-is-private" not in told
    assert "a GPU of ours" not in told
    assert run.data.params == {"start": "weights"}


def test_a_user_without_a_name_has_runs_too(childless: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 12345")

    monkeypatch.setattr("getpass.getuser", nobody)
    train()
    sync()
    assert [run.data.tags["mlflow.user"] for run in runs()] == ["unknown"]


# -- disks and folders


def test_a_file_system_without_hard_links_will_do(childless: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", unsupported)
    train()
    sync()
    assert len(runs()) == 1


@pytest.mark.parametrize("name", ["my repo ü", "a%20b", "a?b", "a#b", "a&b=c;d"])
def test_a_repository_may_lie_in_a_folder_of_any_name(
    childless: Path, name: str, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # MLflow keeps what it opened by its address, here "mlflow.db" below the working folder, of whatever name.
    SqlAlchemyStore._engine_map.clear()
    TrackingStoreRegistry._get_store_with_resolved_uri.cache_clear()
    folder = childless / name
    folder.mkdir()
    shutil.copyfile(database, folder / "mlflow.db")
    monkeypatch.chdir(folder)
    train()
    sync()
    assert len(runs()) == 1
    assert {path.name for path in childless.iterdir()} == {name, "mlflow.db"}
    assert list(folder.glob("mlartifacts")) or not list(childless.glob("*/mlartifacts"))


def test_a_copy_leaves_the_trainings_of_the_original_to_it(
    childless: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = f"sqlite:///{childless}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    mirror = launch.mirrored("vae", "s1", {}, "punks", "cpu")
    from regen.tracking.connection import connect
    from regen.tracking.mirror import Sender

    Sender(*connect(uri), uri, state.folder("vae", "s1"))
    shutil.copytree(childless / ".work", childless / "copy/.work")
    monkeypatch.chdir(childless / "copy")
    sync()
    assert "is the training of another copy of this repository" in capsys.readouterr().out
    assert [run.info.status for run in runs()] == ["RUNNING"]
    launch.mirrored("vae", "s1", {}, "punks", "cpu").finish()  # here it is another one
    sync()
    assert sorted(run.info.status for run in runs()) == ["FINISHED", "RUNNING"]
    monkeypatch.chdir(childless)
    mirror.finish()
    sync()
    assert [run.info.status for run in runs()] == ["FINISHED"] * 2


def test_a_repository_that_was_moved_is_the_same_clone(childless: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = state.clone()
    (childless / ".work").rename(childless / "moved")
    (childless / "there").mkdir()
    (childless / "moved").rename(childless / "there/.work")
    monkeypatch.chdir(childless / "there")
    assert state.clone() == name


# -- notes


def test_finish_never_fails(root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    mirror = launch.mirrored("vae", "s1", {}, "punks", "cpu", after=60)
    monkeypatch.setattr(state, "problem", lambda: Path("behind").read_text())  # removed since it was looked for
    mirror.finish()
    assert "Traceback" not in capsys.readouterr().err
    closed = launch.mirrored("gan", "s1", {}, "punks", "cpu", after=60)
    shutil.rmtree(root / ".work")
    monkeypatch.setattr(sys, "stderr", (root / "closed").open("w"))
    sys.stderr.close()  # nobody can be told either
    closed.finish()


@pytest.mark.parametrize("name", ["behind", "mirror"])
def test_a_note_that_goes_away_while_it_is_read_says_nothing(root: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "exists", lambda path: True)  # as it was a moment ago
    assert state.problem() is None if name == "behind" else state.said(root) == "starting"


HALF: list[Callable[[bytes], bytes]] = [
    lambda content: b"",
    lambda content: content[: len(content) // 2],
    lambda content: b"\0" * len(content),
    lambda content: b"[]",
    lambda content: b"{}",
    lambda content: b"null",
    lambda content: b"\xff\xfe{",
    lambda content: b'{"run": null, "status": null, "tags": null, "training": 3}',
    lambda content: b"[" * 100_000,
]


@pytest.mark.parametrize("damage", HALF, ids=range(len(HALF)))
@pytest.mark.parametrize("note", ["training.json", "lineage.json", "current.json"])
def test_one_damaged_note_stops_no_other_model(
    childless: Path, note: str, damage: Callable[[bytes], bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    for key in ("a", "b", "c"):
        train(key)
    path = state.folder("b", "s1") / note if note != "current.json" else state.folder("b", "s1").parent / note
    path.write_bytes(damage(path.read_bytes() if path.exists() else b"{}"))
    sync()
    out = capsys.readouterr().out
    expected = {"a", "c"} if note == "training.json" else {"a", "b", "c"}
    assert {run.info.run_name for run in runs()} == expected, out
    assert ("training.json is damaged; left out" in out) == (note == "training.json")
    train("b")  # and it can be trained again
    sync()
    assert {run.info.run_name for run in runs()} == {"a", "b", "c"}


def test_a_model_that_the_server_refuses_stops_no_other(childless: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.exceptions import MlflowException

    from regen.tracking import mirror

    for key in ("a", "b", "c"):
        train(key)
    real = mirror.Sender.describe

    def refuses(self: mirror.Sender, tags: dict[str, str]) -> None:
        if self.key == "b":
            raise MlflowException("INVALID_PARAMETER_VALUE: too long")
        real(self, tags)

    monkeypatch.setattr(mirror.Sender, "describe", refuses)
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda seconds: None)
    with pytest.raises(UserError, match=r"not sent, for the reasons above: b;"):
        sync()
    assert {run.info.run_name for run in runs() if run.info.status == "FINISHED"} == {"a", "c"}


@pytest.mark.parametrize("seed", range(int(os.environ.get("REGEN_FUZZ", "3"))))
def test_notes_of_any_content_stop_nothing(
    childless: Path, seed: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = random.Random(seed)
    train("a")
    train("b", draw.choice(["FINISHED", "FAILED", "KILLED"]))
    if draw.random() < 0.3:
        sync()
    files = [path for path in state.folder("b", "s1").rglob("*") if path.is_file() and path.name != "lock"]
    for path in draw.sample(sorted(files), draw.randint(1, len(files))):
        path.write_bytes(damaged(path.read_bytes(), draw))
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda seconds: None)
    said = ""
    try:
        sync()
    except UserError as error:
        said = str(error)
    assert said == "" or "not sent, for the reasons above: b;" in said
    assert [run.info.status for run in runs() if run.info.run_name == "a"] == ["FINISHED"]
    train("b")
    sync()


def damaged(content: bytes, draw: random.Random) -> bytes:
    """Cut, flip, repeat, or exchange a value for another one."""
    kind = draw.randrange(4)
    if kind == 0:
        return content[: draw.randint(0, len(content))]
    if kind == 1 and content:
        place = draw.randrange(len(content))
        return content[:place] + bytes([draw.randrange(256)]) + content[place + 1 :]
    if kind == 2:
        return content * draw.randint(2, 3)
    try:
        note = json.loads(content)
        place = draw.choice(sorted(note))
        note[place] = draw.choice([None, [], {}, 0, -1, 10**400, True, "", "x" * 70_000, "../..", {"a": {"b": 1}}, ["\0"]])
        return json.dumps(note).encode()
    except (ValueError, AttributeError, IndexError, TypeError):
        return b""


# -- looking at it


def test_a_team_s_server_is_opened_not_served_and_its_password_not_told(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://anna:secret@mlflow.example:5000/team")
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.setattr(cli, "_here", lambda: None)
    done = CliRunner().invoke(cli.commands, ["ui"])
    assert done.output == "MLflow: https://mlflow.example:5000/team\n"
    assert opened == ["https://mlflow.example:5000/team"]


@pytest.mark.parametrize("uri", [None, "postgresql://anna:secret@host/mlflow"])
def test_a_database_is_served_and_its_address_is_no_argument(
    root: Path, uri: str | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran: list[tuple[list[str], str]] = []

    def run(command: list[str], env: dict[str, str]) -> subprocess.CompletedProcess[bytes]:
        ran.append((command, env["MLFLOW_BACKEND_STORE_URI"]))
        return subprocess.CompletedProcess(command, 0)

    if uri:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setattr(subprocess, "run", run)
    ui.show(5001)
    ((command, given),) = ran
    assert given == (uri or f"sqlite:///{root}/mlflow.db")
    assert not [word for word in command if "://" in word]
    assert "secret" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "uri", ["postgres://anna:secret@host/db", "htp://anna:secret@host", "a+b+c://anna:secret@host/db", "file:///x"]
)
def test_another_address_is_refused_before_mlflow_prints_it(root: Path, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("started"))
    with pytest.raises(UserError, match="expected an address that begins with") as refused:
        ui.show(5001)
    assert "secret" not in str(refused.value)


def test_where_tracking_is_off_there_is_nothing_to_look_at(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    with pytest.raises(UserError, match="tracking is off"):
        ui.show(5000)
