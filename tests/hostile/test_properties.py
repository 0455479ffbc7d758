"""What no case of a list foresaw: names, params.yaml files, launchers, model.json files, HDF5 files, folders and archives of
pictures, made at random.

Each is taken or refused in lines that a person reads; nothing is raised that is not for a person, nothing outside the folder
of a name is touched, and what opens the tracking server, or stands in a file outside, is neither told nor written.
REGEN_CASES sets how many of each kind are tried (by default few, and the same ones each time).
"""

from __future__ import annotations

import base64
import contextlib
import copy
import io
import json
import os
import runpy
import shutil
import struct
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from PIL import Image

from regen import blocks, checks, documents, errors, families, params, paths
from regen.data import folders
from regen.errors import UserError
from regen.studies import cells
from tests.conftest import BLOCKS, OTHERS, build
from tests.hostile import files as made
from tests.hostile.names import HOSTILE, RIGHT

ROOT = Path(__file__).parents[2]
CASES = int(os.environ.get("REGEN_CASES", "0"))
PASSWORD = "tr0ub4dor+3/hors"  # 16 characters: a row of a picture of 16 x 16
FORMS = [form.encode() for form in (PASSWORD, "tr0ub4dor%2B3%2Fhors", base64.b64encode(f"anna:{PASSWORD}".encode()).decode())]
TOLD_BY = ["$MLFLOW_TRACKING_PASSWORD", "${MLFLOW_TRACKING_PASSWORD}", "${oc.env:MLFLOW_TRACKING_PASSWORD}", "../secret",
           "%MLFLOW_TRACKING_PASSWORD%", "{MLFLOW_TRACKING_PASSWORD}", "../secret.png", "/proc/self/environ"]  # fmt: skip
OWN = ("data/raw", "data/prepared", "models", "metrics", "figures", "studies", ".work")  # what regen writes to
OF_A_NAME = [paths.raw, paths.prepared, paths.model, paths.metrics, paths.figures, paths.study, paths.training]
TOP = {
    "seed": 0,
    "precision": "auto",
    "threads": 1,
    "checkpoint_seconds": 1.0,
    "launcher": "python",
    "datasets": {},
    "models": {},
}
GIVEN = yaml.safe_load((ROOT / "params.yaml").read_text())
SYNTAX = [  # of YAML and of JSON
    "\t", "\n", ": ", "- ", "&a ", "*a ", "<<: *a", "{", "}", "[", "]", "!!float ", "!!python/name:os.system ", '"', "'", "#",
    "? ", "|", ">", "%", "\0", "\x1b", "\ufeff", "---\n", "...\n", "9" * 5000, "[" * 300, "1e999", ".nan", "NaN",
    "0x" + "f" * 5000,
]  # fmt: skip


def cases(few: int) -> settings:
    """So many cases, or as many as were asked for; the time of one says nothing on a busy machine."""
    return settings(
        max_examples=CASES or few, derandomize=not CASES, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )


def said(error: UserError) -> list[str]:
    """The lines of a message, as they reach the terminal: none is empty or endless, or steers it."""
    lines = [errors.shown(line) for line in str(error).split("\n")]
    assert [line for line in lines if not line.isprintable() or not 0 < len(line) < 2000] == []
    assert [line for line in lines if any(form in line.encode() for form in FORMS)] == []
    return lines


characters = st.characters(codec=None, exclude_categories=())
parts_of_paths = st.sampled_from(["..", "/", "src", "x", ";", "touch pwned", " ", "a_1", "data", "\\"])
names = st.one_of(
    st.sampled_from([*HOSTILE, *RIGHT]),
    st.text(characters, max_size=80),
    st.text("./\\~$`;&|<>\"' \n\0-@:%*az09_", max_size=30),
    st.lists(parts_of_paths, max_size=8).map("".join),
    st.from_regex(blocks.NAME, fullmatch=True),
)
keys = st.one_of(names, st.integers(), st.none())
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(characters, max_size=20), st.dates(), st.binary(max_size=4),
    st.sampled_from([2**31, 2**32, 2**63 - 1, 2**63, -1, 0, 1, 10**4000, *HOSTILE, *RIGHT, *TOLD_BY]),
)  # fmt: skip
values = st.recursive(
    scalars, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=3)), max_leaves=5
)
numbers = st.one_of(st.integers(-2, 5), st.floats(-1, 2), st.sampled_from([2**31, 2**62]))
launchers = st.one_of(
    names, st.from_regex(r"torchrun( --?[\w-]+([ =]\S+)?)*", fullmatch=True), st.from_regex(params.LAUNCHER, fullmatch=True)
)


