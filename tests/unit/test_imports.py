"""The code that a stage runs: found by its imports, told by what it says and not by how it is written down."""

from __future__ import annotations

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
