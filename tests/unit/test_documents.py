"""YAML within limits: what makes a reader hang, or is there twice, is refused in a line."""

from __future__ import annotations

import functools

import pytest

from regen import documents, params
from regen.errors import UserError

TEN = ", ".join(["{}"] * 10)
BOMB = f"a0: &a0 [{TEN.format(*'xxxxxxxxxx')}]\n" + "".join(
    f"a{i}: &a{i} [{TEN.format(*[f'*a{i - 1}'] * 10)}]\n" for i in range(1, 9)
)
CHAIN = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 30))
MERGED = {"a": {"b": 1, "c": 2}, "d": {"b": 3, "c": 2}, "e": {"b": 4, "c": 2}}


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (BOMB, ["line 5: expected at most 50,000 values, 20 blocks deep"]),
        (CHAIN, ["line 20: expected at most 50,000 values, 20 blocks deep"]),
        ("a: " + "[" * 100_000, ["line 1: expected at most 20 blocks within each other"]),
        ("a: " + "{b: " * 3000 + "}" * 3000, ["line 1: expected at most 20 blocks within each other"]),
        ("a: &a [1, *a]", ["line 1: an alias of what it stands in itself"]),
        ("\n".join(f"a{i}: 1" for i in range(30_000)), ["line 25000: expected at most 50,000 values"]),
        ("a: 1\nb: {c: 1, d: 2, c: 3}\na: 2", ["line 2: 'c' stands there twice", "line 3: 'a' stands there twice"]),
        ("1: 2\ntrue: 3", ["line 1: key '1': expected a text", "line 2: key 'true': expected a text; write it in quotes"]),
        ("null: 4\n1.5: 5", ["line 1: key 'null': expected a text", "line 2: key '1.5': expected a text; write it in quotes"]),
        ("a: 9223372036854775808\nb: -9223372036854775809", [f"line {i}: expected a number of less than 2^63" for i in (1, 2)]),
        (f"a: {'9' * 4000}\nb: {'9' * 5000}", [f"line {i}: expected a number of less than 2^63, got '999" for i in (1, 2)]),
        (f"a: 0x{'f' * 6000}", ["line 1: expected a number of less than 2^63, got '0xfff"]),
        (r'a: "\0"' + "\n" + r'"\e[31m": 1' + "\n" + r'b: "\ud800"', [f"line {i}: a control character in" for i in (1, 2, 3)]),
        ("a: \x1b[31m", ["not valid YAML: unacceptable character"]),
        ("a: !!float x", ["not valid YAML: a value is not what its tag says"]),
        ("a: !!bool maybe", ["not valid YAML: a value is not what its tag says"]),
        ("a: !!timestamp soon", ["not valid YAML: a value is not what its tag says"]),
        ("a: !!python/object/apply:os.system [touch pwned]", ["not valid YAML: could not determine a constructor"]),
        ("? [a, b]\n: 1", ["not valid YAML: while constructing a mapping"]),
        ("a: 1\n---\nb: 2", ["not valid YAML: expected a single document"]),
        ("a: *b", ["not valid YAML: found undefined alias"]),
        (f"a: *{'b' * 100_000}", ["not valid YAML: found undefined alias 'bbb"]),
    ],
    ids=lambda value: ascii(value)[:30] if isinstance(value, str) else "",
)
def test_a_text_beyond_the_limits_of_yaml_is_refused_with_its_line(text, lines):
    with pytest.raises(UserError) as error:
        documents.parsed(text, "params.yaml")
    said = str(error.value).splitlines()
    assert len(said) == len(lines)
    assert all(line.startswith(f"params.yaml: {start}") for line, start in zip(said, lines, strict=True))
    assert all(line.isprintable() and len(line) < 600 for line in said)


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ("a: &a {b: 1, c: 2}\nd: &d {<<: *a, b: 3}\ne: {<<: *d, b: 4}", MERGED),
        ("a: 9223372036854775807\nb: -9223372036854775808", {"a": 2**63 - 1, "b": -(2**63)}),
        ("a: 2020-99-99", {"a": "2020-99-99"}),
        ("\ufeffa: 1", {"a": 1}),
        ("{a: " * 20 + "1" + "}" * 20, functools.reduce(lambda inner, _: {"a": inner}, range(20), 1)),
    ],
)  # fmt: skip
def test_what_is_right_yaml_is_read(text, content):
    assert documents.parsed(text, "params.yaml") == content


def test_a_file_that_is_no_text_of_a_sensible_size_is_one_line(tmp_path):
    large, binary, folder = tmp_path / "large.yaml", tmp_path / "binary.yaml", tmp_path / "folder.yaml"
    large.write_text("#" * 2**20 + "\n")
    binary.write_bytes(b"a: \xff\xfe")
    folder.mkdir()
    endless = tmp_path / "endless.yaml"
    endless.symlink_to("/dev/zero")
    said = {large: "1,048,576 bytes", binary: "UTF-8; byte 3", folder: "got a folder", endless: "1,048,576 bytes"}
    for path, part in said.items():
        with pytest.raises(UserError, match=part):
            params.read(path)
