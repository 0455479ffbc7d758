"""Mirrors that answer nonsense, clients that misbehave, and a cache that others may write to."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import signal
import socket
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
import urllib3

from regen.data.download import packages, pinned, places, web
from regen.data.download.mirrors import File, MirrorError, Package, Url
from regen.errors import UserError

CONTENT = bytes(range(256)) * 400
SHA256 = hashlib.sha256(CONTENT).hexdigest()
GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(CONTENT) + CONTENT
STRANGER = 12345  # a user's number that has no name and no home
root_alone = pytest.mark.skipif(getattr(os, "geteuid", lambda: 1)() != 0, reason="only root can become another user")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("REGEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(web, "BACK_OFF_SECONDS", 0.001)
    monkeypatch.setattr(web, "ANSWER_SECONDS", 2.0)
    monkeypatch.setattr(web, "_unreachable", set())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "raw").mkdir()
    return tmp_path / "raw"


@pytest.fixture
def says() -> Iterator[Callable[..., Url]]:
    """Serve raw bytes from a port of 127.0.0.1; parts are sent for as long as somebody listens."""
    listeners = []

    def serve(*parts: bytes, endless: bool = False, pause: float = 0.0) -> Url:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def answer() -> None:
            while True:
                try:
                    near, _ = listener.accept()
                except OSError:
                    return
                with near:
                    try:
                        near.recv(65536)
                        for part in parts:
                            near.sendall(part)
                        while endless:
                            near.sendall(parts[-1])
                            time.sleep(pause)
                        near.shutdown(socket.SHUT_WR)
                        while near.recv(65536):  # closed too early, what was sent would be lost
                            pass
                    except OSError:
                        pass

        threading.Thread(target=answer, daemon=True).start()
        return Url(f"http://127.0.0.1:{listener.getsockname()[1]}/data.bin")

    yield serve
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def data(*mirrors: Url | Package) -> File:
    return File("data.bin", SHA256, len(CONTENT), mirrors)


def redirect(place: str) -> bytes:
    return f"HTTP/1.1 302 Found\r\nLocation: {place}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode("latin-1")


NONSENSE = {
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 7\r\n\r\nshort",
    "a negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nshort",
    "a length of 5,000 digits": b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\nshort",
    "no HTTP": b"\x00\xff\xfe not a web server\r\n\r\n",
    "a part that nobody asked for": b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 7-9/4\r\nContent-Length: 3\r\n\r\nabc",
    "broken chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n",
    "a broken encoding": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
    "a malformed redirect": redirect("http://[::1/data.bin"),
    "a redirect to a port that is none": redirect("http://127.0.0.1:99999999/data.bin"),
    "a redirect to a host that is none": redirect("http://" + "a" * 300 + "/"),
    "a redirect to a file": redirect("file:///etc/passwd"),
    "a redirect to another scheme": redirect("ftp://127.0.0.1/data.bin"),
    "a redirect to itself": redirect("/data.bin"),
    "a redirect in odd bytes": redirect("http://127.0.0.1:\xff\xfe/"),
}


@pytest.mark.parametrize("answer", NONSENSE.values(), ids=NONSENSE)
def test_a_mirror_that_answers_nonsense_gives_way_to_the_next(says, folder, answer):
    pinned.into(folder, [data(says(answer), says(GOOD))])
    assert (folder / "data.bin").read_bytes() == CONTENT


def test_a_length_that_is_no_number_is_not_believed(says, folder):
    odd = GOOD.replace(b"Content-Length: %d" % len(CONTENT), b"Content-Length: abc")
    pinned.into(folder, [data(says(odd))])
    assert (folder / "data.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("part", [b"X-More: and more\r\n", b"x"], ids=["headers", "a header"])
def test_endless_headers_give_way_to_the_next_mirror(says, folder, part):
    pinned.into(folder, [data(says(b"HTTP/1.1 200 OK\r\n", part, endless=True), says(GOOD))])
    assert (folder / "data.bin").read_bytes() == CONTENT


def test_no_more_is_written_of_an_endless_file_after_a_redirect_either(says, folder):
    endless = says(b"HTTP/1.1 200 OK\r\n\r\n", CONTENT, endless=True)
    with pytest.raises(UserError, match=r"longer than the 102,400 bytes expected"):
        pinned.into(folder, [data(says(redirect(str(endless))))])
    assert not any(path.stat().st_size > len(CONTENT) for path in (folder.parent / "cache").rglob("*"))


def test_a_file_that_drips_in_is_given_up_before_a_block_of_it_is_full(says, folder, monkeypatch):
    monkeypatch.setattr(web, "SLOW_AFTER", 0.3)
    monkeypatch.setattr(web, "ATTEMPTS", 1)
    start = time.monotonic()
    dripping = says(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(CONTENT), b"x", endless=True, pause=0.1)
    pinned.into(folder, [data(dripping, says(GOOD))])
    assert (folder / "data.bin").read_bytes() == CONTENT
    assert time.monotonic() - start < 60  # 102,400 bytes would take three hours


def test_no_redirect_leads_from_https_to_http():
    class Answered(requests.adapters.BaseAdapter):
        def send(self, request, **_):
            answer = requests.Response()
            answer.status_code, answer.request, answer.url = 302, request, request.url
            answer.headers["Location"] = "http://elsewhere.example/data.bin"
            answer.raw = urllib3.HTTPResponse(io.BytesIO(), preload_content=False)
            return answer

        def close(self):
            pass

    session = web.session("https://safe.example/data.bin")
    session.mount("https://", Answered())
    with pytest.raises(requests.exceptions.InvalidSchema):
        session.get("https://safe.example/data.bin")


def test_a_server_that_is_too_slow_to_end_gives_way(says, folder, monkeypatch):
    monkeypatch.setattr(web, "SLOW_AFTER", 0.0)
    monkeypatch.setattr(web, "SLOWEST", 1 << 40)
    with pytest.raises(UserError, match="too slow: "):
        pinned.into(folder, [data(says(GOOD[:-1]))])


# -- clients


def client(folder: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> Package:
    (folder / "bin").mkdir()
    (folder / "bin/npm").write_bytes(content)
    (folder / "bin/npm").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder / "bin"))
    return Package("npm", "some-data", "1.0", "0" * 64, "package/data.bin")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"#!/bin/sh\nprintf 'npm error caf\\351 \\033[2J is not what was wanted here' >&2; exit 1\n", "is not what was wanted"),
        (b"#!/nowhere/sh\n", "npm cannot be started"),
        (b"#!/bin/sh\n/bin/ln -s /etc/passwd some-data-1.0.tgz\n", "other content"),
    ],
    ids=["says no UTF-8", "cannot be started", "leaves a link"],
)
def test_a_client_that_misbehaves_gives_way_to_the_next_mirror(tmp_path, folder, says, monkeypatch, content, said):
    package = client(tmp_path, monkeypatch, content)
    with pytest.raises(UserError, match=said) as raised:
        pinned.into(folder, [data(package)])
    assert str(raised.value).isprintable()
    pinned.into(folder, [data(package, says(GOOD))])
    assert (folder / "data.bin").read_bytes() == CONTENT


def test_a_client_that_takes_too_long_ends_with_all_that_it_has_started(tmp_path, monkeypatch):
    package = client(tmp_path, monkeypatch, b"#!/bin/sh\n/bin/sleep 300 &\necho $! > child\n/bin/sleep 300\n")
    monkeypatch.setattr(packages, "CLIENT_SECONDS", 0.5)
    with pytest.raises(MirrorError, match=r"not fetched within 0\.5 s"):
        packages.fetch(package, tmp_path)
    child = int((tmp_path / "child").read_text())
    end = time.monotonic() + 120
    while alive(child):
        assert time.monotonic() < end
        time.sleep(0.05)


def alive(process: int) -> bool:
    """Whether a process runs; one that has ended and that nobody waits for does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


