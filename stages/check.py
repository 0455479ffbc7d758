"""Check the whole of params.yaml before any work, and write down which code each stage runs (`regen.imports`)."""

from __future__ import annotations

import regen.process  # noqa: F401
from regen import checks, paths
from regen.data import folders
from regen.errors import reported


def main() -> None:
    """Refuse a wrong params.yaml with all its mistakes at once; write data/code and the stand-in for 'no classifier'."""
    given = checks.check()
    with folders.replacing(paths.CODE) as folder:
        for path, text in checks.code(given):
            file = folder / path.relative_to(paths.CODE)
            file.parent.mkdir(exist_ok=True)
            file.write_text(text, encoding="utf-8", newline="\n")
        # the same text whatever was checked: one name more reruns nothing
        (folder / paths.CHECKED.name).write_text("params.yaml was checked\n", encoding="utf-8")
    nothing = paths.model("none")
    nothing.parent.mkdir(exist_ok=True)
    folders.write(nothing, "no classifier\n")


if __name__ == "__main__":
    with reported():
        main()
