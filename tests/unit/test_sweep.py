"""`regen sweep`: what is asked for is read and refused before any work; each combination becomes an experiment of DVC."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import sys
import threading
from itertools import combinations
from pathlib import Path

import pytest
import yaml
from dulwich.refs import check_ref_format
from hypothesis import given, settings
from hypothesis import strategies as st

from regen.commands.revisions import Revision, revision
from regen.commands.sweeping import copies, page, results, values
from regen.errors import UserError
from tests import sweeping

CONTENT = {"seed": 0, "datasets": {"toy": {"kind": "mnist"}}, "models": {"a_vae": {"beta": 1.0, "channels": [4, 8]}, "b": {}}}
SCALARS = (
    st.integers(-(2**62), 2**62) | st.booleans() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="ascii", categories=("L", "N", "Zs", "P", "S"), exclude_characters='"\\'), max_size=20)
)  # fmt: skip
VALUES = SCALARS | st.lists(SCALARS, max_size=4)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a.b=1,2,4", [1, 2, 4]),
        ("a.b = 1e-4 , 0.5", [1e-4, 0.5]),
        ("a.b=[1,2],[3,4]", [[1, 2], [3, 4]]),
        ("a.b=[[1,2],[3]],[]", [[[1, 2], [3]], []]),
        ("""a.b='x,y',"z",w""", ["x,y", "z", "w"]),
        ("a.b=o'clock,it's", ["o'clock", "it's"]),
        ("a.b=['a,b',c],d", [["a,b", "c"], "d"]),
        ("a.b=true,null,1", [True, None, 1]),
        ("a.b=x=1,y=2", ["x=1", "y=2"]),
    ],
)
def test_values_are_read_as_params_yaml_is_and_split_outside_of_brackets_and_quotes(text, found):
    assert values.given([text]) == {"a.b": found}


@given(st.lists(VALUES, min_size=1, max_size=5).filter(lambda found: all(x != y for x, y in combinations(found, 2))))
def test_what_was_written_is_read(found):
    assert values.given(["a=" + ",".join(json.dumps(value) for value in found)]) == {"a": found}


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ([], "nothing is varied"),
        (["beta"], "'beta': expected PATH=VALUE"),
        (["=1"], "'=1': expected PATH=VALUE"),
        (["a.beta="], "a.beta: no value"),
        (["a.beta=1,,2"], "a.beta: '1,,2': an empty value"),
        (["a.beta=1,2,"], "an empty value"),
        (["a.beta=[1,2"], "a bracket or a quote is not closed"),
        (["a.beta='1"], "a bracket or a quote is not closed"),
        (["a.beta=1,2,1"], "a.beta: 1 stands there twice"),
        (["a.beta=1", "a.beta=2"], "a.beta: stands there twice"),
        (["a.beta=&x *x"], "a.beta: not valid YAML"),
        (["a.beta=!!binary aGk="], "a.beta: '!!binary aGk=': expected a number, a text, true, false, or a list of them"),
    ],
)
def test_what_is_no_list_of_values_is_refused(texts, said):
    with pytest.raises(UserError, match=re.escape(said)) as refused:
        values.given(texts)
    assert "\n" not in str(refused.value)


def test_combinations_are_the_product_and_the_last_param_changes_fastest():
    rows = values.product({"a": [1, 2], "b": [True, "x"]})
    assert rows == [{"a": 1, "b": True}, {"a": 1, "b": "x"}, {"a": 2, "b": True}, {"a": 2, "b": "x"}]


@pytest.mark.parametrize(
    ("row", "name"),
    [
        ({"models.a_vae.beta": 4, "seed": 1}, "a_vae.beta=4,seed=1"),
        ({"models.a_vae.beta": 4, "models.a_vae.latent_dim": 8, "seed": 1}, "a_vae.beta=4,latent_dim=8,seed=1"),
        ({"models.a.b": 1e-5, "models.c.b": True}, "a.b=1e-05,c.b=true"),
        ({"models.a.b": 1, "datasets.a.b": 2}, "models.a.b=1,datasets.a.b=2"),
        ({"models.a.widths": [16, 32]}, "a.widths=16x32"),
    ],
)
def test_an_experiment_is_named_by_what_is_varied(row, name):
    assert values.name(row) == name
    assert values.name(row, "3f2a1c") == f"{name}-3f2a1c"


def test_values_that_git_takes_in_no_ref_have_names_of_their_own():
    found = {
        values.name({"models.a.b": text})
        for text in ("x y", "x/y", "x..y", "x.lock", "x.lock " + 200 * "z", "x.lock " + 201 * "z")
    }
    assert len(found) == 6
    assert all(re.fullmatch(r"a\.b=[\w.]+-[0-9a-f]{8}", name) for name in found)


@settings(max_examples=300)
@given(st.dictionaries(st.from_regex(r"models\.[a-z]{1,30}\.[a-z]{1,30}", fullmatch=True), VALUES, min_size=1, max_size=6))
def test_git_and_dvc_take_any_name_and_it_says_which_values(row):
    name = values.name(row)
    assert check_ref_format(f"refs/exps/ab/cd/{name}".encode())
    assert "/" not in name
    assert name.isascii()
    assert len(name) <= values.LONGEST + 9
    other = {path: f"{values.said(value)}!" for path, value in row.items()}
    assert values.name(other) != name


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("sed", "params.yaml: unknown parameter 'sed' (did you mean seed?)"),
        ("model.a_vae.beta", "unknown block 'model' (did you mean models?)"),
        ("models.a_vea.beta", "params.yaml: models: unknown block 'a_vea' (did you mean a_vae?)"),
        ("models.a_vae.beta.x", "models.a_vae.beta is a value and no block"),
        ("models.a_vae", "models.a_vae: a block, and not a parameter; name one of its own: models.a_vae.beta"),
        ("models.b", "name one of its own: models.b.name"),
    ],
)
def test_a_path_that_leads_nowhere_is_refused(path, said):
    with pytest.raises(UserError, match=re.escape(said)):
        values.placed(["seed", "models.a_vae.channels", path], CONTENT)


def test_params_yaml_keeps_its_comments():
    text = "seed: 0  # of all\nmodels:\n  a:\n    beta: 1.0  # weight\n"
    changed = values.written(text, {"models.a.beta": 4.5, "models.a.more": [1, 2], "seed": 3})
    assert changed == "seed: 3  # of all\nmodels:\n  a:\n    beta: 4.5  # weight\n    more:\n    - 1\n    - 2\n"


def test_a_block_that_another_takes_its_values_from_is_not_changed():
    text = "models:\n  a: &a\n    beta: 1.0\n  b: *a\n  c: {beta: 1.0}\n"
    with pytest.raises(UserError, match=r"models\.a\.beta: another block takes its values from there .*models\.b\.beta would"):
        values.written(text, {"models.a.beta": 4.5})
    assert "beta: 4.5" in values.written(text, {"models.c.beta": 4.5})


@pytest.fixture(scope="module")
def committed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("repository") / "toy"
    sweeping.furnish(folder)
    return folder


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout.strip()


def state() -> list[str]:
    """All that a person would miss."""
    return [
        git("status", "--porcelain"), git("symbolic-ref", "HEAD"), git("rev-parse", "HEAD"), git("stash", "list"),
        *(hashlib.sha256(path.read_bytes()).hexdigest() for path in map(Path, ("params.yaml", "dvc.lock", "metrics/lstm.json"))),
        git("diff", "--cached"),
    ]  # fmt: skip


def names() -> list[str]:
    return sorted(line.split("/", 4)[4] for line in git("for-each-ref", "--format=%(refname)", "refs/exps").splitlines())


def ran() -> list[str]:
    path = Path(".work/ran")
    return sorted(path.read_text().split()) if path.exists() else []


@pytest.mark.timeout(1800)
def test_each_combination_becomes_an_experiment_and_the_workspace_stays_as_it_is(repository, command):
    (repository / "params.yaml").write_text((repository / "params.yaml").read_text().replace("seed: 0", "seed: 1"))
    (repository / "staged.py").touch()
    git("add", "staged.py")
    before, mark = state(), copies.base().mark
    said, code = command("sweep", "-S", "models.lstm.hidden=4,13,6", "--out", ".work/page/sweep.html")
    assert code == 1
    assert state() == before
    assert names() == [f"lstm.hidden=4-{mark}", f"lstm.hidden=6-{mark}"]
    errors = [line for line in said.splitlines() if line.startswith("error: ")]
    assert len(errors) == 2
    log = f".work/sweeps/lstm.hidden=13-{mark}/.work/logs/evaluate@lstm.log"
    assert errors[0].startswith(f"error: lstm.hidden=13-{mark}: evaluate@lstm: thirteen is too many (see {log})")
    assert Path(log).is_file()
    assert "1 of 3 experiments failed" in errors[1]
    four = revision(f"lstm.hidden=4-{mark}")
    assert four.measured("lstm") == {"nats_per_pixel": {"value": 1.4, "error": 0.01}}
    assert git("rev-parse", f"{four.commit}^") == git("rev-parse", "HEAD")
    assert four.params()["models.lstm.hidden"] == 4
    assert "staged.py" in git("ls-tree", "--name-only", four.commit).splitlines()
    lock = yaml.safe_load(git("show", f"{four.commit}:dvc.lock"))
    assert lock["stages"]["evaluate@lstm"]["params"]["params.yaml"]["models.lstm"]["hidden"] == 4
    assert f"lstm.hidden=6-{mark}" in Path(".work/page/sweep.html").read_text()
    assert not Path(f".work/sweeps/lstm.hidden=4-{mark}").exists()

    head = git("rev-parse", "HEAD")
    git("update-ref", "-d", f"refs/exps/{head[:2]}/{head[2:]}/lstm.hidden=6-{mark}")
    said, code = command("sweep", "-S", "models.lstm.hidden=4,6")
    assert code == 0, said
    assert "2 experiments of lstm: 1 are there, 1 to run" in said
    assert f"lstm.hidden=6-{mark}: done in" in said
    assert f"lstm.hidden=4-{mark}: done in" not in said
    done = ran()
    assert command("sweep", "-S", "models.lstm.hidden=4,6")[1] == 0
    assert ran() == done

    said, code = command("best", "nats_per_pixel", "--model", "lstm")
    assert code == 0, said
    assert f"lstm.hidden=4-{mark}" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "nothing is varied"),
        (("-S", "models.lstm.hiden=4"), "models.lstm.hiden: unknown key (did you mean hidden?)"),
        (("-S", "models.lstm.hidden=4,0,-1"), "lstm.hidden=0: params.yaml: models.lstm.hidden: expected"),
        (("-S", "models.lstm.family=vae"), "params.yaml: models.lstm"),
        (("-S", "models.lstmm.hidden=4"), "unknown block 'lstmm' (did you mean lstm?)"),
        (("lstmm", "-S", "models.lstm.hidden=4"), "unknown data set, model or other block 'lstmm' (did you mean lstm?)"),
        (("-S", "seed=0", "--jobs", "0"), "--jobs"),
        (("-S", "models.lstm.hidden=4", "-S", "models.lstm.hidden=6"), "stands there twice"),
    ],
)
def test_a_mistake_is_told_before_any_work(repository, command, arguments, said):
    printed, code = command("sweep", *arguments)
    assert code == 1
    assert said in printed
    assert all(line.startswith("error: ") for line in printed.splitlines())
    assert names() == []
    assert not list(Path(".work/sweeps").glob("*")) if Path(".work/sweeps").exists() else True


def test_a_name_that_another_experiment_has_is_refused(repository, command):
    head = git("rev-parse", "HEAD")
    git("update-ref", f"refs/exps/{head[:2]}/{head[2:]}/lstm.hidden=6", head)
    printed, code = command("sweep", "-S", "models.lstm.hidden=4,6")
    assert (code, printed.count("\n")) == (1, 1)
    assert printed.startswith("error: lstm.hidden=6: an experiment of this name is there already")


def test_without_a_commit_or_a_committer_it_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    git("init", "--quiet")
    with pytest.raises(UserError, match="no commit to start from"):
        copies.base()
    git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--allow-empty", "--message", "one")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    git("config", "user.useConfigOnly", "true")
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.delenv(f"GIT_{who}_EMAIL", raising=False)
    with pytest.raises(UserError, match="git does not know who you are"):
        copies.base()


def test_what_a_run_writes_makes_no_other_experiments_and_a_change_of_code_does(repository):
    first = copies.base()
    assert first.mark == ""
    Path("metrics/lstm.json").write_text("{}")
    Path("dvc.lock").unlink()
    made = copies.base()
    assert (made.mark, made.head) == ("", first.head)
    assert made.tree != first.tree
    Path("measure.py").write_text("# other\n")
    changed = copies.base()
    assert re.fullmatch("[0-9a-f]{6}", changed.mark)
    Path("src/regen/models").mkdir(parents=True)
    Path("src/regen/models/mine.py").touch()
    Path("big.bin").touch()
    assert copies.base().mark not in ("", changed.mark)
    assert "big.bin" not in git("ls-tree", "-r", "--name-only", copies.base().tree).splitlines()


def test_the_index_of_whoever_runs_it_from_a_hook_stays_as_it_is(repository, monkeypatch):
    Path("measure.py").write_text("# not staged\n")
    folder = Path(git("rev-parse", "--absolute-git-dir"))
    before = git("ls-files", "--stage"), git("diff", "--name-only")
    monkeypatch.setenv("GIT_INDEX_FILE", str(folder / "index"))
    monkeypatch.setenv("GIT_DIR", str(folder))
    base, content = copies.base(), Path("params.yaml").read_bytes()
    copy = copies.lay_out(base, "one", content, copies.cache())
    assert (copy / "measure.py").read_text() == "# not staged\n"
    assert base.current(base.save("one", copy, "one"), content)
    assert (git("ls-files", "--stage"), git("diff", "--name-only")) == before


def test_an_experiment_whose_stages_write_files_that_git_knows_is_of_the_same_code(repository):
    base, content = copies.base(), Path("params.yaml").read_bytes()
    copy = copies.lay_out(base, "one", content, copies.cache())
    (copy / "measure.py").write_text("# written by a stage\n")
    made = base.save("one", copy, "one")
    assert base.current(made, content)
    assert not base.current(made, content + b"# other\n")
    Path("measure.py").write_text("# other\n")
    assert not copies.base().current(made, content)


def test_a_copy_that_a_kill_left_is_gone_on_with_if_it_is_of_the_same_params(repository):
    base, params = copies.base(), Path("params.yaml").read_bytes()
    folder = copies.lay_out(base, "one", params, "/cache")
    (folder / "half").touch()
    assert copies.lay_out(base, "one", params, "/cache") == folder
    assert (folder / "half").exists()
    copies.lay_out(base, "one", params + b"\n", "/cache")
    assert not (folder / "half").exists()
    assert (folder / "params.yaml").read_bytes() == params + b"\n"
    (folder / ".git/regen-sweep").unlink()  # cut short while it was laid out
    (folder / "half").touch()
    copies.lay_out(base, "one", params + b"\n", "/cache")
    assert not (folder / "half").exists()
    settings = (folder / ".dvc/config.local").read_text()
    assert "dir = /cache" in settings


def test_what_a_killed_sweep_left_running_is_waited_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ending, waits, held = threading.Event(), threading.Event(), threading.Event()
    code = "import sys, filelock; lock = filelock.FileLock(sys.argv[1]); lock.acquire(); print(flush=True); input()"
    with copies.alone("one", ending, waits.set) as lock:
        orphan = subprocess.Popen([sys.executable, "-c", code, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert orphan.stdout is not None
        orphan.stdout.readline()

    def again() -> None:
        with copies.alone("one", ending, waits.set):
            held.set()

    thread = threading.Thread(target=again)
    thread.start()
    assert waits.wait(60)
    assert not held.is_set()
    orphan.communicate(b"\n")
    assert held.wait(60)
    thread.join()


def toy(entries: list[float | None]) -> results.Results:
    found = [{"value": value} if value is not None else None for value in entries]
    column = results.Column("a_vae", "mse", "Error", "", "lower", found, [str(value) for value in entries])
    return results.Results(["<b>", "two", "three"], {"beta": [1, 10, 1000], "kind": ["x", "y", "x"]}, [column])


def test_the_page_runs_no_script_but_its_own_and_shows_names_as_they_are():
    html = page.build(toy([1.0, 2.0, None]))
    for tag, rule in (("script", "script-src"), ("style", "style-src")):
        (content,) = re.findall(f"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert re.search(f"{rule} &#39;sha256-|{rule} '", html)
        assert digest in html
    assert "default-src 'none'" in html
    assert "<b>" not in html
    assert "&lt;b&gt;" in html
    assert "http" not in html.replace("http-equiv", "")


def test_the_better_end_is_above_and_what_grows_much_is_drawn_by_its_logarithm():
    beta, kind, error = page.drawn(toy([1.0, 2.0, None]))
    assert error.places[2] is None
    assert error.places[0] == page.TOP
    assert error.places[1] == page.TOP + page.HEIGHT
    low, middle, high = beta.places
    assert (high, low) == (page.TOP, page.TOP + page.HEIGHT)
    assert middle == pytest.approx(page.TOP + page.HEIGHT * 2 / 3, abs=0.1)
    assert kind.places[0] == kind.places[2] != kind.places[1]
    assert page.shades(toy([2.0, 1.0, None]).columns, 3) == [2, 0, page.SHADES - 1]


def test_a_distance_that_was_bought_by_copying_is_marked_in_the_table_and_on_the_page():
    class At(Revision):
        def measured(self, key):
            copied = {"value": 0.5 if self.commit == "2" else 0.0, "real": 0.05}
            return {"frechet_distance": {"value": 30.0 - float(self.commit), "real": 10.0}, "near_copies": copied}

    found = [(At("one", "1"), {"models.a.beta": 1}), (At("two", "2"), {"models.a.beta": 2.5})]
    given = results.gathered(found, ["a"], {"a": {"family": "vae", "dataset": "toy"}})
    lines = given.table().splitlines()
    assert [" ".join(line.split()) for line in lines[2:]] == ["one 1 29 0", "two 2.5 28, does not count 0.5"]
    assert page.build(given).count("does not count") == 1


def test_the_table_has_values_and_figures_and_only_models_that_differ():
    class At(Revision):
        def measured(self, key):
            return {"mse": {"value": float(self.commit) if key == "a" else 1.0}, "learned": {"value": 1.0}}

    found = [(At("one", "1"), {"models.a.beta": 1}), (At("two", "2"), {"models.a.beta": 2.5})]
    blocks = {key: {"family": "vae", "dataset": "toy"} for key in "ab"}
    table = results.gathered(found, ["a", "b"], blocks).table()
    assert [line.split() for line in table.splitlines()] == [
        ["experiment", "a.beta", "mse"], ["lower", "is", "better"], ["one", "1", "1"], ["two", "2.5", "2"],
    ]  # fmt: skip
