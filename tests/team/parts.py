"""The parts that a team uses, real ones, on loopback ports of their own: PostgreSQL, MLflow with its users, S3, SSH."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

ROOT = Path(__file__).parents[2]
KEYS = {"AWS_ACCESS_KEY_ID": "regen", "AWS_SECRET_ACCESS_KEY": "regen", "AWS_DEFAULT_REGION": "us-east-1"}
POSTGRES = "PostgreSQL (apt-get install postgresql)"
PATIENCE = 600  # seconds for a part to begin: machines of tests are busy


def program(name: str) -> str | None:
    """Where a program is: on the path, or where Debian keeps PostgreSQL's and sshd."""
    places = [*sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True), "/usr/sbin"]
    return shutil.which(name) or shutil.which(name, path=os.pathsep.join(places))


def missing() -> list[str]:
    """The parts that this machine lacks, by their names."""
    wanted = {"initdb": POSTGRES, "sshd": "an SSH server (apt-get install openssh-server)"}
    return [said for name, said in wanted.items() if program(name) is None]


def port() -> int:
    """A free port."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def wait(ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait for a part to begin."""
    end = time.monotonic() + PATIENCE
    while not ready():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.2)


@dataclass
class Part:
    """A program that serves, in a process group of its own.

    Attributes:
        ready: whether it answers.
        options: of its environment.
    """

    command: list[str]
    log: Path
    ready: Callable[[], bool]
    options: dict[str, str]
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        environment = {**os.environ, **self.options}
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(self.command, stdout=out, stderr=out, env=environment, start_new_session=True)
        wait(self.ready, self.process, self.log)

    def send(self, what: signal.Signals) -> None:
        """Send a signal to all of its processes."""
        assert self.process is not None
        os.killpg(self.process.pid, what)

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it, and wait until it has ended."""
        if self.process is not None:
            self.send(how)
            self.process.wait(120)
            self.process = None


@contextmanager
def running(command: list[str], log: Path, ready: Callable[[], bool], **options: str) -> Iterator[Part]:
    """A part that is ended with the block."""
    part = Part(command, log, ready, options)
    try:
        part.start()
        yield part
    finally:
        part.end()


@dataclass(frozen=True)
class Service:
    """A part, and where it is reached."""

    address: str
    part: Part


def listens(port: int) -> bool:
    """Whether somebody answers at a port."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@contextmanager
def postgres() -> Iterator[Service]:
    """A PostgreSQL with the databases `mlflow` and `users`; its address is without a database's name.

    PostgreSQL refuses to be run by root: then it runs as Debian's user postgres.
    """
    folder = Path(tempfile.mkdtemp(prefix="regen-postgres-", dir="/tmp"))
    unprivileged = []
    if os.geteuid() == 0:
        other = pwd.getpwnam("postgres")
        os.chown(folder, other.pw_uid, other.pw_gid)
        unprivileged = ["setpriv", f"--reuid={other.pw_uid}", f"--regid={other.pw_gid}", "--clear-groups"]
    chosen, password, data = port(), secrets.token_hex(8), folder / "data"
    try:
        (folder / "password").write_text(password)
        create = [str(program("initdb")), "-D", str(data), "-U", "regen", "--auth=scram-sha-256", f"--pwfile={folder}/password"]
        subprocess.run([*unprivileged, *create, "--no-sync"], check=True, capture_output=True, cwd="/")
        serve = [str(program("postgres")), "-D", str(data), "-p", str(chosen), "-k", str(folder), "-h", "127.0.0.1", "-F"]
        with running([*unprivileged, *serve], folder / "log", lambda: listens(chosen)) as part:
            address = f"postgresql://regen:{password}@127.0.0.1:{chosen}"
            for name in ("mlflow", "users"):
                sql(f"{address}/postgres", f"create database {name}")
            yield Service(address, part)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sql(address: str, query: str) -> list[tuple[object, ...]]:
    """What PostgreSQL answers; it is asked again while it begins."""
    import psycopg

    end = time.monotonic() + 300
    while True:
        try:
            with psycopg.connect(address, autocommit=True) as connection:
                found = connection.execute(query.encode())
                return found.fetchall() if found.description else []
        except psycopg.OperationalError:
            if time.monotonic() > end:
                raise
            time.sleep(0.5)


