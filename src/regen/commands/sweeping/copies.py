"""What experiments are made of: a state of the workspace, a copy of it for each, and a commit that DVC knows as an experiment.

`dvc exp run`, with `--temp` too, puts the workspace away and HEAD aside for a moment; a kill in that moment leaves them so.
And `dvc exp save` notes every stage as current, those too that were not run. Here nothing of the workspace is touched: git writes
trees and commits beside its index, and a copy takes its data from DVC's cache, by links.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from filelock import FileLock, Timeout

from regen import paths
from regen.commands.revisions import Revision, git
from regen.errors import UserError

FOLDER = paths.WORK / "sweeps"
LOCKS = FOLDER / ".locks"
CODE = ("src", "stages")  # in these, files that git does not know yet count too
LINKS = "reflink,hardlink,symlink,copy"  # data of any size cost nothing to lay out
POLL = 0.5  # seconds between two looks at a lock
OURS = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX")  # where git is run from a hook
TREE = "Tree: "  # before the files that an experiment was made of, in the text of its commit


@dataclass(frozen=True)
class Base:
    """What experiments start from: HEAD, and what the workspace has changed of it.

    Attributes:
        head: the commit that DVC lists them below.
        tree: all files, as git would commit them now.
        place: of the pipeline in the repository; empty where it is its root.
        git: the repository's own folder.
        mark: of a workspace that is not as HEAD, apart from what runs write; empty where it is.
    """

    head: str
    tree: str
    place: str
    git: Path
    mark: str

    def found(self, name: str) -> Revision | None:
        """Return the experiment of this name that was made from HEAD."""
        commit = _said("for-each-ref", "--format=%(objectname)", self._ref(name))
        return Revision(name, commit) if commit else None

    def current(self, at: Revision, params: bytes) -> bool:
        """Whether an experiment was made from these files and this params.yaml."""
        path, wanted = f"{self.place}{paths.PARAMS}", _git("hash-object", "--stdin", stdin=params).decode().strip()
        noted = next((line.removeprefix(TREE) for line in self.about(at).splitlines() if line.startswith(TREE)), "")
        made_of = _said("rev-parse", "--verify", "--quiet", f"{noted}^{{tree}}") if noted else None  # `git gc` may have taken it
        same = self.tree == noted or _differing(self.tree, made_of or at.commit, self.place).keys() <= {path}
        return same and _said("rev-parse", f"{at.commit}:{path}") == wanted

    def about(self, at: Revision) -> str:
        """Return what was written down of an experiment when it was made."""
        return _said("log", "-1", "--format=%B", at.commit) or ""

    def save(self, name: str, copy: Path, about: str) -> Revision:
        """Make an experiment of what stands in a copy now."""
        index = copy / ".git/regen-index"
        inside = {"GIT_DIR": str(self.git), "GIT_WORK_TREE": str(copy.resolve()), "GIT_INDEX_FILE": str(index.resolve())}
        _git("read-tree", self.tree, environment=inside, folder=copy)
        _git("add", "--all", environment=inside, folder=copy)
        tree = _git("write-tree", environment=inside, folder=copy).decode().strip()
        commit = _git("commit-tree", tree, "-p", self.head, "-m", f"{about}\n{TREE}{self.tree}").decode().strip()
        _git("update-ref", self._ref(name), commit)
        return Revision(name, commit)

    def _ref(self, name: str) -> str:
        return f"refs/exps/{self.head[:2]}/{self.head[2:]}/{name}"


def base() -> Base:
    """Return the state of the workspace; nothing of it is changed, not even git's index.

    Raises:
        UserError: no commit is there, or git does not know who makes one.
    """
    head, folder = (git("rev-parse", "--verify", "--quiet", "HEAD") or "").strip(), _said("rev-parse", "--absolute-git-dir")
    if not head:
        raise UserError("no commit to start from: git add --all && git commit")
    if _said("var", "GIT_COMMITTER_IDENT") is None:
        raise UserError("git does not know who you are: git config user.name NAME && git config user.email ADDRESS")
    place = _said("rev-parse", "--show-prefix") or ""
    FOLDER.mkdir(parents=True, exist_ok=True)
    index = FOLDER / f".index-{os.getpid()}"
    try:
        environment = {"GIT_INDEX_FILE": str(index.resolve())}
        if (own := Path(_said("rev-parse", "--git-path", "index") or "")).is_file():
            shutil.copy2(own, index)  # it knows which files have not changed
        _git("add", "--update", ":/", environment=environment)
        if more := [name for name in (*CODE, "params.yaml", "dvc.yaml", "dvc.lock", "metrics") if Path(name).exists()]:
            _git("add", "--all", "--", *more, environment=environment)
        tree = _git("write-tree", environment=environment).decode().strip()
    finally:
        index.unlink(missing_ok=True)
    changed = _differing(head, tree, place)
    mark = hashlib.sha256(repr(sorted(changed.items())).encode()).hexdigest()[:6] if changed else ""
    return Base(head, tree, place, Path(folder or ".git"), mark)


@contextmanager
def alone(name: str, ending: Event, busy: Callable[[], None]) -> Iterator[Path]:
    """Hold the lock of one experiment's copy; where somebody else does, `busy` is called and that one waited for.

    Yields:
        the lock that the copy's process is to hold: while it runs, though its sweep was killed, nobody else goes there.
    """
    LOCKS.mkdir(parents=True, exist_ok=True)
    ours, its = FileLock(LOCKS / f"{name}.sweep"), FileLock(LOCKS / f"{name}.run")
    with ExitStack() as held:
        for lock in (ours, its):
            while not ending.is_set():
                try:
                    held.enter_context(lock.acquire(timeout=POLL))
                    break
                except Timeout:
                    busy()
                    busy = _told
        its.release()
        yield Path(its.lock_file)


def _told() -> None:
    """Say nothing more."""


def lay_out(base: Base, name: str, params: bytes, cache: str) -> Path:
    """Return the folder of one experiment's copy: what a killed one left, if it is of the same files, or a new one.

    Args:
        base: whose files it holds.
        name: of the experiment.
        params: its params.yaml.
        cache: DVC's, which it shares.
    """
    folder, key = FOLDER / name, f"{base.head} {base.tree} {hashlib.sha256(params).hexdigest()}"
    note = folder / ".git/regen-sweep"
    if note.is_file() and note.read_text(encoding="utf-8") == key:
        return folder
    remove(folder)
    folder.mkdir(parents=True)
    _git("init", "--quiet", folder=folder)
    objects = Path(_said("rev-parse", "--git-path", "objects") or ".git/objects").resolve()
    (folder / ".git/objects/info/alternates").write_text(f"{objects}\n", encoding="utf-8")
    for command in (("update-ref", "--no-deref", "HEAD", base.head), ("read-tree", base.tree), ("checkout-index", "--all")):
        _git(*command, folder=folder)
    inside = folder / base.place
    (inside / paths.PARAMS).write_bytes(params)
    _configure(inside / ".dvc/config.local", cache)
    note.write_text(key, encoding="utf-8")
    return folder


def remove(folder: Path) -> None:
    """Remove a copy, its note first: what a kill leaves of it is no copy."""
    (folder / ".git/regen-sweep").unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():  # a process that a kill left behind wrote into it
        time.sleep(POLL)
        shutil.rmtree(folder)


def cache() -> str:
    """Return the folder of DVC's cache."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo() as repo:
            return str(repo.cache.local_cache_dir)
    except DvcException as error:
        raise UserError(f"dvc: {' '.join(str(error).split())}") from None


