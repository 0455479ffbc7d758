"""A polite client of somebody's open API: one request at a time, never fast, patient, and bounded in bytes and time."""

from __future__ import annotations

import email.utils
import time
from urllib.parse import urljoin, urlsplit

import requests
import tenacity
import urllib3

CONNECT_SECONDS = 10.0
STALL_SECONDS = 30.0  # without a single byte
BODY_SECONDS = 120.0  # for one whole answer
ATTEMPTS = 5
BACK_OFF_SECONDS = 1.0  # before the second attempt; doubled before each further one
LONGEST_WAIT = 120.0  # that a server may ask for in Retry-After
REDIRECTS = 5
BLOCK = 1 << 16


class RefusedError(Exception):
    """This address will not give what was asked for, however often one asks."""


class UnansweredError(Exception):
    """The server did not answer in spite of all attempts; later it may."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait  # seconds that the server asked for


class Client:
    """Asks one address after the other.

    Only `https` is asked, also after redirects; besides it the one origin where the work begins, which may be on this machine.

    Args:
        origin: address where the work begins.
        pause: seconds between the starts of two requests.
        agent: what the client calls itself.
        attempts: at an answer.
    """

    def __init__(self, origin: str, pause: float, agent: str, attempts: int = ATTEMPTS) -> None:
        self.origin = _origin(origin)
        self.pause = pause
        self.session = requests.Session()
        self.session.headers["User-Agent"] = agent
        self._last = -pause
        self._attempts = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(UnansweredError),
            stop=tenacity.stop_after_attempt(attempts),
            wait=_wait,
            reraise=True,
        )

    def get(self, url: str, accept: str, limit: int) -> bytes:
        """Return what `url` answers, at most `limit` bytes.

        Raises:
            RefusedError: another status than 200, an address that is not asked, or a longer answer.
            UnansweredError: no answer in spite of all attempts.
        """
        body: bytes = self._attempts(self._follow, url, accept, limit)
        return body

    def _follow(self, url: str, accept: str, limit: int) -> bytes:
        for _ in range(REDIRECTS + 1):
            if (origin := _origin(url)) != self.origin and origin[0] != "https":
                raise RefusedError("an address that is not https")
            time.sleep(max(0.0, self._last + self.pause - time.monotonic()))
            self._last = time.monotonic()
            try:
                with self.session.get(url, headers={"Accept": accept}, stream=True, allow_redirects=False,
                                      timeout=(CONNECT_SECONDS, STALL_SECONDS)) as response:  # fmt: skip
                    if not response.is_redirect:
                        return _body(response, limit)
                    url = urljoin(url, response.headers["Location"])
            except ValueError:  # requests' for what is no address, too
                raise RefusedError("no address") from None
            except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
                raise UnansweredError(_reason(error)) from None
        raise RefusedError(f"more than {REDIRECTS} redirects")


def _body(response: requests.Response, limit: int) -> bytes:
    status = response.status_code
    if status in (408, 429) or status >= 500:
        raise UnansweredError(f"HTTP {status}", _asked(response.headers.get("Retry-After", "")))
    if status != 200:
        raise RefusedError(f"HTTP {status}")
    end, parts, count = time.monotonic() + BODY_SECONDS, [], 0
    while part := response.raw.read1(BLOCK, decode_content=True):  # what is there: a server that drips cannot hold it
        parts.append(part)
        count += len(part)
        if count > limit:
            raise RefusedError(f"longer than {limit:,} bytes")
        if time.monotonic() > end:
            raise UnansweredError(f"not whole after {BODY_SECONDS:g} s")
    return b"".join(parts)


def _asked(retry_after: str) -> float | None:
    """Return the seconds that a server asks to wait: a number of them, or a date (RFC 9110, section 10.2.3)."""
    if retry_after.isdecimal():
        return float(retry_after)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time())
    except ValueError:
        return None


def _wait(state: tenacity.RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked = error.wait if isinstance(error, UnansweredError) else None
    if asked is not None and asked > LONGEST_WAIT:
        raise UnansweredError(f"asks to wait {asked:.0f} s") from None
    backed_off: float = BACK_OFF_SECONDS * 2 ** (state.attempt_number - 1)
    return backed_off if asked is None else max(asked, backed_off)


def _reason(error: Exception) -> str:
    late = isinstance(error, requests.Timeout | urllib3.exceptions.TimeoutError)
    return "no answer in time" if late else f"no connection ({type(error).__name__})"


def _origin(url: str) -> tuple[str, str]:
    try:
        parts = urlsplit(url)
    except ValueError:
        raise RefusedError("no address") from None
    return parts.scheme, parts.netloc