# -- the cache


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that everybody can reach and write to, as /tmp is."""
    place = Path(tempfile.mkdtemp())
    place.chmod(0o1777)
    yield place
    shutil.rmtree(place)


def test_links_planted_in_a_shared_cache_overwrite_nothing(says, folder, shared, tmp_path, monkeypatch):
    monkeypatch.setenv("REGEN_CACHE", str(shared))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    mirror = says(GOOD)
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "letter").write_text("mine")
    for name in (SHA256, f"{SHA256}.part", f"{SHA256}.lock"):
        (shared / name).symlink_to(precious / "letter")
    (shared / "partial").symlink_to(precious)
    pinned.into(folder, [data(mirror)])
    assert (folder / "data.bin").read_bytes() == CONTENT
    assert {path.name: path.read_text() for path in precious.iterdir()} == {"letter": "mine"}
    assert (shared / SHA256).read_bytes() == CONTENT
    assert not (shared / SHA256).is_symlink()


def test_a_pipe_planted_in_a_shared_cache_is_not_waited_for(says, folder, shared, monkeypatch):
    monkeypatch.setenv("REGEN_CACHE", str(shared))
    os.mkfifo(shared / SHA256)
    pinned.into(folder, [data(says(GOOD))])
    assert (folder / "data.bin").read_bytes() == CONTENT


def test_what_stands_in_a_shared_cache_is_verified_at_each_use(says, folder, shared, monkeypatch):
    monkeypatch.setenv("REGEN_CACHE", str(shared))
    for _ in range(2):
        (shared / SHA256).write_bytes(CONTENT[:-1] + b"x")
        pinned.into(folder, [data(says(GOOD))])
        assert (folder / "data.bin").read_bytes() == CONTENT


def as_stranger(work: Callable[[], None]) -> str:
    """Run something as a user without name and home; returns the traceback it ended with."""
    out, into = os.pipe()
    if not (child := os.fork()):
        try:
            os.setgroups([])
            os.setgid(STRANGER)
            os.setuid(STRANGER)
            os.environ.pop("HOME", None)
            work()
        except BaseException:
            os.write(into, traceback.format_exc().encode())
        os._exit(0)
    os.close(into)
    signal.alarm(60)
    with open(out) as file:
        said = file.read()
    signal.alarm(0)
    os.waitpid(child, 0)
    return said


@root_alone
@pytest.mark.parametrize("mode", [0o755, 0o700, 0o1777])
def test_a_second_user_of_a_cache_finds_a_way_on(says, shared, mode, monkeypatch):
    cache, raw = shared / "cache", shared / "raw"
    raw.mkdir()
    monkeypatch.setenv("REGEN_CACHE", str(cache))
    monkeypatch.setattr(tempfile, "tempdir", str(shared))
    pinned.into(raw, [data(says(GOOD))])  # root's
    cache.chmod(mode)
    (cache / SHA256).write_bytes(b"damaged, and not the other user's to remove")
    os.chown(raw, STRANGER, STRANGER)
    (raw / "data.bin").unlink()
    assert as_stranger(lambda: pinned.into(raw, [data(says(GOOD))]) and None) == ""
    assert (raw / "data.bin").read_bytes() == CONTENT


@root_alone
def test_a_second_user_downloads_nothing_that_the_first_has(says, shared, monkeypatch):
    raw = shared / "raw"
    raw.mkdir()
    monkeypatch.setenv("REGEN_CACHE", str(shared / "cache"))
    monkeypatch.setattr(tempfile, "tempdir", str(shared))
    pinned.into(raw, [data(says(GOOD))])
    os.chown(raw, STRANGER, STRANGER)
    (raw / "data.bin").unlink()
    assert as_stranger(lambda: pinned.into(raw, [data()]) and None) == ""
    assert (raw / "data.bin").read_bytes() == CONTENT


@root_alone
def test_another_user_s_folder_is_no_place_of_my_own(shared, monkeypatch):
    monkeypatch.delenv("REGEN_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(shared))
    monkeypatch.setattr(tempfile, "tempdir", str(shared))
    for name in ("regen", f"regen-{STRANGER}"):
        (shared / name / "partial").mkdir(parents=True)
        (shared / name).chmod(0o777)
        (shared / name / "partial").chmod(0o777)
    found = shared / "found"
    found.mkdir()
    found.chmod(0o777)
    assert as_stranger(lambda: (found / "place").write_text(str(places.own())) and None) == ""
    assert not {"regen", f"regen-{STRANGER}"} & set(Path((found / "place").read_text()).parts)


def test_without_a_home_downloads_have_a_place(monkeypatch, tmp_path):
    for name in ("HOME", "REGEN_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as where the user's number has no name
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert places.cache() == tmp_path / f"regen-{os.geteuid()}"
