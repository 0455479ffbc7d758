"""Mistakes that a person can make, told in one line instead of a traceback."""

from __future__ import annotations

import atexit
import errno
import gc
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager

REASONS = {
    errno.ENOSPC: "the disk is full; free some space and run again",
    errno.EDQUOT: "the disk quota is used up; free some space and run again",
    errno.EFBIG: "no file may grow this large here (`ulimit -f`, or the file system's limit); raise it and run again",
    errno.EACCES: "permission denied; make it writable",
    errno.EPERM: "permission denied; make it writable",
    errno.EROFS: "the file system is read-only",
    errno.EIO: "the disk cannot be read or written (input/output error); check it and run again",
    errno.ELOOP: "links in a circle; remove them",
    errno.EMFILE: "too many open files; raise `ulimit -n` and run again",
    errno.ENAMETOOLONG: "the name is too long for this file system; choose a shorter one",
}


class UserError(Exception):
    """Something the user can mend: the message names the thing, the value it got, what was expected and what to do.

    A message of several lines holds several independent problems, one a line.
    """


def _freeze() -> None:
    """Spare Python's end the search for garbage among all that was imported: half a second, for nothing.

    Triton, which torchvision imports, would report all that it finds uncollected, a thousand lines.
    """
    if "triton" not in sys.modules:
        gc.freeze()


def shown(text: object) -> str:
    """Return a text as one line for a terminal: what cannot be printed, such as a control sequence in a name, as its escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


@contextmanager
def reported() -> Iterator[None]:
    """Turn a user's mistake, a full disk or a refused path into `error: ...` on stderr and exit status 1.

    Anything else is a bug of ours and keeps its traceback.
    """
    try:
        yield
        atexit.register(_freeze)
    except UserError as error:
        for line in str(error).split("\n"):
            print(f"error: {shown(line)}", file=sys.stderr)
        raise SystemExit(1) from None
    except shutil.Error as error:  # of a copied folder: a list of (from, to, why)
        _, to, why = error.args[0][0]
        told = next((reason for number, reason in REASONS.items() if f"[Errno {number}]" in why), why)
        print(f"error: {shown(to)}: {shown(told)}", file=sys.stderr)
        raise SystemExit(1) from None
    except OSError as error:
        if error.errno == errno.ENOENT and "temporary directory" in str(error):  # of Python's tempfile, on a full disk
            print("error: no temporary folder can be written; free some space, or set TMPDIR", file=sys.stderr)
            raise SystemExit(1) from None
        reason = REASONS.get(error.errno or 0)
        if reason is None:
            raise
        print(f"error: {shown(error.filename2 or error.filename or 'write failed')}: {reason}", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        raise SystemExit(130) from None
