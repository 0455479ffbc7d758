"""Fill the disk at every write of every stage: `unshare --map-root-user --mount python -m tests.hostile.full_disk full`.

Each stage runs, tiny, on a file system of its own in memory that has a given number of pages, or of files, left. It ends well or
says in one line that the disk is full and where; then nothing of its outs is there, and once there is room again it writes what
it would have written in the first place. `limits` does the same with RLIMIT_FSIZE, where nothing may be mounted.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import os
import re
import resource
import runpy
import shutil
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from regen.data import arrays

ROOT = Path(__file__).parents[2]
PAGE = 4096
ROOM = 1 << 28
SAID = re.compile(
    r"error: (?!write failed)[^\n]*\S: (the disk is full; free some space and run again|no file may grow this large)"
)
ATTEMPTS = 8  # places between no room and enough at which a stage is stopped, by default; 0: all of them

PARAMS = {
    "seed": 0, "precision": "fp32", "threads": 1, "checkpoint_seconds": 0, "launcher": "python",
    "datasets": {
        "letters": {"kind": "letters", "source": "drawn"},
        "diabetes": {"kind": "diabetes", "source": "scikit-learn", "test_fraction": 0.2},
        "digits": {"kind": "mnist", "source": "mirror"},
        "brains": {"kind": "brains", "source": "folder", "path": "pictures", "tile": 16},
        "photos": {"kind": "images", "source": "folder", "path": "pictures", "size": 8},
        "classrooms": {"kind": "classrooms", "source": "generated", "graphs": 4, "test_graphs": 4, "nodes": 5},
    },
    "queries": {"sums": {"digits": "digits", "operand_digits": 1}},
    "encodings": {"latents": {"dataset": "digits", "model": "vae"}},
    "models": {
        "vae": {"dataset": "digits", "classifier": "none", "family": "vae", "latent_dim": 2, "channels": [4, 8],
                "epochs": 1, "batch_size": 20, "learning_rate": 1e-3},
        "lines": {"dataset": "diabetes", "classifier": "none", "family": "linear_regression"},
        "lstm": {"dataset": "letters", "classifier": "none", "family": "pixel_lstm", "hidden": 4,
                 "epochs": 2, "batch_size": 8, "learning_rate": 1e-3},
    },
    "studies": {"seeds": {"model": "lstm", "vary": {"seed": [0, 1]}, "show": ["nats_per_pixel"]}},
}  # fmt: skip
OTHERS = {  # a model of each other task: its evaluation is its own, while it is trained and exported as those above
    "answers": {"dataset": "sums", "classifier": "none", "family": "seq2seq", "source": "text", "target": "text", "hidden": 8,
                "embedding": 4, "epochs": 1, "batch_size": 20, "learning_rate": 1e-3},
    "flow": {"dataset": "latents", "classifier": "none", "family": "flow", "hidden": 8, "blocks": 1, "steps": 4, "epochs": 1,
             "batch_size": 20, "learning_rate": 1e-3},
    "mixture": {"dataset": "latents", "classifier": "none", "family": "gaussian_mixture", "components": 2},
    "graph": {"dataset": "classrooms", "classifier": "none", "family": "random_graph"},
    "ppca": {"dataset": "digits", "classifier": "none", "family": "ppca", "latent_dim": 2},
    "tiles": {"dataset": "brains", "classifier": "none", "family": "autoencoder", "latent_dim": 2, "channels": [4, 8],
              "epochs": 1, "steps_per_epoch": 2, "batch_size": 4, "learning_rate": 1e-3},
}  # fmt: skip
SLOW = ("tiles",)  # left out where attempts are few
FEW = 2  # attempts up to which a stage of OTHERS is stopped at one place, if at all


ALONE = """
import importlib, runpy, sys
module, name, *sys.argv = sys.argv[1:]
if module:
    getattr(importlib.import_module(module), name)()
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@dataclass(frozen=True)
class Stage:
    """One command of dvc.yaml, and what it writes.

    Attributes:
        places: where it is stopped at most, where attempts are few.
    """

    script: str
    key: str
    outs: tuple[str, ...]
    places: int | None = None

    def moments(self, enough: int, attempts: int) -> list[int]:
        """Return how much is left in each attempt: so many of 0 ... enough - 1, evenly spaced; all of them for 0 attempts."""
        if self.places is not None and 0 < attempts <= FEW:
            return [enough // 2][: self.places]
        return sorted({enough * part // attempts for part in range(attempts)}) if 0 < attempts < enough else [*range(enough)]

    def __str__(self) -> str:
        return f"{self.script} {self.key}".strip()


SETS = [key for key in PARAMS["datasets"] if key != "digits"]
STAGES = [
    Stage("check", "", ("data/code", "models/none")),
    *(Stage("download", key, (f"data/raw/{key}",)) for key in SETS),
    *(Stage("prepare", key, (f"data/prepared/{key}",)) for key in SETS),
    Stage("queries", "sums", ("data/prepared/sums",)),
    *(Stage("train", key, (f"models/{key}",)) for key in PARAMS["models"]),
    Stage("encode", "latents", ("data/prepared/latents",)),
    *(
        Stage("evaluate", key, (f"metrics/{key}.json", f"metrics/context/{key}.json", f"figures/{key}"))
        for key in PARAMS["models"]
    ),
    *(Stage("export", key, (f"exports/{key}",)) for key in PARAMS["models"]),
    Stage("study", "seeds", ("studies/seeds",)),
    Stage("report", "", ("reports",)),
]


def others(attempts: int) -> Iterator[Stage]:
    """Yield the stages of OTHERS: where attempts are few, their evaluations alone are stopped."""
    few = 0 < attempts <= FEW
    for key in OTHERS:
        if not few or key not in SLOW:
            yield Stage("train", key, (f"models/{key}",), places=0)
            yield Stage("evaluate", key, (f"metrics/{key}.json", f"metrics/context/{key}.json", f"figures/{key}"), places=1)
        if not few:
            yield Stage("export", key, (f"exports/{key}",))


def stages(folder: Path, attempts: int) -> Iterator[Stage]:
    """Yield all stages; those of OTHERS come last, with a params.yaml of their own, as a report is of all its models."""
    yield from STAGES
    shutil.rmtree(folder / "data/runtime")
    yield Stage("runtime", "", ("data/runtime",))
    models = {**PARAMS["models"], **OTHERS}
    (folder / "params.yaml").write_text(yaml.safe_dump({**PARAMS, "models": models}, sort_keys=False))
    yield from others(attempts)


def furnish(folder: Path) -> None:
    """Lay out what the stages start from: params.yaml, a prepared data set, and pictures of brains."""
    draw = np.random.default_rng(0)
    (folder / "params.yaml").write_text(yaml.safe_dump(PARAMS, sort_keys=False))
    (folder / "tmp").mkdir()
    tempfile.tempdir = str(folder / "tmp")  # on the disk that fills up, as it is where there is one disk
    _prepare_digits(folder, draw)
    (folder / "data/runtime").mkdir(parents=True)
    for name in ("ort.js", "wasm.js"):  # what the stage `runtime` would download; the report copies it
        (folder / "data/runtime" / name).write_text("// runs models\n", encoding="utf-8")
    for brain in ("a", "b", "c"):
        (folder / "pictures" / brain).mkdir(parents=True)
        for number in range(3):
            pixels = draw.integers(0, 256, (60, 50), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "pictures" / brain / f"{number}.png")


def _prepare_digits(folder: Path, draw: np.random.Generator) -> None:
    digits = {split: draw.integers(0, 256, (40, 28, 28, 1), dtype=np.uint8) for split in ("train", "test")}
    digits |= {f"{split}_labels": np.arange(40) % 10 for split in ("train", "test")}
    description = {"shape": [1, 28, 28], "labels": list("0123456789"), "kind": "mnist", "loader": "arrays"}
    arrays.write(folder / "data/prepared/digits", digits, description)


def digests(folder: Path, outs: tuple[str, ...]) -> dict[str, str]:
    """Return the SHA-256 of each file of some outs."""
    files = [path for out in outs for path in ([folder / out] if (folder / out).is_file() else sorted((folder / out).rglob("*")))]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files if path.is_file()}


def run(stage: Stage, folder: Path, before: Callable[[], None] = lambda: None) -> tuple[int, str]:
    """Run a stage in a process forked from this one, which has imported all that takes time; returns its exit status and stderr.

    What it says goes through a pipe: the terminal is not on the disk that is full.
    """
    out, into = os.pipe()
    sys.stdout.flush()
    if not (child := os.fork()):
        try:
            os.close(out)
            os.dup2(into, 2)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.chdir(folder)
            sys.argv = [f"{stage.script}.py", *filter(None, [stage.key])]
            before()
            runpy.run_path(str(ROOT / "stages" / f"{stage.script}.py"), run_name="__main__")
            status = 0
        except SystemExit as end:
            status = int(end.code or 0)
        except BaseException:
            traceback.print_exc()
            status = 99
        os._exit(status)
    os.close(into)
    with open(out, errors="replace") as file:
        said = file.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said


def run_alone(stage: Stage, folder: Path, before: Callable[[], None] | None = None) -> tuple[int, str]:
    """Run a stage in a process of its own; returns its exit status and stderr.

    Where a test has computed gradients, a process that is forked from it cannot. `before` is a function of a module.
    """
    first = [before.__module__, before.__name__] if before else ["", ""]
    command = [sys.executable, "-c", ALONE, *first, str(ROOT / "stages" / f"{stage.script}.py"), *filter(None, [stage.key])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


class Disk:
    """A file system in memory, with as much room as is wanted."""

    def __init__(self, place: Path) -> None:
        self.place = place
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={ROOM},nr_inodes=100000", "tmpfs", place], check=True)

    def used(self) -> tuple[int, int]:
        found = os.statvfs(self.place)
        return (found.f_blocks - found.f_bfree) * found.f_frsize, found.f_files - found.f_ffree

    def leave(self, pages: int | None = None, files: int | None = None) -> None:
        """Leave so many pages of 4 KB and so many files; None is plenty."""
        used, there = self.used()
        size = ROOM if pages is None else used + PAGE * pages
        count = 100_000 if files is None else there + files
        subprocess.run(["mount", "-o", f"remount,size={size},nr_inodes={count}", self.place], check=True)


def attempt(
    stage: Stage, folder: Path, expected: dict[str, str], failing: Callable[[], tuple[int, str]], mend: Callable[[], None]
) -> str:
    """Let one stage fail, then mend the disk and run it again; returns what is wrong with that."""
    status, said = failing()
    lines = [line for line in said.splitlines() if line.startswith("error:")]
    left = digests(folder, stage.outs)
    scratch = [path.name for path in (folder / "tmp").iterdir()]
    mend()
    if scratch:
        return f"left in the temporary folder: {scratch}"
    if status == 0:
        return "" if left == expected else f"ended well and left other files: {sorted(left)}"
    if status != 1 or "Traceback" in said or not lines or not all(SAID.match(line) for line in lines):
        return f"exit status {status}, said: {said[-1500:]}"
    whole = {name for name, digest in left.items() if expected.get(name) == digest}
    if set(left) - whole or (whole and stage.script not in ("study", "evaluate", "check")):  # these have several outs
        return f"left {sorted(left)}"
    shutil.rmtree(folder / "data/code", ignore_errors=True) if stage.script == "check" else None
    status, said = run(stage, folder)
    again = digests(folder, stage.outs)
    if status or again != expected:
        return (
            f"with room again: exit status {status}, {sorted(set(again.items()) ^ set(expected.items()))}, said: {said[-1500:]}"
        )
    return ""


def stand_in(cache: Path) -> None:
    """Let the stage `runtime` take a small file in place of each of its own: one of 10 MB says no more of a disk.

    They stand in a cache of downloads beside what that of the user holds, such as the report's library.
    """
    from regen.data.download import places
    from regen.data.download.mirrors import File
    from regen.export import runtime

    cache.mkdir()
    for kept in places.cache().iterdir():
        if kept.is_file():
            (cache / kept.name).symlink_to(kept)
    os.environ["REGEN_CACHE"] = str(cache)
    files = []
    for file in runtime.FILES:
        content = file.name.encode() * 1000
        digest = hashlib.sha256(content).hexdigest()
        (cache / digest).write_bytes(content)
        files.append(File(file.name, digest, len(content), ()))
    runtime.FILES = tuple(files)  # type: ignore[assignment]  # of as many as there are


def warm() -> None:
    """Import what the stages import, once for all of them."""
    for name in ("checks", "data.sets.brains", "data.sets.letters", "data.sets.diabetes", "data.sets.images",
                 "data.sets.classrooms", "training.run", "evaluation.run", "evaluation.images", "evaluation.letters",
                 "evaluation.regression", "evaluation.arithmetic", "evaluation.flows", "evaluation.mixtures",
                 "evaluation.graphs", "evaluation.components", "models.vae", "models.pixel_lstm", "models.seq2seq",
                 "models.flow", "estimators.linear_regression", "estimators.gaussian_mixture", "estimators.random_graph",
                 "estimators.ppca", "export.run", "export.runtime", "report.page", "studies.cells",
                 "tracking.launch"):  # fmt: skip
        importlib.import_module(f"regen.{name}")
    others = (
        "matplotlib.figure",
        "matplotlib.backends.backend_agg",
        "sklearn.datasets",
        "torchvision.utils",
        "pandas",
        "onnxscript",
    )
    for name in others:
        importlib.import_module(name)


def full(place: Path, attempts: int, chosen: str) -> Iterator[str]:
    """Yield what is wrong with each stage on a disk that fills up."""
    disk = Disk(place)
    folder = place / "regen"
    folder.mkdir()
    furnish(folder)
    for stage in stages(folder, attempts):
        before = disk.used()
        shutil.copytree(folder, place.parent / "before", symlinks=True, dirs_exist_ok=True)
        status, said = run(stage, folder)
        assert status == 0, f"{stage}: {said}"
        expected = digests(folder, stage.outs)
        after = disk.used()
        shutil.copytree(folder, place.parent / "after", symlinks=True)
        reset(folder, place.parent / "before")
        pages, files = (after[0] - before[0]) // PAGE * 2 + 2, (after[1] - before[1]) * 2 + 2  # outs, and the same beside them
        if chosen in str(stage):
            cases = [("pages", n) for n in stage.moments(pages, attempts)]
            cases += [("files", n) for n in stage.moments(files, attempts)] if stage.places is None else []
            for what, n in cases:
                disk.leave(**{what: n})
                wrong = attempt(stage, folder, expected, partial(run, stage, folder), disk.leave)
                print(f"{stage}: {n} {what} left" + (f": {wrong}" if wrong else ""), flush=True)
                if wrong:
                    yield f"{stage}: {n} {what} left: {wrong}"
                reset(folder, place.parent / "before")
        reset(folder, place.parent / "after")
        for name in ("before", "after"):
            shutil.rmtree(place.parent / name)


def limits(place: Path, attempts: int, chosen: str) -> Iterator[str]:
    """Yield what is wrong with each stage whose files may not grow: what any user can try."""
    folder = place / "regen"
    folder.mkdir()
    furnish(folder)
    for stage in stages(folder, attempts):
        shutil.copytree(folder, place.parent / "before", symlinks=True, dirs_exist_ok=True)
        status, said = run(stage, folder)
        assert status == 0, f"{stage}: {said}"
        expected = digests(folder, stage.outs)
        shutil.copytree(folder, place.parent / "after", symlinks=True)
        largest = max((folder / name).stat().st_size for name in expected)
        reset(folder, place.parent / "before")
        for size in stage.moments(largest, attempts) if chosen in str(stage) else ():
            wrong = attempt(stage, folder, expected, partial(run, stage, folder, partial(limit, size)), lambda: None)
            print(f"{stage}: files of {size} bytes" + (f": {wrong}" if wrong else ""), flush=True)
            if wrong:
                yield f"{stage}: files of {size} bytes: {wrong}"
            reset(folder, place.parent / "before")
        reset(folder, place.parent / "after")
        for name in ("before", "after"):
            shutil.rmtree(place.parent / name)


def limit(size: int) -> None:
    """Let no file of this process grow over `size` bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def reset(folder: Path, before: Path) -> None:
    """Put a folder back to what it was."""
    shutil.rmtree(folder)
    shutil.copytree(before, folder, symlinks=True)


def main() -> None:
    """Fill the disk, or limit the size of files, and tell what went wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("how", choices=["full", "limits"])
    parser.add_argument("--attempts", type=int, default=ATTEMPTS, help="places at which a stage is stopped; 0: at each write")
    parser.add_argument("--stage", default="", help="only those whose name holds this")
    given = parser.parse_args()
    os.environ["MLFLOW_TRACKING_URI"] = ""
    warm()
    with tempfile.TemporaryDirectory() as outer:
        place = Path(outer) / "disk"
        place.mkdir()
        stand_in(Path(outer) / "cache")
        try:
            wrong = list((full if given.how == "full" else limits)(place, given.attempts, given.stage))
        finally:
            if given.how == "full":
                subprocess.run(["umount", "--lazy", place], check=False)
    print("\n".join(wrong) or "ok")
    raise SystemExit(bool(wrong))


if __name__ == "__main__":
    main()
