"""A tracking server that refuses, hangs, dies or loses its answers: no stage is harmed, nothing is lost or doubled."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import requests
import yaml
from mlflow import MlflowClient

from regen.tracking import launch
from regen.tracking.sync import sync
from tests.chaos import kills
from tests.hostile.passwords import BASIC, address, command_lines, leaks

SOURCES = str(Path(launch.__file__).parents[2])
EPOCHS = 6
LONG = 60  # seconds that no end of a training takes, however busy the machine; a mirror that is waited for takes minutes
TRAINER = """
import sys, time
from pathlib import Path
from PIL import Image
from regen.tracking import launch
from regen.tracking.sync import sync
pause = float(sys.argv[1])
work = Path(".work/train/vae/s1")
(work / "progress").mkdir(parents=True)
mirror = launch.mirrored("vae", "s1", {"beta": 1.0}, "punks", "cpu", after=float(sys.argv[2]))
for epoch in range(1, 7):
    with (work / "history.csv").open("a") as file:
        file.write(("epoch,loss\\n" if epoch == 1 else "") + f"{epoch},{1 / epoch}\\n")
    Image.new("RGB", (8, 8)).save(work / "progress" / f"epoch_{epoch:04d}.png")
    print("epoch", epoch, flush=True)
    sys.stdin.readline() if pause < 0 else time.sleep(pause)
begin = time.monotonic()
mirror.finish()
print("finish took", time.monotonic() - begin, flush=True)
"""


class Proxy:
    """A TCP proxy on a loopback port that can refuse, hang, or carry a request and lose its answer."""

    def __init__(self, target: int) -> None:
        self.target, self.mode, self.lost = target, "forward", 0
        self.asked: set[bytes] = set()  # what requests said to be let in
        self.listener: socket.socket | None = None
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self.pairs: list[socket.socket] = []
        self.set("forward")

    def set(self, mode: str) -> None:
        """forward, refuse, hang (accept and never answer), or lose (the answers to what stores points or creates runs)."""
        self.mode = mode
        if mode == "refuse" and self.listener:
            self.listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
            self.listener.close()
            self.listener = None
        elif mode != "refuse" and self.listener is None:
            self.listener = socket.create_server(("127.0.0.1", self.port))
            threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()
        if mode in ("refuse", "hang"):
            for one in self.pairs:
                self._hang_up(one)
            self.pairs.clear()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            self.pairs.append(near)
            if self.mode == "hang":
                continue
            far = socket.create_connection(("127.0.0.1", self.target))
            self.pairs.append(far)
            storing = threading.Event()
            threading.Thread(target=self._carry, args=(near, far, storing, True), daemon=True).start()
            threading.Thread(target=self._carry, args=(far, near, storing, False), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket, storing: threading.Event, request: bool) -> None:
        try:
            while data := source.recv(65536):
                if request and re.match(rb"POST .*/runs/(log-batch|create) ", data):
                    storing.set()
                if request:
                    self.asked |= set(re.findall(rb"(?i)^authorization: (.*)\r$", data, re.MULTILINE))
                if not request and self.mode == "lose" and storing.is_set() and self.lost < 3:
                    self.lost += 1
                    break
                if not request:
                    storing.clear()
                sink.sendall(data)
        except OSError:
            pass
        self._hang_up(source)
        self._hang_up(sink)

    @staticmethod
    def _hang_up(one: socket.socket) -> None:
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a real MLflow server."""
    folder = tmp_path_factory.mktemp("server")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--backend-store-uri", f"sqlite:///{folder}/server.db", "--artifacts-destination", str(folder / "artifacts")]
    environment = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        for _ in range(600):
            try:
                if requests.get(f"http://127.0.0.1:{port}/health", timeout=1).ok:
                    break
            except requests.RequestException:
                time.sleep(0.1)
        else:
            pytest.fail((folder / "log").read_text())
        yield port
    finally:
        os.killpg(process.pid, 15)
        process.wait()


@pytest.fixture
def proxy(server: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    proxy = Proxy(server)
    monkeypatch.setenv("PYTHONPATH", SOURCES)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{proxy.port}")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", tmp_path.name)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    yield proxy
    proxy.set("refuse")


def train(pause: float, after: float = 0) -> tuple[float, list[str]]:
    """Train to the end. Returns the seconds that `finish` took, and the lines on stderr."""
    command = [sys.executable, "-c", TRAINER, str(pause), str(after)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3000)
    assert done.returncode == 0, done.stderr
    return float(done.stdout.split()[-1]), done.stderr.splitlines()