def _configure(path: Path, cache: str) -> None:
    """Write DVC's own settings of a copy: those of the workspace, the cache of the workspace, and links."""
    from configobj import ConfigObj  # type: ignore[import-untyped]

    settings = ConfigObj(str(Path(".dvc/config.local")))
    settings.filename = str(path)
    settings.setdefault("cache", {})
    settings["cache"] = {"type": LINKS, **settings["cache"], "dir": cache}
    settings.write()


def _differing(one: str, other: str, place: str) -> dict[str, str]:
    """Return the files that differ between two states, apart from those that a run writes, and their hashes in the other."""
    found = {}
    for line in _git("diff-tree", "-r", "-z", "--no-renames", one, other).decode(errors="surrogateescape").split("\0:"):
        about, _, path = line.strip("\0").partition("\0")
        made = path == f"{place}{paths.LOCK}" or path.endswith(".gitignore") or path.startswith(f"{place}{paths.METRICS}/")
        if path and not made:
            found[path] = about.split()[3]
    return found


def _said(*arguments: str) -> str | None:
    try:
        return _git(*arguments).decode().strip()
    except UserError:
        return None


def _git(*arguments: str, stdin: bytes = b"", environment: Mapping[str, str] | None = None, folder: Path | None = None) -> bytes:
    """Return what git prints, in a folder of its own or in the workspace.

    Raises:
        UserError: it refuses.
    """
    inherited = {name: value for name, value in os.environ.items() if folder is None or name not in OURS}
    whole = {**inherited, "LC_ALL": "C", **(environment or {})}
    try:
        done = subprocess.run(["git", *arguments], input=stdin, capture_output=True, env=whole, cwd=folder, check=False)
    except FileNotFoundError:
        raise UserError("git: not installed") from None
    if done.returncode:
        reason = " ".join(done.stderr.decode(errors="replace").split()) or f"exit status {done.returncode}"
        raise UserError(f"git {arguments[0]}: {reason}")
    return done.stdout
