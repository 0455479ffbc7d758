"""Fill the pages of models in: their parameters from the code, their figures from metrics/, their pictures from figures/.

mkdocs calls these functions (`hooks` in mkdocs.yml). A page `models/<family>.md` says where with two comments,
`<!-- parameters -->` and `<!-- results -->`. Nothing of regen is imported: pages are built without loading torch.
"""

from __future__ import annotations

import ast
import io
import json
import logging
import tokenize
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("models", "estimators")  # of regen: where a family's module is
PARAMETERS, RESULTS = "<!-- parameters -->", "<!-- results -->"
AGAINST = ("bound", "baseline", "real")  # as in regen.metrics.values
ABSENT = "run `make repro` first, then `make docs`"
LIMITS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
TYPES = {
    "PositiveInt": "int, >= 1", "NonNegativeInt": "int, >= 0", "PositiveFloat": "float, > 0", "Decay": "float, >= 0, < 1",
    "Depth": "int, 1 to 64", "Levels": "int, 3 to 255, odd",
    "str": "name", "bool": "`true` or `false`",
}  # fmt: skip
absent: dict[str, list[str]] = {"figures": [], "pictures": []}  # models without them
log = logging.getLogger("mkdocs.hooks.regen")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pictures of every model, where they are."""
    for key in models():
        for picture in pictures(key):
            uri = f"models/figures/{key}/{picture.name}"
            files.append(File.generated(config, uri, abs_src_path=str(picture)))
    return files


def on_post_build(config: MkDocsConfig) -> None:
    """Say what the pages lack because the pipeline has not run."""
    for what, keys in absent.items():
        if keys:
            log.info("no %s of %s: %s", what, ", ".join(sorted(keys)), ABSENT)
        keys.clear()


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Replace the two comments of a model's page."""
    folder, _, name = page.file.src_uri.rpartition("/")
    if folder != "models":
        return markdown
    family = name.removesuffix(".md")
    for mark, text in ((PARAMETERS, parameters(family)), (RESULTS, results(family))):
        if mark not in markdown:
            raise PluginError(f"docs/models/{name}: no line {mark}; add it where the page should show them")
        markdown = markdown.replace(mark, text)
    return markdown


@cache
def models() -> dict[str, dict[str, Any]]:
    """The models of params.yaml."""
    content = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    return dict(content["models"])


def pictures(key: str) -> list[Path]:
    """The pictures of one model, none where the pipeline has not run."""
    return sorted((ROOT / "figures" / key).glob("*.png"))


def results(family: str) -> str:
    """Return the figures and the pictures of all models of one family, each under a heading."""
    keys = [key for key, block in models().items() if block.get("family") == family]
    if not keys:
        return "No model of `params.yaml` is of this family."
    return "\n\n".join(f"### `{key}`\n\n{figures(key)}\n\n{collages(key)}" for key in keys)


def figures(key: str) -> str:
    """Return the table of metrics/<key>.json: each figure with its error and what it is held against, of metrics/context."""
    path = ROOT / "metrics" / f"{key}.json"
    if not path.exists():
        absent["figures"].append(key)
        return f"No figures are here: {ABSENT}."
    values, beside = json.loads(path.read_text(encoding="utf-8")), _beside(path)
    if values.keys() != beside.keys():
        raise PluginError(
            f"{path.relative_to(ROOT)}: other figures than those of context/{key}.json; run `dvc repro evaluate@{key}`"
        )
    rows = ["| figure | value | error | held against |", "|---|---:|---:|---|"]
    for name, value in sorted(values.items()):
        entry = {"value": value, **beside[name]}
        for part, it in entry.items():
            if not isinstance(it, int | float):
                raise PluginError(
                    f"{path.relative_to(ROOT)}: {part} of {name} is {it!r}, expected a number; run `dvc repro evaluate@{key}`"
                )
        error = number(entry["error"]) if "error" in entry else ""
        against = ", ".join(f"{what} {number(entry[what])}" for what in AGAINST if what in entry)
        rows.append(f"| `{name}` | {number(value)} | {error} | {against} |")
    return "\n".join(rows)


def _beside(path: Path) -> dict[str, dict[str, Any]]:
    """What belongs to each figure of a file; nothing where it lies alone."""
    context = path.parent / "context" / path.name
    return dict(json.loads(context.read_text(encoding="utf-8"))) if context.exists() else {}


def number(value: float) -> str:
    """Return a number as people read it: 12,961, 0.1303, 1.2e-07."""
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:.4g}"


def collages(key: str) -> str:
    """Return the pictures of one model as Markdown."""
    found = pictures(key)
    if not found:
        absent["pictures"].append(key)
        return f"No pictures are here: {ABSENT}."
    return "\n\n".join(f"![{title(path)}](figures/{key}/{path.name})\n\n*{title(path)}*" for path in found)


