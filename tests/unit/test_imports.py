"""The code that a stage runs: found by its imports, told by what it says and not by how it is written down."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from regen import imports

PROGRAM = '''"""A module."""


def double(x):
    """Return twice x."""
    # by a sum
    return x + x  # exact
'''


def said(tmp_path: Path, text: str, name: str = "module.py") -> str:
    path = tmp_path / f"{abs(hash(text))}_{name}"
    path.write_text(text)
    return imports._said(path)


@pytest.mark.parametrize(
    "change",
    [
        ('"""A module."""', '"""A module that doubles."""'),
        ('"""Return twice x."""', '"""Return x + x.\n\n    Of any x.\n    """'),
        ("    # by a sum\n", ""),
        ("  # exact", ""),
        ("\n\n\ndef", "\n\ndef"),
    ],
    ids=["module's docstring", "function's docstring", "comment", "comment at the end of a line", "empty lines"],
)
def test_words_about_the_code_do_not_count(tmp_path, change):
    assert change[0] in PROGRAM
    assert said(tmp_path, PROGRAM.replace(*change)) == said(tmp_path, PROGRAM)


@pytest.mark.parametrize(
    "change", [("x + x", "2 * x"), ("double", "twice"), ("    return", "    x = x or '# no comment'\n    return")]
)
def test_code_counts(tmp_path, change):
    assert said(tmp_path, PROGRAM.replace(*change)) != said(tmp_path, PROGRAM)


def test_a_text_that_looks_like_a_comment_counts(tmp_path):
    one, other = ("x = 'a # b'\n", "x = 'a # c'\n")
    assert said(tmp_path, one) != said(tmp_path, other)


TABLE = '''"""Glyphs."""

GLYPHS = """
#..

..#
"""
'''


@pytest.mark.parametrize(
    "change", [("#..\n\n", "#..\n"), ("..#", "..# # no comment"), ("#..\n", "#..  \n")], ids=["empty line", "comment", "blanks"]
)
def test_every_line_of_a_text_that_is_no_docstring_counts(tmp_path, change):
    assert change[0] in TABLE
    assert said(tmp_path, TABLE.replace(*change)) != said(tmp_path, TABLE)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A small package of the name regen, and a way to write its modules."""

    def write(**files):
        for name, text in files.items():
            path = tmp_path / "src/regen" / f"{name}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        imports._imported.cache_clear()
        imports._said.cache_clear()
        return {name.removeprefix("src/regen/"): value for name, value in imports.code("regen.a").items()}

    monkeypatch.setattr(imports, "SRC", tmp_path / "src")
    return write


def test_a_touched_module_is_told_from_one_with_other_comments(project):
    before = project(a="from regen import b\n", b="x = 1\n", c="y = 1\n")
    assert before.keys() == {"a.py", "b.py"}
    assert project(b='"""Words."""\n\nx = 1  # a comment\n') == before
    assert project(c="y = 2\n") == before  # which nothing imports
    touched = project(b="x = 2\n")
    assert {name for name in before if touched[name] != before[name]} == {"b.py"}


def test_modules_that_import_each_other_are_found_once(project):
    assert project(a="import regen.b\n", b="import regen.a\n").keys() == {"a.py", "b.py"}


def test_a_package_is_concerned_by_its_init_and_not_by_modules_that_nobody_asks_for(project):
    (imports.SRC / "regen/room").mkdir(parents=True)
    for name in ("__init__", "asked", "other"):
        (imports.SRC / f"regen/room/{name}.py").write_text("")
    assert project(a="from regen.room.asked import f\n").keys() == {"a.py", "room/__init__.py", "room/asked.py"}


def test_behind_a_symbolic_link_the_code_is_the_same(tmp_path):
    link = tmp_path / "link"
    link.symlink_to(imports.SRC.parent)
    asked = "from regen import imports; print(imports.digest(imports.code('regen.models.vae')))"
    command = [sys.executable, "-c", asked]
    found = [
        subprocess.run(command, env={"PYTHONPATH": f"{root}/src"}, capture_output=True, text=True, check=True).stdout
        for root in (link, imports.SRC.parent)
    ]
    assert found[0] == found[1]


def test_a_module_is_found_by_what_imports_it_directly_or_not():
    found = imports.code("regen.models.vade")
    assert {"src/regen/models/vade.py", "src/regen/models/vae.py", "src/regen/models/layers.py"} <= found.keys()
    assert "src/regen/models/gan.py" not in found


def test_an_import_inside_a_function_is_found():
    assert "src/regen/drawing/collage.py" in imports.closure([imports.file("regen.answer")])


def test_neutral_modules_are_left_out_with_what_they_alone_import():
    found = imports.code("regen.data.sets.punks")
    assert not [name for name in found if "download" in name or name.endswith("errors.py")]


def test_the_digest_follows_every_file():
    assert imports.digest({"a": "1", "b": "2"}) != imports.digest({"a": "1", "b": "3"})
    assert imports.digest({"a": "1"}) != imports.digest({"b": "1"})
