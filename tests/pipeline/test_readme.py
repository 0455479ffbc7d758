"""Every command and block of code of the README, the guide to contributing and docs/ is run once, in a copy of the smoke run.

What wants a network, a GPU, a server or hours stands in `INSTEAD`: with what is run in its place, or with why nothing is.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import yaml
from PIL import Image

from regen import checks
from tests import smoke

pytestmark = pytest.mark.timeout(3600)  # the first test waits for the smoke run

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
RESTORE = "git checkout --quiet . && dvc checkout --quiet --force && "
NOTHING = "nothing: "

# {command: what is run instead}. HERE is the folder that holds the copy; "nothing: why" is not run.
INSTEAD = {
    "make test": "nothing: this is one of its tests",
    "make smoke": "nothing: the copy is its outcome",
    "make setup": "nothing: it downloads some gigabytes",
    "make full": "nothing: it trains for hours",
    "make studies": "nothing: it trains for hours",
    "make verify": f"{RESTORE}make -o .venv/.ready verify",  # after experiments, figures are others
    "regen sweep -S models.punks_vae.beta=2,8 -S models.punks_vae.latent_dim=32,64": (
        f"{RESTORE}regen sweep -S models.punks_vae.beta=2,8 -S models.punks_vae.latent_dim=4"
    ),
    "regen search models.punks_vae.beta=0.1..10:log --for frechet_distance --trials 16": (
        "regen search models.punks_vae.beta=0.1..10:log --for frechet_distance --trials 2 --batch 1"
    ),
    "regen search models.punks_vae.beta=0.1..10:log models.punks_vae.latent_dim=16..64 --for frechet_distance --trials 8": (
        "regen search models.punks_vae.beta=0.1..10:log models.punks_vae.latent_dim=4..8 --for frechet_distance --trials 2"
    ),
    "regen search models.punks_vae.learning_rate=1e-4..1e-2:log --for frechet_distance --trials 32 --prune-by loss": (
        "regen search models.punks_vae.learning_rate=1e-4..1e-2:log --for frechet_distance --trials 2 --batch 1 --prune-by loss"
    ),
    "regen add cats ~/pictures/cats": "regen add cats HERE/cats",
    "regen repro cats": (
        "python -c \"from dvc.utils.hydra import apply_overrides as a; a('params.yaml', [f'models.cats_{m}.epochs=1' "
        "for m in ('classifier', 'autoencoder', 'vae', 'gan')])\" && regen repro cats"
    ),
    "regen compare HEAD EXPERIMENT ANOTHER": "regen compare HEAD $(dvc exp list --name-only | head -2)",
    "make resolve": "nothing: it wants a merge in conflict; tests/team has one",
    "dvc exp push origin wide": "nothing: there is no such clone; tests/team has two",
    "dvc exp pull origin wide": "nothing: there is no such clone; tests/team has two",
    "regen compare HEAD wide": "nothing: tests/team has this experiment",
    "dvc exp apply wide": "nothing: tests/team has this experiment",
    "make gc": "python -m regen.commands.gc --force",  # without asking
    "make gc CLOUD=1": "nothing: there is no remote yet; tests/unit/test_gc.py does it",
    "cp deploy/.env.example deploy/.env": "nothing: for containers",
    "curl --user admin --json @anna.json http://localhost:5000/api/2.0/mlflow/users/create": "nothing: there is no such server",
    "regen promote punks_vae champion": "nothing: tracking is off here; tests/unit/test_registry.py does it",
    "regen sample models:/punks_vae@champion": "nothing: tracking is off here; tests/unit/test_registry.py does it",
    "regen serve models:/punks_vae@champion": "nothing: it does not end; tests/unit/test_serve.py does it",
    """curl --json '{"inputs": [[]], "params": {"seed": 1, "n": 16}}' http://127.0.0.1:5001/invocations""": "nothing: see above",
    "make portraits": "nothing: it asks a museum, or downloads 146 MB; test_rijksmuseum and test_wesnoth hold its parts",
    "dvc exp run -S models.punks_vae.beta=4": f"{RESTORE}dvc exp run -S models.punks_vae.beta=4",  # without the cats
    "dvc exp run -S models.punks_gan.epochs=200": "dvc exp run -S models.punks_gan.epochs=2",
    "dvc exp run -S datasets.brains.source=file -S datasets.brains.path=cells.h5": (
        f"{RESTORE}dvc exp run -S datasets.brains.source=file -S datasets.brains.path=HERE/cells.h5"
    ),
    "dvc exp run -S datasets.brains.source=file -S datasets.brains.path=/data/cells.h5": (
        f"{RESTORE}dvc exp run -S datasets.brains.source=file -S datasets.brains.path=HERE/cells.h5"
    ),
    "dvc exp run -S datasets.brains.source=folder -S datasets.brains.path=/data/brains": (
        f"{RESTORE}dvc exp run -S datasets.brains.source=folder -S datasets.brains.path=HERE/brains"
    ),
    "dvc remote add --default shared s3://bucket/regen": "dvc remote add --force --default shared HERE/remote",
    "git pull && make pull && dvc repro": "make -o .venv/.ready pull && dvc repro",  # nobody to pull from
    'git commit --message "Our DVC remote" .dvc/config': "git commit --allow-empty --message 'Our DVC remote' .dvc/config",
    "export MLFLOW_TRACKING_URI=http://our-server:5000": "nothing: there is no such server",
    "make mlflow-sync": "MLFLOW_TRACKING_URI=sqlite:///HERE/mlflow.db make -o .venv/.ready mlflow-sync",
    ".venv/bin/pre-commit install": "nothing: a copy has no .venv; tests/unit/test_repository.py holds the hooks",
    "dvc plots diff": "dvc plots diff && test -s dvc_plots/index.html && git check-ignore --quiet dvc_plots/index.html",
    "python benchmarks/larger_than_memory.py all FOLDER 10000": "python benchmarks/larger_than_memory.py all HERE/many 200",
    "ray start --head --port 6379": "nothing: it does not end; tests/unit/test_ray.py has a cluster",
    "ray start --address HEAD:6379": "nothing: see above",
    "RAY_ADDRESS=HEAD:6379 make repro": "nothing: see above",
    "python .ci/report.py origin/main /tmp/report": "python .ci/report.py HEAD HERE/report",
}


