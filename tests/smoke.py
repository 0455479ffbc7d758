"""Run the whole pipeline with the smoke preset in a copy of the repository: `python -m tests.smoke FOLDER`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from regen.errors import UserError, reported

ROOT = Path(__file__).parents[1]
MARKER = ".git/regen_copy"  # stands in a copy that was made here


def copy(folder: Path) -> None:
    """Copy the files that git knows or would add, as they are now, into a new repository of their own.

    An earlier copy gives way to it, and nothing else does.

    Raises:
        UserError: something else is there.
    """
    if folder.is_dir() and (folder / MARKER).is_file():
        shutil.rmtree(folder)
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise UserError(f"{folder}: expected a new or empty folder, or what an earlier run left; name another one, or empty it")
    folder.mkdir(parents=True, exist_ok=True)
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:
        raise UserError(f"git ls-files: {' '.join(listed.stderr.decode(errors='replace').split())}")
    run(folder, "git", "init", "--quiet")
    (folder / MARKER).touch()
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    (folder / "dvc.lock").unlink(missing_ok=True)  # of the default run: nothing of it holds here
    shutil.rmtree(folder / "metrics", ignore_errors=True)
    run(folder, "git", "add", "--all")
    run(folder, "git", "-c", "user.name=regen", "-c", "user.email=regen@localhost", "commit", "--quiet", "--message", "copy")


def overrides(preset: str) -> list[str]:
    """The `key=value` lines of presets/<preset>."""
    lines = (line.split("#")[0].strip() for line in (ROOT / "presets" / preset).read_text().splitlines())
    return [line for line in lines if line]


def environment(folder: Path) -> dict[str, str]:
    """The copy's own sources first, its own MLflow database, and nothing left of the DVC run that this may be part of."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DVC_")}
    path = os.pathsep.join([str(Path(sys.executable).parent), kept["PATH"]])
    return {**kept, "PATH": path, "PYTHONPATH": str(folder / "src"), "GIT_CONFIG_GLOBAL": os.devnull} | {
        f"GIT_{who}_{what}": f"regen@{what}" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }


def run(folder: Path, *command: str, check: bool = True, **options: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the copy; what it prints is kept in `stdout`."""
    return subprocess.run(
        command, cwd=folder, env={**environment(folder), **options}, check=check, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def apply(folder: Path, *lines: str) -> None:
    """Set `key=value` overrides in the copy's params.yaml, keeping its layout, as `dvc exp run -S` would."""
    from dvc.utils.hydra import apply_overrides

    apply_overrides(folder / "params.yaml", list(lines))


def main() -> None:
    """Copy, apply the preset, run."""
    if len(sys.argv) != 2:
        raise UserError("expected one folder: python -m tests.smoke FOLDER")
    folder = Path(sys.argv[1]).resolve()
    copy(folder)
    apply(folder, *overrides("smoke"))
    raise SystemExit(
        subprocess.run([sys.executable, "-m", "regen.cli", "repro"], cwd=folder, env=environment(folder), check=False).returncode
    )


if __name__ == "__main__":
    with reported():
        main()
