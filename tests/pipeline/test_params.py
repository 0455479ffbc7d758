"""Anyone's params.yaml: what is taken out leaves a pipeline and a report of the rest. Nothing is trained for these tests."""

from __future__ import annotations

import pytest
import yaml

from tests import smoke

pytestmark = pytest.mark.timeout(3600)  # the first test waits for the smoke run


def without(given, *names):
    """The params without these data sets or models, and without all that is made from them."""
    gone = set(names)
    while True:
        made = {key for key, block in given["queries"].items() if block["digits"] in gone}
        made |= {key for key, block in given["models"].items() if {block["dataset"], block.get("classifier", "none")} & gone}
        made |= {key for key, block in given["encodings"].items() if {block["dataset"], block["model"]} & gone}
        made |= {key for key, block in given["studies"].items() if block["model"] in gone}
        if made <= gone:
            break
        gone |= made
    groups = ("datasets", "queries", "encodings", "models", "studies")
    return given | {group: {key: block for key, block in given[group].items() if key not in gone} for group in groups}


def furnish(copy, folder, given):
    """Fill a folder with the smoke run's outcome and a params.yaml of its own."""
    for name in ("src", "stages", "metrics", "figures", "studies", "exports", "dvc.yaml"):
        (folder / name).symlink_to(copy / name)
    for parent in ("data", "models"):
        (folder / parent).mkdir()
        for path in (copy / parent).iterdir():
            if path.name not in ("code", "none"):
                (folder / parent / path.name).symlink_to(path)
    (folder / "params.yaml").write_text(yaml.safe_dump(given, sort_keys=False))
    smoke.run(folder, "dvc", "init", "--no-scm", "--quiet")


SETS = ("mnist", "punks", "letters", "faces", "diabetes", "classrooms", "digits148", "brains", "arithmetic")


@pytest.mark.parametrize(
    "names",
    [["punks"], ["arithmetic", "brains"], [name for name in SETS if name != "diabetes"]],
    ids=["without punks", "without arithmetic and brains", "one model of one data set"],
)
def test_what_is_left_is_a_pipeline_and_a_report(copy, tmp_path, names):
    every = yaml.safe_load((copy / "params.yaml").read_text())
    left = without(every, *names)
    furnish(copy, tmp_path, left)
    for script in ("check", "report"):
        done = smoke.run(tmp_path, "python", f"stages/{script}.py", check=False)
        assert done.returncode == 0, done.stdout
    page = (tmp_path / "reports/index.html").read_text()
    assert {key for key in every["models"] if f'id="{key}"' in page} == left["models"].keys()
    listed = smoke.run(tmp_path, "dvc", "stage", "list", "--name-only").stdout.split()
    groups = {"download": "datasets", "prepare": "datasets", "queries": "queries", "encode": "encodings", "train": "models",
              "evaluate": "models", "export": "models", "study": "studies"}  # fmt: skip
    assert set(listed) == {f"{stage}@{key}" for stage, group in groups.items() for key in left[group]} | {
        "check",
        "runtime",
        "report",
    }