def train_until(happened: Callable[[], object]) -> tuple[float, list[str]]:
    """Train half, wait until something has happened, and train to the end. Returns what `train` returns."""
    command = [sys.executable, "-c", TRAINER, "-1", "0"]
    trainer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert trainer.stdin is not None
    trainer.stdin.write("\n" * (EPOCHS // 2))
    trainer.stdin.flush()
    end = time.monotonic() + 300
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.1)
    out, error = trainer.communicate("\n" * EPOCHS, timeout=300)
    assert trainer.returncode == 0, error
    return float(out.split()[-1]), error.splitlines()


def behind() -> bool:
    """Whether a mirror has found that the server cannot be used."""
    return any(path.read_text() == "behind" for path in Path(".work/tracking/vae").glob("*/mirror"))


def assert_complete(server: int, experiment: str) -> None:
    """The server has one run of the experiment, with every point and image once."""
    client = MlflowClient(tracking_uri=f"http://127.0.0.1:{server}")
    found = client.get_experiment_by_name(experiment)
    (run,) = client.search_runs([found.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.params == {"beta": "1.0"}
    losses = [(p.step, p.value) for p in client.get_metric_history(run.info.run_id, "train/loss")]
    assert Counter(losses) == Counter((epoch, 1 / epoch) for epoch in range(1, EPOCHS + 1))
    images = [file.path for file in client.list_artifacts(run.info.run_id, "images") if file.path.endswith(".webp")]
    assert sorted(re.findall(r"step\+(\d+)", name)[0] for name in images) == [str(epoch) for epoch in range(1, EPOCHS + 1)]


def assert_sync_completes(server: int, experiment: str) -> None:
    sync()
    assert_complete(server, experiment)


def test_a_server_that_refuses(proxy: Proxy, server: int, tmp_path: Path) -> None:
    proxy.set("refuse")
    finish, lines = train_until(behind)
    assert finish < LONG
    assert len(lines) == 1
    assert "connection refused" in lines[0]
    for name in ("params.yaml", "dvc.yaml"):
        Path(name).touch()
    failed = subprocess.run([sys.executable, "-m", "regen.cli", "sync"], capture_output=True, text=True, timeout=3000)
    assert failed.returncode == 1
    assert re.fullmatch(
        r"error: http://127.0.0.1:\d+: the tracking server can't be used \(connection refused\); .*\n", failed.stderr
    )
    proxy.set("forward")
    assert_sync_completes(server, tmp_path.name)


def test_a_server_that_refuses_what_a_short_training_left(
    proxy: Proxy, server: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    proxy.set("refuse")
    finish, lines = train(pause=0, after=20)
    assert finish < LONG
    assert lines == []  # nobody has tried yet
    end = time.monotonic() + 300
    while not list(tmp_path.glob(".work/tracking/.boxes/*/behind")):
        assert time.monotonic() < end
        time.sleep(0.1)
    with launch.mirrored("gan", "s1", {}, "punks", "cpu"):
        pass
    assert re.fullmatch(r"tracking: http://127.0.0.1:\d+: connection refused; .*\n", capsys.readouterr().err)
    proxy.set("forward")
    sync()
    assert not list(tmp_path.glob(".work/tracking/.boxes/*/behind"))


def test_a_server_that_accepts_and_never_answers(proxy: Proxy, server: int, tmp_path: Path) -> None:
    proxy.set("hang")
    finish, lines = train(pause=0.2)
    assert finish < LONG
    assert len(lines) == 1
    proxy.set("forward")
    assert_sync_completes(server, tmp_path.name)


def test_a_server_that_dies_in_the_middle(proxy: Proxy, server: int, tmp_path: Path) -> None:
    client = MlflowClient(tracking_uri=f"http://127.0.0.1:{server}")

    def some_is_sent() -> bool:
        experiment = client.get_experiment_by_name(tmp_path.name)
        runs = client.search_runs([experiment.experiment_id]) if experiment else []
        if not any("train/loss" in run.data.metrics for run in runs):
            return False
        proxy.set("refuse")
        return True

    finish, lines = train_until(some_is_sent)
    assert finish < LONG
    assert not any("Traceback" in line for line in lines)
    proxy.set("forward")
    assert_sync_completes(server, tmp_path.name)


def test_a_server_whose_answers_are_lost(proxy: Proxy, server: int, tmp_path: Path) -> None:
    proxy.set("lose")
    train_until(lambda: proxy.lost)
    assert_sync_completes(server, tmp_path.name)


def test_a_training_that_is_sent_leaves_its_servers_password_nowhere(
    server: int, proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Data, training and evaluation of a tiny model, all as DVC would run them; what is sent is sent."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address(proxy.port))
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")
    for name in ("USERNAME", "PASSWORD"):
        monkeypatch.setenv(f"MLFLOW_TRACKING_{name}", "")  # so that what a connection sets is taken back
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(kills.tiny(), sort_keys=False))
    seen = set[str]()
    for stage, key in (("download", "letters"), ("prepare", "letters"), ("train", "lstm"), ("evaluate", "lstm")):
        process = subprocess.Popen([sys.executable, f"{SOURCES}/../stages/{stage}.py", key])
        while process.poll() is None:
            seen |= set(command_lines().splitlines())
            time.sleep(0.1)
        assert process.returncode == 0
    client = MlflowClient(tracking_uri=f"http://127.0.0.1:{server}")
    end = time.monotonic() + 300
    while True:  # the courier has some seconds to go
        seen |= set(command_lines().splitlines())
        found = client.get_experiment_by_name(tmp_path.name)
        runs = list(client.search_runs([found.experiment_id])) if found else []
        if [run for run in runs if run.info.status == "FINISHED" and "eval/nats_per_pixel" in run.data.metrics]:
            break
        assert time.monotonic() < end, [run.to_dictionary() for run in runs]
        time.sleep(0.5)
    sync()
    sent = json.dumps([run.to_dictionary() for run in client.search_runs([found.experiment_id])])
    said = capfd.readouterr()
    if sys.platform == "linux":
        assert any("-m regen.tracking " in line for line in seen)
    assert "train/nats_per_pixel" in sent
    assert leaks(tmp_path, said.out, said.err, sent, *seen) == []
    assert proxy.asked == {f"Basic {BASIC}".encode()}  # it was used all the same
