"""Compare this checkout with another commit, as a comment on a pull request: `python .ci/report.py origin/main FOLDER`.

Prints Markdown: the stages that the committed state still owes, the figures that moved, the pictures that changed. The pictures
go to FOLDER/before and FOLDER/after, where the DVC cache or a DVC remote has them; all of it side by side to FOLDER/compare.html.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

from dvc.api import DVCFileSystem

ROOT = Path(__file__).resolve().parents[1]
LONGEST = 60_000  # characters: GitHub refuses comments of more than 65,536


def main() -> None:
    """Print the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base", help="commit or branch to compare with")
    parser.add_argument("folder", type=Path, help="where the changed pictures go")
    given = parser.parse_args()
    sections = [
        "### Is dvc.lock current?", f"```\n{_run(str(ROOT / '.ci/current'), failing=True).strip()}\n```",
        "### Params and figures", _figures(given.base, given.folder),
        "### Pictures", _pictures(given.base, given.folder),
    ]  # fmt: skip
    report = "\n\n".join(sections)
    cut = "\n\n(The rest was too long for a comment.)" if len(report) > LONGEST else ""
    print(report[:LONGEST] + cut)


def _figures(base: str, folder: Path) -> str:
    """What `regen compare` says, and its page in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    compare = (sys.executable, "-m", "regen.cli", "compare", base, "workspace")
    _run(*compare, "--out", str(folder.resolve() / "compare.html"))
    return _run(*compare, "--markdown").strip()


def _pictures(base: str, folder: Path) -> str:
    """The list of changed pictures, old and new copied to `folder`."""
    diff = json.loads(_run(sys.executable, "-m", "dvc", "diff", "--json", base) or "{}")
    found = {change: [_path(entry) for entry in entries] for change, entries in diff.items() if change in ("added", "modified")}
    lines = []
    for change, paths in found.items():
        for path in sorted(path for path in paths if path.startswith("figures/") and not path.endswith("/")):
            if not path.endswith(".png"):
                continue
            new = _copy(DVCFileSystem(str(ROOT)), path, folder / "after" / path)
            old = change == "added" or _copy(DVCFileSystem(str(ROOT), rev=base), path, folder / "before" / path)
            lines.append(f"- `{path}`: {change}{'' if new and old else ' (not in the DVC cache, so not shown)'}")
    folders = sorted(path for paths in found.values() for path in paths if path.startswith("figures/") and path.endswith("/"))
    if not lines and folders:
        lines = [f"- `{path}`: changed; its pictures are in no DVC cache here, so they are not shown" for path in folders]
    return "\n".join(lines) or "No picture has changed."


def _path(entry: dict[str, object]) -> str:
    """The path of an entry of `dvc diff`; of a renamed one the new path."""
    path = entry["path"]
    return str(path["new"] if isinstance(path, dict) else path)


def _copy(source: DVCFileSystem, path: str, target: Path) -> bool:
    """Copy one picture out of a commit; False where nobody has it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with source.open(path, "rb") as picture, target.open("wb") as copy:
            shutil.copyfileobj(picture, copy)
    except OSError as error:
        print(f"{path}: {error}", file=sys.stderr)
        target.unlink(missing_ok=True)
        return False
    return True


def _run(*command: str, failing: bool = False) -> str:
    """The output of a command, which may fail only where `failing`."""
    done = subprocess.run(command, cwd=ROOT, check=False, stdout=subprocess.PIPE, text=True)
    if done.returncode and not failing:
        sys.exit(f"{' '.join(command)}: failed with status {done.returncode}")
    return done.stdout


if __name__ == "__main__":
    main()
