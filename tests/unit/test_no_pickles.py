"""Nothing is opened that may run code, and no archive says where its members are written."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CODE = [*(ROOT / "src").rglob("*.py"), *(ROOT / "stages").glob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]
MODULES = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "jsonpickle", "marshal", "shelve"}
CALLS = {"eval", "exec", "extractall", "extract", "unpack_archive", "read_pickle", "to_pickle", "full_load", "unsafe_load"}


def findings(text: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            if names == ["UnpicklingError", "pickle"]:  # what is raised where one is refused
                continue
            yield from (name for name in names if name.split(".")[0] in MODULES)
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            of = ast.unparse(node.func)
            given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            if name in CALLS and not of.endswith((".eval", "str.extract")):  # a model's eval() is another
                yield of
            if of == "torch.load" and given.get("weights_only") != "True":
                yield of
            if given.get("allow_pickle", "False") != "False":
                yield f"{of}(allow_pickle)"
            if of in ("yaml.load", "yaml.load_all") and "Loader" not in given:
                yield of


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_code_opens_pickles_or_lets_an_archive_say_where(path) -> None:
    assert list(findings(path.read_text())) == []


@pytest.mark.parametrize(
    "text",
    ["import pickle", "from pickle import loads", "import joblib.memory", "torch.load(x)", "torch.load(x, weights_only=False)",
     "np.load(x, allow_pickle=True)", "tar.extractall(x)", "zip.extract(x, y)", "shutil.unpack_archive(x)", "eval(x)",
     "yaml.load(x)", "pd.read_pickle(x)"],
)  # fmt: skip
def test_the_sentence_above_would_notice(text) -> None:
    assert list(findings(text))
