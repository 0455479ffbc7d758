"""Mistakes that a person can make, told in one line instead of a traceback."""

from __future__ import annotations

import atexit
import errno
import gc
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class UserError(Exception):
    """Something the user can mend: the message names the thing, the value it got, what was expected and what to do.

    A message of several lines holds several independent problems, one a line.
    """


@contextmanager
def reported() -> Iterator[None]:
    """Turn a user's mistake, a full disk or a refused path into `error: ...` on stderr and exit status 1.

    Anything else is a bug of ours and keeps its traceback.
    """
    try:
        yield
        atexit.register(gc.freeze)  # else Python looks through all that was imported for garbage: half a second, for nothing
    except UserError as error:
        for line in str(error).splitlines():
            print(f"error: {line}", file=sys.stderr)
        raise SystemExit(1) from None
    except shutil.Error as error:  # of a copied folder: a list of (from, to, why)
        _, to, why = error.args[0][0]
        print(f"error: {to}: {why}", file=sys.stderr)
        raise SystemExit(1) from None
    except OSError as error:
        reason = {
            errno.ENOSPC: "the disk is full; free some space and run again",
            errno.EDQUOT: "the disk quota is used up; free some space and run again",
            errno.EACCES: "permission denied; make it writable",
            errno.EPERM: "permission denied; make it writable",
            errno.EROFS: "the file system is read-only",
        }.get(error.errno or 0)
        if reason is None:
            raise
        print(f"error: {error.filename or 'write failed'}: {reason}", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        raise SystemExit(130) from None
