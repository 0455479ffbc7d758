"""The resumable state of a training, written atomically to a work folder that only one trainer holds at a time.

A work folder is named after a signature of all that decides the result (params, seed, data, code, torch, device), so a
training never resumes from the state of another one. The randomness is counter-based (`regen.seeding`): weights,
optimiser and the step number are the whole state.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from regen import paths
from regen.errors import UserError

FILE = "checkpoint.safetensors"


def signature(**parts: Any) -> str:
    """Return 16 hex digits that change when anything that decides a training's result changes.

    `parts` are JSON values (settings, digest of the data, digest of the code, device). Torch's version is added here.
    """
    content = json.dumps({**parts, "torch": torch.__version__}, sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def folder(key: str, signature: str) -> Path:
    """Return the work folder `.work/train/<key>/<signature>`."""
    return paths.WORK / "train" / key / signature


@contextmanager
def held(folder: Path, name: str) -> Iterator[None]:
    """Hold a work folder; it is removed when the block succeeds and kept for a resume when it fails.

    The lock is the operating system's: it ends with its process, however that ends.

    Raises:
        UserError: another process trains in this folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    holder = folder.with_suffix(".pid")
    lock = filelock.FileLock(folder.with_suffix(".lock"))
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        pid = holder.read_text().strip() if holder.exists() else "unknown"
        raise UserError(
            f"{folder}: another training of {name} is at work here (process {pid}); "
            "wait for it or stop it, then run again: it resumes where it was"
        ) from None
    try:
        holder.write_text(f"{os.getpid()}\n")
        yield
        shutil.rmtree(folder, ignore_errors=True)
        holder.unlink(missing_ok=True)
    finally:
        lock.release()


def save(folder: Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Replace the checkpoint: written beside the old one, forced to disk, then renamed over it.

    A kill or a full disk at any moment leaves the one before untouched.
    """
    partial = folder / (FILE + ".partial")
    try:
        content = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        partial.write_bytes(safetensors.torch.save(content, metadata={"state": json.dumps(state)}))
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(folder / FILE)
    except OSError as error:
        partial.unlink(missing_ok=True)  # a full disk: give the space back
        error.filename = error.filename or str(partial)  # a write does not say where
        raise


def load(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Return the checkpoint's tensors and state, or None where there is none or it is damaged (said on stderr)."""
    path = folder / FILE
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, json.loads(file.metadata()["state"])  # noqa: SIM118
    except FileNotFoundError:
        return None
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError) as error:
        print(f"{path}: damaged checkpoint ({error}); training starts from the beginning", file=sys.stderr)
        return None


def parts(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Group tensors named `part/name` by part."""
    grouped: dict[str, dict[str, Tensor]] = {}
    for path, tensor in tensors.items():
        part, name = path.split("/", 1)
        grouped.setdefault(part, {})[name] = tensor
    return grouped
