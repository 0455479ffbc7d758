"""python -m regen.commands.gc [--cloud]: free DVC's cache, or the remote, too, of what nobody names. `make gc` is this.

DVC keeps what branches of this clone name. What a remote's storage holds is everybody's, so before it is touched, branches, tags
and experiments of all git remotes are fetched: they are branches of this clone while DVC looks.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

from regen.errors import UserError, reported

OTHERS = "refs/heads/regen-gc"  # where everybody's branches and experiments stand in the meantime
NAMED = ("--workspace", "--all-branches", "--all-tags", "--all-experiments")


def collect(cloud: bool = False, more: Sequence[str] = ()) -> None:
    """Run `dvc gc`, which asks before it removes anything; of the remote's storage nothing that anybody's commit names.

    Args:
        cloud: the remote's storage, too.
        more: options of `dvc gc`.

    Raises:
        UserError: a git remote can't be asked, or DVC says that something went wrong.
    """
    with everybodys() if cloud else nullcontext():
        command = [sys.executable, "-m", "dvc", "gc", *NAMED, *(["--cloud"] if cloud else []), *more]
        if subprocess.run(command, check=False).returncode:
            raise UserError("dvc gc: nothing more was removed, for the reason above")


@contextmanager
def everybodys() -> Iterator[None]:
    """Have the branches, tags and experiments of all git remotes in this clone while the block runs; tags stay."""
    try:
        for remote in _git("remote").split():
            where = f"{OTHERS}/{remote}"
            _git("fetch", "--quiet", "--tags", remote, f"+refs/heads/*:{where}/heads/*", f"+refs/exps/*:{where}/exps/*")
        yield
    finally:
        for name in _git("for-each-ref", "--format=%(refname)", OTHERS).split():
            _git("update-ref", "-d", name)


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"git {arguments[0]}: {' '.join(done.stderr.split())}; nothing was removed")
    return done.stdout


def main() -> None:
    """Take the arguments; others than `--cloud` are those of `dvc gc`."""
    parser = argparse.ArgumentParser(prog="python -m regen.commands.gc", description=__doc__)
    parser.add_argument("--cloud", action="store_true", help="the remote's storage, too")
    given, more = parser.parse_known_args()
    collect(given.cloud, more)


if __name__ == "__main__":
    with reported():
        main()
