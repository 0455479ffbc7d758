"""The tracking server's address without what opens it: no user and no password leaves the environment.

MLflow gets an address of a server without them, and them in the environment; what it and others say is cleaned before it is
printed or written anywhere. `REGEN_TRACKING_PRIVATE` leaves out of what is sent who and where one is.
"""

from __future__ import annotations

import base64
import getpass
import io
import json
import os
import re
from collections.abc import MutableMapping
from pathlib import Path
from urllib.parse import quote, quote_plus, unquote

HIDDEN = "***"
SECRETS = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")
PRIVATE = "REGEN_TRACKING_PRIVATE"  # set to anything: names, places and devices are not sent
LEFT_OUT = ("mlflow.user", "device", "dvc.exp_name")  # tags that are not sent then
SHORTEST = 3  # characters of a secret that is looked for by itself; within an address a shorter one is hidden too

_ACCOUNT = re.compile(r"//[^\s\"'<>]*@")  # in a text; up to the last @: a password may have one, and a slash


def shown(uri: str) -> str:
    """Return an address without user, password and options, to print and to remember."""
    if uri.startswith("sqlite:"):
        return uri
    return re.sub(r"//.*@", f"//{HIDDEN}@", uri, flags=re.DOTALL).partition("?")[0]


def clean(text: str, uri: str) -> str:
    """Return what somebody said without what opens the server at `uri`."""
    for secret in sorted(_forms(uri), key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    for name in {_account(uri)[1], os.environ.get("MLFLOW_TRACKING_USERNAME", "")} - {""}:
        text = re.sub(rf"""(["'`]){re.escape(name)}\1""", rf"\1{HIDDEN}\1", text)  # as databases quote it
    return text if uri.startswith("sqlite:") else _ACCOUNT.sub(f"//{HIDDEN}@", text)


def handed_over(uri: str, environment: MutableMapping[str, str] = os.environ) -> str:
    """Return the address for MLflow: of a server without user and password, which go into the environment for it to read."""
    account, user, password = _account(uri)
    if not re.match("https?:", uri) or not password:
        return uri
    environment.update({"MLFLOW_TRACKING_USERNAME": user, "MLFLOW_TRACKING_PASSWORD": password})
    return uri.replace(f"{account}@", "", 1)


class CleanLog(io.TextIOBase):
    """A log, line by line, without what opens the server."""

    def __init__(self, path: Path, uri: str) -> None:
        """Begin the file anew."""
        self._file = path.open("w", encoding="utf-8", errors="replace")
        self._uri, self._line = uri, ""

    def write(self, text: str) -> int:
        """Write what makes up whole lines; the rest waits."""
        *lines, self._line = (self._line + text).split("\n")
        if lines:
            self._file.write(clean("\n".join(lines), self._uri) + "\n")
            self._file.flush()
        return len(text)

    def fileno(self) -> int:
        """Of the file, for what does not go through Python."""
        return self._file.fileno()


def user() -> str:
    """Return the user's name; containers run under numbers that have none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return "unknown"


def sent_user() -> str:
    """Return the user's name as it may be sent."""
    return HIDDEN if os.environ.get(PRIVATE) else user()


def sent(tags: dict[str, str]) -> dict[str, str]:
    """Return the tags that may be sent."""
    return {name: value for name, value in tags.items() if name not in LEFT_OUT} if os.environ.get(PRIVATE) else tags


def sent_value(value: str) -> str:
    """Return a param as it may be sent: of a path its last name alone, where places are private."""
    return Path(value).name if os.environ.get(PRIVATE) and value.startswith(("/", "~")) else value


def _account(uri: str) -> tuple[str, str, str]:
    """Return what stands before the host of an address, and the user and the password in it."""
    account = re.split("[/?#]", uri.partition("//")[2], maxsplit=1)[0].rpartition("@")[0]
    user, _, password = account.partition(":")
    return account, unquote(user), unquote(password)


def _forms(uri: str) -> set[str]:
    """Return the secrets of an address and of the environment, in each way in which they may be written."""
    _, user, password = _account(uri)
    options = [] if uri.startswith("sqlite:") else re.findall(r"[?&][^=&]*(?:pass|pwd|token|secret|key)[^=&]*=([^&]*)", uri, re.I)
    bare = {password or user, *map(unquote, options), *(os.environ.get(name, "") for name in SECRETS)}
    found = {form for secret in bare for form in (secret, quote(secret), quote(secret, safe=""), quote_plus(secret))}
    found |= {quoted[1:-1] for secret in bare for quoted in (repr(secret), json.dumps(secret))}
    names = {user, os.environ.get("MLFLOW_TRACKING_USERNAME", "")}
    found |= {
        base64.b64encode(f"{name}:{secret}".encode()).decode() for name in names for secret in {*bare, ""} if name or secret
    }
    raw = uri.partition("//")[2].rpartition("@")[0].partition(":")[2] if "@" in uri else ""
    return {form for form in {*found, raw} if len(form) >= SHORTEST}