def blocks(page: Path) -> list[tuple[str, str]]:
    """The language and the text of each fenced block."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


def commands(page: Path) -> list[str]:
    """The lines of its blocks of shell, without comments."""
    lines = [line for language, text in blocks(page) if language in ("sh", "bash", "console") for line in text.splitlines()]
    return [command for line in lines if (command := re.sub(r"(^|\s+)#.*", "", line).strip())]


def codes(language: str) -> list[Any]:
    """The blocks of one language in all pages, each named by its page."""
    found = [(page, text) for page in PAGES for name, text in blocks(page) if name == language]
    return [pytest.param(text, id=page.stem) for page, text in found]


def programs() -> list[Any]:
    """The Python of each page: its blocks are one program, as a reader would go on with what is there."""
    texts = [(page, "\n".join(text for name, text in blocks(page) if name == "python")) for page in PAGES]
    return [pytest.param(text, id=page.stem) for page, text in texts if text]


@pytest.fixture(scope="module")
def place(copy: Path) -> Path:
    """A copy of the smoke run; brains and pictures of somebody's own beside it."""
    here = copy.parent
    rng = np.random.default_rng(0)
    with h5py.File(here / "cells.h5", "w") as file:
        for brain in ("one", "two", "three"):
            (here / "brains" / brain).mkdir(parents=True)
            for number in range(3):
                image = rng.integers(0, 256, (48, 64)).astype(np.uint8)
                file[f"{brain}/{number}"] = image
                Image.fromarray(image).save(here / "brains" / brain / f"{number}.png")
    (here / "cats").mkdir()
    for number in range(40):
        blocks = Image.fromarray(rng.integers(0, 256, (6, 8, 3)).astype(np.uint8))
        blocks.resize((64, 48), Image.Resampling.BICUBIC).save(here / "cats" / f"{number}.jpg")
    return copy


