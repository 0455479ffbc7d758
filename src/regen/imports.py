"""The code that decides what a stage writes: its script, and every module of regen that these import.

DVC cannot know which code a command runs. The stage `check` writes a file for each other stage that names these modules with the
SHA-256 of what they say, and the stage depends on that file: touching one family reruns that family's models and nothing else,
and no list of dependencies can be forgotten. Comments, docstrings and empty lines do not count: they decide nothing.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import io
import sys
import tokenize
from collections.abc import Iterable, Mapping
from pathlib import Path

SRC = Path(__file__).resolve().parents[1]
TEXTS = (tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", None))  # the second from Python 3.12 on
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)

REGISTERED = {"PIL": "pillow", "skimage": "scikit-image", "sklearn": "scikit-learn", "yaml": "pyyaml"}  # names of imports

# Modules that a stage imports and that cannot change what it writes.
NEUTRAL = {
    "regen": "imports what it offers on demand",
    "regen.blocks": "refuses; every value stands in params.yaml or beside the code that uses it",
    "regen.data": "imports a kind by its name",
    "regen.documents": "reads and refuses",
    "regen.errors": "says how a stage fails, not what it writes",
    "regen.host": "says how much the machine can do at a time; what comes of it is the same",
    "regen.imports": "this module",
    "regen.params": "reads and refuses",
    "regen.paths": "a moved path is a changed dvc.yaml",
}
NEUTRAL_PACKAGES = {
    "regen.data.download": "what it brings is pinned by SHA-256",
    "regen.tracking": "mirrors what a stage wrote and writes none of it",
}


def code(*start: Path | str) -> dict[str, str]:
    """Return the SHA-256 of what each file says that `start` (files, or names of modules) imports, directly or not; sorted."""
    files = closure(path if isinstance(path, Path) else file(path) for path in start)
    return {name: _said(path) for name, path in sorted(files.items())}


def digest(content: Mapping[str, str]) -> str:
    """Return one SHA-256 of what `code` returned."""
    return hashlib.sha256("".join(f"{name} {value}\n" for name, value in content.items()).encode()).hexdigest()


def closure(start: Iterable[Path]) -> dict[str, Path]:
    """Return the files that `start` imports, directly or not, and itself, by their place; without those that are neutral."""
    found: dict[str, Path] = {}
    waiting = [path.resolve() for path in start]
    while waiting:
        path = waiting.pop()
        name = str(path.relative_to(SRC.parent)) if path.is_relative_to(SRC.parent) else path.name
        if name in found:
            continue
        found[name] = path
        waiting += [imported for imported in _imported(path) if not neutral(module(imported))]
    return found


def needed(start: Iterable[Path]) -> list[Path]:
    """Return every file of regen that `start` cannot be imported without, itself among them; sorted."""
    found: set[Path] = set()
    waiting = [path.resolve() for path in start]
    while waiting:
        if (path := waiting.pop()) not in found:
            found.add(path)
            waiting += _imported(path)
    return sorted(found)


def packages(files: Iterable[Path]) -> list[str]:
    """Return the packages of other people, by their names in the registry, that files import from; sorted."""
    roots = set()
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                roots |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                roots.add(node.module.split(".")[0])
    return sorted({REGISTERED.get(root, root) for root in roots - {"regen"} - sys.stdlib_module_names})


def neutral(name: str) -> bool:
    """Whether a module cannot change what a stage writes."""
    return name in NEUTRAL or any(name == package or name.startswith(f"{package}.") for package in NEUTRAL_PACKAGES)


def module(path: Path) -> str:
    """Return the name of a module of regen by its file."""
    parts = path.relative_to(SRC).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def file(name: str) -> Path:
    """Return the file of a module of regen by its name."""
    stem = SRC.joinpath(*name.split("."))
    return stem.with_suffix(".py") if stem.with_suffix(".py").exists() else stem / "__init__.py"


@functools.cache
def _imported(path: Path) -> tuple[Path, ...]:
    """Files of regen that one file imports, at its top or inside a function, with the packages that they lie in."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    parts = [name.split(".") for name in names if name.split(".")[0] == "regen"]
    modules = {".".join(part[:end]) for part in parts for end in range(1, len(part) + 1)}
    return tuple(sorted(found for name in modules if (found := file(name)).exists()))


@functools.cache
def _said(path: Path) -> str:
    """Return the SHA-256 of a file's text without comments, docstrings and empty lines; of other texts every line counts."""
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    verbatim: set[int] = set()  # rows that end within a text
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
        elif token.type in TEXTS:
            verbatim |= set(range(token.start[0], token.end[0]))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node) is not None:
            rows = range(node.body[0].lineno, (node.body[0].end_lineno or node.body[0].lineno) + 1)
            verbatim -= set(rows)
            for row in rows:
                lines[row - 1] = ""
    kept = (line if row in verbatim else line.rstrip() for row, line in enumerate(lines, 1) if row in verbatim or line.strip())
    return hashlib.sha256("\n".join(kept).encode()).hexdigest()