def title(path: Path) -> str:
    """Return what a picture's file name says."""
    return path.stem.replace("_", " ").strip().capitalize()


def parameters(family: str) -> str:
    """Return the table of a family's parameters, its own first, then those that it shares with others."""
    modules = [f"regen.{package}.{family}" for package in PACKAGES if _file(f"regen.{package}.{family}").exists()]
    if not modules:
        raise PluginError(f"docs/models/{family}.md: there is no such family; rename the page, or remove it")
    rows: dict[str, str] = {}
    for module, name in _ancestry(modules[0], "Config"):
        for field, row in _fields(module, name).items():
            rows.setdefault(field, row)
    rows.pop("family", None)
    return "\n".join(["| parameter | values | default | meaning |", "|---|---|---|---|", *rows.values()])


def _file(module: str) -> Path:
    return ROOT / "src" / (module.replace(".", "/") + ".py")


@cache
def _parsed(module: str) -> tuple[ast.Module, dict[int, str]]:
    """The syntax tree of a module, and its comments by line."""
    source = _file(module).read_text(encoding="utf-8")
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = {token.start[0]: token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT}
    return ast.parse(source), comments


def _class(module: str, name: str) -> ast.ClassDef:
    return next(node for node in _parsed(module)[0].body if isinstance(node, ast.ClassDef) and node.name == name)


def _ancestry(module: str, name: str) -> list[tuple[str, str]]:
    """The class and those that it inherits parameters from, as (module, class), nearest first."""
    if name == "Block":
        return []
    imported = {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in _parsed(module)[0].body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    chain = [(module, name)]
    for base in _class(module, name).bases:
        here, _, rest = ast.unparse(base).partition(".")
        where = f"{imported[here]}.{rest}".rstrip(".") if here in imported else f"{module}.{here}"
        chain += _ancestry(*where.rsplit(".", 1))
    return chain


def _fields(module: str, name: str) -> dict[str, str]:
    """The rows of one class's parameters by name."""
    comments = _parsed(module)[1]
    rows = {}
    for node in _class(module, name).body:
        if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)):
            continue
        assert node.end_lineno is not None
        said, line = comments.get(node.end_lineno, ""), node.end_lineno + 1
        while said and line in comments and not _code(module, line):  # a comment may go on below
            said, line = f"{said} {comments[line]}", line + 1
        default, limits = _default(node.value)
        kind = _kind(node.annotation)
        values = ", ".join([kind, *limits])
        rows[node.target.id] = f"| `{node.target.id}` | {values} | {default} | {_cell(said)} |"
    return rows


def _code(module: str, line: int) -> bool:
    """Whether a line holds more than a comment."""
    return not _file(module).read_text(encoding="utf-8").splitlines()[line - 1].lstrip().startswith("#")


def _default(value: ast.expr | None) -> tuple[str, list[str]]:
    """The default of a parameter, and the limits that pydantic's `Field` sets."""
    if value is None:
        return "needed", []
    limits: list[str] = []
    if isinstance(value, ast.Call) and ast.unparse(value.func) == "Field":
        limits = [f"{LIMITS[word.arg]} {ast.unparse(word.value)}" for word in value.keywords if word.arg in LIMITS]
        made = [ast.unparse(word.value) for word in value.keywords if word.arg == "default_factory"]
        if not value.args:
            return (f"`{made[0]}()`" if made else "needed"), limits
        value = value.args[0]
    text = ast.unparse(value)
    return f"`{_yaml(text)}`", limits


def _yaml(text: str) -> str:
    """A Python literal as it stands in params.yaml."""
    literal = ast.literal_eval(text)
    if isinstance(literal, bool):
        return str(literal).lower()
    if isinstance(literal, list | tuple):
        return f"[{', '.join(map(str, literal))}]"
    return str(literal)


def _kind(annotation: ast.expr) -> str:
    """What values a parameter takes."""
    text = ast.unparse(annotation)
    if isinstance(annotation, ast.Subscript):
        base = ast.unparse(annotation.value)
        parts = annotation.slice.elts if isinstance(annotation.slice, ast.Tuple) else [annotation.slice]
        if base == "Literal":
            return " or ".join(f"`{_yaml(ast.unparse(part))}`" for part in parts)
        inner = [_kind(part) for part in parts if ast.unparse(part) != "..."]
        if base in ("list", "tuple") and (base == "list" or len(inner) < len(parts)):
            return f"list of {inner[0]}"
        if base == "tuple" and len(set(inner)) == 1:
            return f"{len(inner)} of {inner[0]}"
    return _cell(TYPES.get(text, text))


def _cell(text: str) -> str:
    """Text that a cell of a table can hold."""
    return text.replace("|", "&#124;").replace("<", "&lt;").replace(">", "&gt;")