@contextmanager
def s3(folder: Path, *buckets: str) -> Iterator[Service]:
    """An S3 server with some buckets."""
    import boto3

    chosen = port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(chosen)]
    with running(command, folder / "s3.log", lambda: listens(chosen)) as part:
        client = boto3.client(
            "s3", endpoint_url=f"http://127.0.0.1:{chosen}", region_name="us-east-1",
            aws_access_key_id="regen", aws_secret_access_key="regen",
        )  # fmt: skip
        for bucket in buckets:
            client.create_bucket(Bucket=bucket)
        yield Service(f"http://127.0.0.1:{chosen}", part)


@dataclass(frozen=True)
class Server:
    """An MLflow server, and its address for one of its users."""

    port: int
    passwords: dict[str, str]
    part: Part

    def of(self, user: str) -> str:
        """The address with user and password."""
        return f"http://{user}:{self.passwords[user]}@127.0.0.1:{self.port}"

    def administer(self, what: str, method: str = "POST", **told: str) -> None:
        """Ask for something as the administrator, e.g. `2.0/mlflow/users/create`."""
        address = f"http://127.0.0.1:{self.port}/api/{what}"
        answer = requests.request(method, address, json=told, auth=("admin", self.passwords["admin"]), timeout=60)
        assert answer.ok, answer.text


@contextmanager
def mlflow(folder: Path, database: str, store: str, *users: str, permission: str = "EDIT") -> Iterator[Server]:
    """MLflow's server as `deploy/serve` starts it, behind its own users, who have a permission for what others made."""
    chosen, passwords = port(), {name: secrets.token_hex(8) for name in ("admin", *users)}
    with running(
        [str(ROOT / "deploy/serve")], folder / "mlflow.log", lambda: healthy(chosen), **KEYS, DATABASE=database,
        ADMIN_PASSWORD=passwords["admin"], SECRET_KEY=secrets.token_hex(16), MLFLOW_S3_ENDPOINT_URL=store, PORT=str(chosen),
        WORKERS="1", DEFAULT_PERMISSION=permission, PATH=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    ) as part:  # fmt: skip
        server = Server(chosen, passwords, part)
        for name in users:
            server.administer("2.0/mlflow/users/create", username=name, password=passwords[name])
        yield server


def healthy(port: int) -> bool:
    """Whether MLflow answers."""
    try:
        return requests.get(f"http://127.0.0.1:{port}/health", timeout=2).ok
    except requests.RequestException:
        return False


@contextmanager
def ssh(folder: Path) -> Iterator[tuple[str, Path]]:
    """An SSH server for this user and one key: the address of a folder on it, and the key."""
    chosen, place = port(), folder / "ssh"
    place.mkdir(mode=0o700)
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(place / name)], check=True)
    shutil.copy(place / "user.pub", place / "authorized")
    (place / "config").write_text(
        f"Port {chosen}\nListenAddress 127.0.0.1\nHostKey {place}/host\nPidFile none\nUsePAM no\nStrictModes no\n"
        f"AuthorizedKeysFile {place}/authorized\nPasswordAuthentication no\nPermitRootLogin prohibit-password\n"
        "Subsystem sftp internal-sftp\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where sshd drops root's rights
    command = [str(program("sshd")), "-D", "-e", "-f", str(place / "config")]
    with running(command, place / "log", lambda: listens(chosen)):
        yield f"ssh://{pwd.getpwuid(os.geteuid()).pw_name}@127.0.0.1:{chosen}{folder}/ssh-remote", place / "user"