@pytest.fixture(scope="module")
def repository(tmp_path_factory) -> Iterator[Path]:
    """A repository with what must not be touched in it and around it."""
    folder = tmp_path_factory.mktemp("outer") / "around" / "repository"
    for place in ("src/regen", "precious", "data/precious", "stages", "../precious", "../../precious"):
        (folder / place).mkdir(parents=True)
        (folder / place / "gold").write_text("gold")
    for place in ("params.yaml", "dvc.yaml", ".git"):
        (folder / place).write_text("gold")
    for place in ("../secret", "secret"):
        (folder / place).write_text(PASSWORD * 100)
    Image.fromarray(np.frombuffer(PASSWORD.encode() * 16, np.uint8).reshape(16, 16)).save(folder / "../secret.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["stages/train.py"])
        patch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
        patch.setenv("MLFLOW_TRACKING_URI", f"http://anna:{FORMS[1].decode()}@127.0.0.1:9")
        yield folder


def untouched(repository: Path) -> dict[str, bytes]:
    """All files in it and around it with what stands in them, but those of the folders that regen writes to."""
    outer = repository.parents[1]
    own = [repository / name for name in OWN]
    return {
        str(path.relative_to(outer)): path.read_bytes() if path.is_file() else b""
        for path in outer.rglob("*") if not any(path.is_relative_to(folder) for folder in own)
    }  # fmt: skip


@contextlib.contextmanager
def harmless(repository: Path) -> Iterator[None]:
    """Hold that nothing outside the folders that regen writes to changes, and that no secret comes into these."""
    before = untouched(repository)
    yield
    assert untouched(repository) == before
    for name in OWN:
        for path in (repository / name).rglob("*"):
            assert not path.is_symlink()
            assert not path.is_file() or not any(form in path.read_bytes() for form in FORMS), path


@cases(200)
@given(name=names)
def test_nothing_is_written_or_removed_outside_the_folder_of_a_name(repository, name):
    before = untouched(repository)
    for path in OF_A_NAME:
        try:
            place = path(name)
        except UserError as error:
            said(error)
            place = None
        assert (place is not None) == blocks.is_name(name)
        if place:
            assert place.parent == path("x").parent
            with folders.replacing(place) as part:
                (part / "file").write_text("x")
            shutil.rmtree(place)
    try:
        paths.study(name).mkdir(parents=True)
        cells._tidy(paths.study(name), set())
    except UserError as error:
        said(error)
    shutil.rmtree("studies", ignore_errors=True)
    assert untouched(repository) == before


@cases(200)
@given(name=names, group=st.sampled_from(list(params.GROUPS)), prefix=st.sampled_from(["train@", "../dvc.yaml:train@", "", "x@"]))
def test_a_name_of_params_yaml_is_taken_or_refused_in_lines(repository, name, group, prefix):
    text, before = yaml.safe_dump({**TOP, group: {name: {}}}), untouched(repository)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(documents, "text", lambda path: text)
        if "\0" not in name:
            patch.setenv("DVC_STAGE", prefix + name.encode(errors="replace").decode())
        try:
            read, key = params.read(), None
            key, _ = params.chosen("models", None)
        except UserError as error:
            said(error)
        else:
            assert blocks.is_name(name)
            assert key in read.models
    assert untouched(repository) == before


@cases(300)
@given(launcher=launchers)
def test_a_launcher_is_refused_or_a_program_with_options_that_are_known(launcher):
    try:
        start = blocks.parse(params.Params, {**TOP, "launcher": launcher}, "params.yaml").start
    except UserError as error:
        said(error)
        return
    options = {part.split("=")[0].removeprefix("--").replace("-", "_") for part in start if part.startswith("--")}
    assert start[0] == sys.executable
    assert start[1:] == [] or start[1:3] == ["-m", "torch.distributed.run"]
    assert options <= {*params.OPTIONS, "standalone"}
    assert not set(launcher) & set("$`;&|<>\"'\\\n\0(){}*?~#")


def excerpt(model: str) -> dict[str, Any]:
    """The params with one model, and what it refers to."""
    given: dict[str, Any] = {key: value for key, value in GIVEN.items() if key not in params.GROUPS}
    given |= {group: {} for group in params.GROUPS}
    waiting = [("models", model)]
    while waiting:
        group, key = waiting.pop()
        block = given[group][key] = copy.deepcopy(GIVEN[group][key])
        for name in (block.get("dataset"), block.get("digits")):  # a data set of digits has a list of them
            waiting += [(where, name) for where in params.TOGETHER[0] if name in list(GIVEN[where])]
        waiting += [("models", name) for name in (block.get("classifier"), block.get("model")) if name in GIVEN["models"]]
    given["studies"] = {key: block for key, block in GIVEN["studies"].items() if block["model"] == model}
    return given


def places(tree: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The place of each value of a tree."""
    yield at
    for key in tree if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ():
        yield from places(tree[key], (*at, key))


@st.composite
def mutated(draw: st.DrawFn, tree: Any) -> Any:
    """A tree with a few values replaced, removed, renamed, or put where others stand."""
    tree = copy.deepcopy(tree)
    for _ in range(draw(st.integers(1, 3))):
        found = [place for place in places(tree) if place]
        if not found:
            break
        *way, last = draw(st.sampled_from(found))
        inner = tree
        for key in way:
            inner = inner[key]
        what = draw(st.sampled_from(["replace", "number", "remove", "rename", "copy", "told", "told"]))
        if what == "replace":
            inner[last] = draw(values)
        elif what == "told":
            inner[last] = draw(st.sampled_from(TOLD_BY))
        elif what == "number":
            inner[last] = draw(numbers)
        elif what == "remove":
            del inner[last]
        elif what == "rename" and isinstance(inner, dict):
            inner[draw(names)] = inner.pop(last)
        else:
            other: Any = tree
            for key in draw(st.sampled_from(found)):
                other = other[key]
            inner[last] = copy.deepcopy(other)
    return tree


@st.composite
def spoiled(draw: st.DrawFn, text: str) -> str:
    """A text with a few characters replaced, removed or put in."""
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        put = draw(st.sampled_from(SYNTAX) | st.text(characters, max_size=5))
        text = text[:start] + put + text[start + draw(st.integers(0, 20)) :]
    return text


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """A params.yaml: one of this repository's models with what it needs, changed."""
    tree = excerpt(draw(st.sampled_from(list(GIVEN["models"]))))
    if draw(st.booleans()):
        tree = draw(mutated(tree))
        try:
            return yaml.safe_dump(tree, sort_keys=False, allow_unicode=draw(st.booleans())).encode()
        except ValueError:  # a number that Python does not write, a surrogate that no text has
            return b""
    return draw(spoiled(yaml.safe_dump(tree, sort_keys=False))).encode(errors="surrogatepass")


@cases(100)
@given(content=files())
def test_a_params_yaml_is_right_for_every_stage_or_refused_in_lines(repository, content):
    path = repository / "params.yaml"
    path.write_bytes(content)
    with harmless(repository):
        try:
            taken = checks.check(path)
        except UserError as error:
            where = said(error)
        else:
            where = []
            assert taken == params.read(path)
            assert len(list(checks._stages(taken))) >= 1
            for key, block in taken.studies.items():
                for cell in cells.cells(key, blocks.parse(blocks.StudyConfig, block, ""), taken):
                    assert cell.kept.parent == Path("studies") / key
                    assert len(cell.name.encode()) <= cells.LONGEST
    assert [line for line in where if not line.startswith(("params.yaml: ", f"{path}: "))] == []


@pytest.fixture(scope="module")
def models(repository) -> Iterator[dict[str, tuple[Path, Any]]]:
    """The folder of a small model of each family, and what its model.json says."""
    found = {}
    for family in [*BLOCKS, *OTHERS]:
        folder = repository / "models" / family
        folder.mkdir(parents=True)
        families.save(build(family), folder)
        found[family] = folder, json.loads((folder / "model.json").read_text())
    yield found
    shutil.rmtree(repository / "models")


@cases(100)
@given(data=st.data())
def test_a_model_json_is_loaded_or_refused_in_lines(repository, models, data):
    folder, description = models[data.draw(st.sampled_from(list(models)))]
    if data.draw(st.booleans()):
        try:
            text = json.dumps(data.draw(mutated(description)), default=str, skipkeys=True)
        except ValueError:  # a number that Python does not write
            text = ""
    else:
        text = data.draw(spoiled(json.dumps(description)))
    (folder / "model.json").write_bytes(text.encode(errors="surrogatepass"))
    with harmless(repository):
        try:
            families.load(folder)
        except UserError as error:
            said(error)


# -- data of strangers, by the stages


def staged(repository: Path, block: dict[str, Any]) -> bool:
    """Download and prepare a data set of a block; returns whether it was taken. What is told to a person is held on the way."""
    for name in OWN[:2]:
        shutil.rmtree(repository / name, ignore_errors=True)
    (repository / "params.yaml").write_text(yaml.safe_dump({**TOP, "datasets": {"toy": block}}))
    told, status = io.StringIO(), 0
    with harmless(repository), contextlib.redirect_stderr(told), contextlib.redirect_stdout(told):
        for stage in ("download", "prepare"):
            try:
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr(sys, "argv", [stage, "toy"])
                    runpy.run_path(str(ROOT / "stages" / f"{stage}.py"), run_name="__main__")
            except SystemExit as end:
                status = end.code
                break
    lines = [line.removeprefix("error: ") for line in told.getvalue().splitlines() if line.startswith("error: ")]
    assert (status, bool(lines)) in ((0, False), (1, True)), told.getvalue()
    said(UserError("\n".join(lines) or "taken"))
    assert not any(form in told.getvalue().encode() for form in FORMS)
    return status == 0


@pytest.fixture
def strangers(repository) -> Iterator[Path]:
    """A folder of somebody else's files in the repository."""
    (repository / "strangers").mkdir()
    yield repository / "strangers"
    shutil.rmtree(repository / "strangers")


leading = st.fixed_dictionaries({  # a section that may be somewhere else, though it looks right
    "link": st.sampled_from(["", "", "external", "hard", "soft"]), "dtype": st.just("u1"), "shape": st.just([16, 16]),
    "layout": st.sampled_from(["", "gzip", "external", "virtual"]), "level": st.integers(0, 3),
})  # fmt: skip
led = st.lists(st.tuples(st.sampled_from(["a", "b", "x"]), st.sampled_from(["0", "1", "2"]), leading), max_size=3)


@cases(60)
@given(
    items=st.one_of(made.tree(), led), sound=st.sampled_from([True, True, False]), tile=st.sampled_from([2, 16]),
    test=st.sampled_from(["fewest_images"] * 20 + made.NAMES[:4]),
)  # fmt: skip
def test_an_hdf5_file_is_prepared_or_refused_in_lines_and_leads_nowhere(repository, strangers, items, sound, tile, test):
    (strangers / "secret").write_text(PASSWORD * 100)
    with h5py.File(strangers / "other.h5", "w") as other:
        other["x"] = np.frombuffer(PASSWORD.encode() * 16, np.uint8).reshape(16, 16)
    made.build(items, strangers / "tree.h5")
    if sound:
        with h5py.File(strangers / "tree.h5", "a") as file:
            for brain in ("sound", "other sound"):
                file[f"{brain}/0"] = np.random.default_rng(len(brain)).integers(0, 250, (20, 24)).astype(np.uint8)
    block = {"kind": "brains", "source": "file", "path": "strangers/tree.h5", "tile": tile, "small": "pad", "test_brain": test}
    event("taken" if staged(repository, block) else "refused")


PICTURES = made.pictures()
LEAD = [
    "{around}/secret",
    "{around}/secret.png",
    "{around}/precious",
    "..",
    "/",
    "/dev/zero",
    "/proc/self/environ",
    "a.png",
    "nothing",
]
LINKS = {"a/linked.png": b"{around}/secret.png", "labels.csv": b"{around}/secret", "a": b"{around}"}
files_named = st.one_of(
    st.lists(st.sampled_from(["a", "b", "..", "c d", "ä", "\x1b[31m"]), max_size=3).flatmap(
        lambda folders: st.sampled_from(["a.png", "b.jpg", "c.tif", "0", "labels.csv", ".hidden.png"]).map(
            lambda name: "/".join([*folders, name])
        )
    ),
    names.map(lambda name: f"a/{name}.png"),
)
tables = st.lists(st.lists(st.sampled_from(["file", "label", "a.png", "../secret", "x", "", "a/b.jpg"]), max_size=3), max_size=4)


@st.composite
def a_file(draw: st.DrawFn) -> tuple[str, str, bytes]:
    """One of a folder's files: its name, whether it is a link, and what stands in it."""
    what = draw(st.sampled_from(["sound", "sound", "sound", "damaged", "table", "odd", "link"]))
    name = draw(files_named)
    if what == "link":
        return name, what, draw(st.sampled_from(LEAD)).encode()
    if what == "table":
        return name, what, "\n".join(map(",".join, draw(tables))).encode()
    content = PICTURES[draw(st.sampled_from(sorted(PICTURES)))]
    return name, what, content if what == "sound" else draw(st.binary(max_size=20) if what == "odd" else made.damaged(content))


def lay_out(place: Path, found: list[tuple[str, str, bytes]]) -> None:
    """Write files into a folder, but for those whose names no file has, or that would not lie in it."""
    for name, what, content in found:
        path = place / name
        with contextlib.suppress(OSError, ValueError):
            if os.path.normpath(path).startswith(f"{place}/"):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.symlink_to(content.decode().format(around=place.parents[2])) if what == "link" else path.write_bytes(content)


def pack(place: Path, found: list[tuple[str, str, bytes]], zipped: bool) -> None:
    """Write files of any name into an archive, links among them."""
    if zipped:
        with zipfile.ZipFile(place, "w") as box:
            for name, what, content in found:
                entry = zipfile.ZipInfo(name)
                entry.external_attr = (0o120777 if what == "link" else 0o644) << 16
                with contextlib.suppress(ValueError, UnicodeError, struct.error):  # a name that is too long for this format
                    box.writestr(entry, content)
        return
    with tarfile.open(place, "w") as tar:
        for name, what, content in found:
            member = tarfile.TarInfo(name)
            if what == "link":
                member.type, member.linkname = tarfile.SYMTYPE, content.decode()
            member.size = 0 if what == "link" else len(content)
            with contextlib.suppress(ValueError, UnicodeError):
                tar.addfile(member, io.BytesIO(content))


@cases(60)
@given(
    found=st.lists(a_file(), max_size=6), sound=st.sampled_from([True, True, False]), link=st.sampled_from(["", *LINKS]),
    how=st.sampled_from(["folder"] * 4 + ["zip", "tar", "damaged zip", "damaged tar", "brains"]),
    labels=st.sampled_from(["auto", "none", "folders", "csv"]), test=st.sampled_from([0.5] * 5 + [0]),
    group=st.sampled_from(["", "parent"]), on_bad=st.sampled_from(["skip", "error"]), data=st.data(),
)  # fmt: skip
@pytest.mark.filterwarnings("ignore")
def test_a_folder_or_an_archive_is_prepared_or_refused_in_lines_and_leads_nowhere(
    repository, strangers, found, sound, link, how, labels, test, group, on_bad, data
):
    shutil.rmtree(strangers)
    place = strangers / "mine"
    place.mkdir(parents=True)
    if sound:
        found = [(f"{folder}/sound.png", "sound", PICTURES[f"{folder}.png"]) for folder in ("a", "b")] + found
    if link:
        found = [(link, "link", LINKS[link]), *found]
    if how in ("folder", "brains"):
        lay_out(place, found)
    else:
        place = strangers / "archive"
        pack(place, found, how.endswith("zip"))
        if how.startswith("damaged"):
            place.write_bytes(data.draw(made.damaged(place.read_bytes())))
    block: dict[str, Any] = {"kind": "brains", "source": "folder", "path": str(place), "tile": 2}
    if how != "brains":
        block = {"kind": "images", "source": "folder" if how == "folder" else "archive", "path": str(place), "size": 16,
                 "colour": False, "resize": "nearest", "labels": labels, "test_fraction": test, "on_bad": on_bad,
                 "group": group if test else ""}  # fmt: skip
    event("taken" if staged(repository, block) else "refused")
