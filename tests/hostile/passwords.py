"""A password that opens a tracking server, and where it might be seen."""

from __future__ import annotations

import base64
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

PASSWORD = "tr0ub4dor&3/@x"  # with characters that an address has to hide
BASIC = base64.b64encode(f"anna:{PASSWORD}".encode()).decode()  # as HTTP sends it
FORMS = [PASSWORD, quote(PASSWORD, safe=""), quote(PASSWORD), BASIC, "tr0ub4dor"]


def address(port: int) -> str:
    """Where a server on this machine is, and what opens it."""
    return f"http://anna:{quote(PASSWORD, safe='')}@127.0.0.1:{port}"


def leaks(folder: Path, *texts: str) -> list[str]:
    """Return where a password stands: in the files below a folder, or in texts."""
    found = [
        str(path) for path in folder.rglob("*") if path.is_file() and any(form.encode() in path.read_bytes() for form in FORMS)
    ]
    return found + [text for text in texts if any(form in text for form in FORMS)]


def command_lines() -> str:
    """Return what `ps` shows everybody."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            lines.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return "\n".join(lines)
