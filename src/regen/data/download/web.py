"""Files from the web: noticed when unreachable, continued when cut short, refused when too long or a page."""

from __future__ import annotations

import gzip
import queue
import re
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast
from urllib.parse import urlsplit

import requests
import tenacity
import urllib3
from tqdm import tqdm

from regen.data.download.mirrors import MirrorError
from regen.data.folders import naming

CONNECT_SECONDS = 4.0  # for each address of a host
ANSWER_SECONDS = 10.0  # for name look-up, all addresses and the first line of the answer together
STALL_SECONDS = 30.0  # without a single byte in the middle of a file
SLOWEST, SLOW_AFTER = 1024, 30.0  # bytes a second on average, from so many seconds on
ATTEMPTS = 5  # at a file whose server answers
BACK_OFF_SECONDS = 0.5  # before the second attempt; doubled before each further one

BLOCK = 1 << 16  # bytes read at a time

_unreachable: set[str] = set()  # hosts not worth waiting for again in this process


class _BrokenError(MirrorError):
    """This attempt failed; another may succeed."""


def download(url: str, partial: Path, name: str, limit: int, size: int | None) -> None:
    """Bring the file `partial` to the whole content of `url`, continuing what is there if the server can.

    `size` in bytes is exact where it is known; more than `limit` bytes are never written. `name` stands beside the progress.

    Raises:
        MirrorError: with the reason. What arrived of a file cut short stays in `partial`.
    """
    attempts = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(_BrokenError),
        stop=tenacity.stop_after_attempt(ATTEMPTS),
        wait=tenacity.wait_exponential(multiplier=BACK_OFF_SECONDS),
        reraise=True,
    )
    attempts(_attempt, url, partial, name, limit, size)


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """Open a download for reading, unpacked where it is packed by gzip."""
    with path.open("rb") as source:
        packed = source.read(2) == b"\x1f\x8b"
    try:
        with cast(IO[bytes], gzip.open(path) if packed else path.open("rb")) as source:
            yield source
    except EOFError:
        raise MirrorError("cut short: the archive ends too early") from None
    except (gzip.BadGzipFile, zlib.error):
        raise MirrorError("a damaged archive") from None


def _attempt(url: str, partial: Path, name: str, limit: int, size: int | None) -> None:
    have = partial.stat().st_size if partial.exists() else 0
    if have == size:
        return
    with _ask(url, have) as response:
        have = _position(response, partial, have)
        told = response.headers.get("Content-Length", "")
        length = int(told) if re.fullmatch("[0-9]{1,18}", told) else 0
        bar = tqdm(desc=name, total=have + length or size, initial=have, unit="B", unit_scale=True, disable=None)
        try:
            with bar, naming(partial), partial.open("ab" if have else "wb") as out:
                for block in _blocks(response, have):
                    if "html" in response.headers.get("Content-Type", "") or (not have and _is_page(block)):
                        raise MirrorError("an HTML page instead of the file (a log-in or error page?)")
                    if have + len(block) > limit:
                        raise MirrorError(f"longer than the {limit:,} bytes expected")
                    have += out.write(block)
                    bar.update(len(block))
        except _BrokenError:
            raise
        except MirrorError:
            partial.unlink(missing_ok=True)
            raise
    if size is not None and have < size:
        raise _BrokenError(f"cut short: {have:,} of {size:,} bytes")


def _blocks(response: requests.Response, have: int) -> Iterator[bytes]:
    """Yield the body; whatever a server does wrong in it is a connection lost, and what never ends is too slow."""
    start, got = time.monotonic(), 0
    while True:
        try:
            block = response.raw.read1(BLOCK, decode_content=True)  # what is there: a whole block might drip in for hours
        except Exception:  # of requests, urllib3, http.client, zlib: the server's doing in any case
            raise _BrokenError(f"cut short: connection lost after {have + got:,} bytes") from None
        if not block:
            return
        got += len(block)
        if got < SLOWEST * (time.monotonic() - start - SLOW_AFTER):
            raise _BrokenError(f"too slow: {got:,} bytes in {time.monotonic() - start:.0f} s")
        yield block


def _position(response: requests.Response, partial: Path, have: int) -> int:
    """Return from which byte on the server answers, having been asked for byte `have`: that one, or 0 if it ignores ranges."""
    status = response.status_code
    if status == 416 or (status == 206 and not response.headers.get("Content-Range", "").startswith(f"bytes {have}-")):
        partial.unlink(missing_ok=True)
        raise _BrokenError(f"cut short: {have:,} bytes, and the server cannot continue there")
    if status in (408, 429) or status >= 500:
        raise _BrokenError(f"HTTP {status}")
    if status not in (200, 206):
        raise MirrorError(f"HTTP {status}")
    return have if status == 206 else 0


def session(url: str) -> requests.Session:
    """Return what asks for `url`: from https, no redirect leads to where anybody on the way may change what comes."""
    asks = requests.Session()
    if url.startswith("https:"):
        asks.adapters.pop("http://")
    return asks


def _is_page(start: bytes) -> bool:
    return start.lstrip()[:14].lower().startswith((b"<!doctype html", b"<html"))


def _ask(url: str, have: int) -> requests.Response:
    """Open `url` from byte `have` on, within ANSWER_SECONDS, whatever takes them: name server, each address, proxy, server."""
    host = urlsplit(url).netloc
    if host in _unreachable:
        raise MirrorError("unreachable")
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
    answers: queue.Queue[requests.Response | Exception] = queue.Queue()

    def ask() -> None:
        try:
            answers.put(session(url).get(url, headers=headers, stream=True, timeout=(CONNECT_SECONDS, STALL_SECONDS)))
        except Exception as error:  # handed to the caller
            answers.put(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = answers.get(timeout=ANSWER_SECONDS)
    except queue.Empty:
        _unreachable.add(host)
        raise MirrorError(f"no answer in {ANSWER_SECONDS:g} s") from None
    if isinstance(answer, requests.Response):
        return answer
    cause = answer.args[0] if answer.args else answer
    if isinstance(answer, requests.RequestException) and isinstance(cause, urllib3.exceptions.MaxRetryError):
        _unreachable.add(host)  # never connected, unlike a connection lost
        raise MirrorError(f"unreachable ({type(cause.reason).__name__})")
    if isinstance(answer, requests.ConnectionError | requests.Timeout):
        raise _BrokenError(f"connection lost ({type(answer).__name__})")
    raise MirrorError(f"no answer that can be read ({type(answer).__name__})")  # nonsense, or a redirect to nowhere