def instead(command: str, place: Path) -> str:
    """What is run for a command."""
    if command.startswith("docker "):
        return f"{NOTHING}it downloads images"
    own = re.sub(r"^make ", "make -o .venv/.ready ", command)  # the packages are there
    return INSTEAD.get(command, own).replace("HERE", str(place.parent))


@pytest.mark.parametrize(("page", "number", "command"), [
    pytest.param(page, number, command, id=f"{page.stem}: {command}")
    for page in PAGES for number, command in enumerate(commands(page))
])  # fmt: skip
def test_a_command_of_the_pages_does_what_it_says(place: Path, page: Path, number: int, command: str) -> None:
    if number == 0:  # a page begins with what is committed
        smoke.run(place, "bash", "-c", f"{RESTORE} true")
    given = instead(command, place)
    if given.startswith(NOTHING):
        pytest.skip(given)
    done = smoke.run(place, "bash", "-c", given, check=False, MLFLOW_TRACKING_URI="", DVC_NO_ANALYTICS="1")
    assert done.returncode == 0, f"{given}\n{done.stdout[-3000:]}"
    assert "Traceback" not in done.stdout
    if re.match(r"regen |dvc exp show|dvc metrics", given):
        one_line = re.search(r"regen (sample|answer|report|check|compare)", given)
        assert len(done.stdout.splitlines()) >= (1 if one_line else 2), f"{given}: says nothing"


@pytest.mark.parametrize("text", programs())
def test_python_of_the_pages_runs(place: Path, text: str) -> None:
    done = smoke.run(place, "python", "-W", "error::DeprecationWarning", "-c", text, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("text", codes("yaml"))
def test_yaml_of_the_pages_is_right_in_params_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "weights-inception-2015-12-05-6726825d.pth").touch()
    text = re.sub(r"\b([0-9a-f]{8})\.\.\.", lambda cut: cut[1].ljust(64, "0"), text)  # a digest that a page cuts short
    given = yaml.safe_load((ROOT / "params.yaml").read_text())
    given["datasets"]["cats"] = {"kind": "images", "source": "folder", "path": "cats"}  # as `regen add cats` has left it
    given["models"]["cats_gan"] = {**given["models"]["faces64_gan"], "dataset": "cats"}
    for name, value in yaml.safe_load(text).items():
        given[name] = merged(given.get(name), value)
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(given))
    checks.check(path)


def merged(old: Any, new: Any) -> Any:
    """What stands in a file after somebody has written `new` into it: blocks keep what is not given anew."""
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return new
    return old | {name: merged(old.get(name), value) for name, value in new.items()}


def test_what_is_refused_is_refused_in_the_words_of_the_pages(place: Path) -> None:
    line = "params.yaml: models.punks_vae.latnt_dim: unknown key (did you mean latent_dim?)"
    assert line in (ROOT / "README.md").read_text()
    before = (place / "params.yaml").read_text()
    try:
        smoke.apply(place, "+models.punks_vae.latnt_dim=3")
        said = smoke.run(place, "regen", "check", check=False).stdout
    finally:
        (place / "params.yaml").write_text(before)
    assert f"error: {line}" in said.splitlines()


def test_what_stands_in_for_a_command_is_still_wanted() -> None:
    assert INSTEAD.keys() - {command for page in PAGES for command in commands(page)} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_to_files(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+?)\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_table_of_the_readme_names_every_model() -> None:
    table = "\n".join(line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("|"))
    assert set(re.findall(r"`(\w+)`", table)) == yaml.safe_load((ROOT / "params.yaml").read_text())["models"].keys()
