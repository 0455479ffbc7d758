"""The resumable state of a training, written atomically to a work folder that only one trainer holds at a time.

A work folder is named after a signature of all that decides the result (params, seed, data, code, torch, device), so a
training never resumes from the state of another one. The randomness is counter-based (`regen.seeding`): weights,
optimiser and the step number are the whole state.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from regen import paths
from regen.data import folders

FILE, BEFORE = "checkpoint.safetensors", "checkpoint_before.safetensors"  # the last one, and the one before it


def signature(**parts: Any) -> str:
    """Return 16 hex digits that change when anything that decides a training's result changes.

    `parts` are JSON values (settings, digest of the data, digest of the code, device). Torch's version is added here.
    """
    content = json.dumps({**parts, "torch": torch.__version__}, sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def folder(key: str, signature: str) -> Path:
    """Return the work folder `.work/train/<key>/<signature>`."""
    return paths.training(key) / signature


def save(folder: Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Write a checkpoint with a SHA-256 of its content: beside the last one, forced to disk, then renamed into its place.

    A kill or a full disk at any moment leaves the last one untouched, and that one is kept as well.
    """
    partial = folder / (FILE + ".partial")
    try:
        content = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        text = json.dumps(state)
        partial.write_bytes(safetensors.torch.save(content, metadata={"state": text, "sha256": _digest(content, text)}))
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        if (folder / FILE).exists():
            (folder / FILE).replace(folder / BEFORE)
        partial.replace(folder / FILE)
        folders.flush(folder, within=False)
    except OSError as error:
        partial.unlink(missing_ok=True)  # a full disk: give the space back
        error.filename = error.filename or str(partial)  # a write does not say where
        raise


class Writer:
    """Copies each checkpoint of one training and writes it by a thread; its error is raised by the call that follows."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._thread = ThreadPoolExecutor(1)
        self._pending: Future[None] | None = None

    def __enter__(self) -> Writer:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *raised: object) -> None:
        """Leave the last checkpoint on the disk. Of its error and the training's own, the training's is raised."""
        self._thread.shutdown()
        if kind is None:
            self._wait()

    def save(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Wait for the checkpoint before this one, copy this one, and begin to write it: see the function `save`."""
        self._wait()
        copied = {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}
        self._pending = self._thread.submit(save, self._folder, copied, copy.deepcopy(state))

    def _wait(self) -> None:
        pending, self._pending = self._pending, None
        if pending:
            pending.result()


Check = Callable[[dict[str, Tensor], dict[str, Any]], None]


def load(folder: Path, check: Check | None = None) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Return tensors and state of the last checkpoint, or of the one before where it is damaged; None where there is none.

    `check` raises ValueError for what the caller cannot go on from; that counts as damage too. What is damaged is said on stderr.
    """
    paths = [path for path in (folder / FILE, folder / BEFORE) if path.exists()]
    for path in paths:
        try:
            with safetensors.safe_open(path, framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                text, digest = (file.metadata()[name] for name in ("state", "sha256"))
            if _digest(tensors, text) != digest:
                raise ValueError("its SHA-256 is not the one of its content")
            state = json.loads(text)
            if check:
                check(tensors, state)
        except PermissionError:
            raise
        except (safetensors.SafetensorError, OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            then = "the one before is taken" if path != paths[-1] else "training starts from the beginning"
            print(f"{path}: damaged checkpoint ({' '.join(str(error).split())}); {then}", file=sys.stderr)
        else:
            return tensors, state
    return None


def fits(
    tensors: Mapping[str, Tensor], state: Any, wanted: Mapping[str, Tensor], steps: int, per_epoch: int, patience: bool
) -> None:
    """Check that a training of so many steps, whose own state is like `wanted`, can go on from a checkpoint.

    Raises:
        ValueError: a tensor that is missing, unknown, or of another shape or type, or a step or a history that is not its own.
    """
    step, history = (state.get(name) for name in ("step", "history")) if isinstance(state, dict) else (None, None)
    if type(step) is not int or not 0 <= step <= steps:
        raise ValueError(f"step {step!r}, expected 0 to {steps}")
    if not isinstance(history, list) or len(history) != step // per_epoch or not all(map(_is_row, history)):
        raise ValueError(f"its history is not that of {step} steps")
    columns = history[0].keys() if history else set[str]()
    if any(row.keys() != columns for row in history) or (history and ("validation_loss" in columns) != patience):
        raise ValueError("its history has other columns")
    sums = {name for name in tensors if name.startswith("sums/")}
    if bool(sums) != bool(step % per_epoch) or (history and {name.removeprefix("sums/") for name in sums} - columns):
        raise ValueError(f"its figures are not those of step {step}")
    best = {name.replace("model/", "best/", 1) for name in wanted if name.startswith("model/") and patience and history}
    if odd := sorted({*wanted, *sums, *best} ^ tensors.keys()):
        raise ValueError(f"{odd[0]} is {'unknown' if odd[0] in tensors else 'missing'}")
    for name, tensor in tensors.items():
        like = wanted.get(name.replace("best/", "model/", 1))
        shape, dtype = ((), tensor.dtype) if like is None else (tuple(like.shape), like.dtype)
        if (tuple(tensor.shape), tensor.dtype) != (shape, dtype):
            raise ValueError(f"{name} is {tensor.dtype} of shape {tuple(tensor.shape)}, expected {dtype} of {shape}")


def _is_row(row: Any) -> bool:
    return isinstance(row, dict) and all(type(value) in (int, float) for value in row.values())


def _digest(tensors: Mapping[str, Tensor], text: str) -> str:
    """Return the SHA-256 of a text and of all tensors: their names, types, shapes and bytes."""
    sha256 = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        sha256.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        sha256.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return sha256.hexdigest()


def parts(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Group tensors named `part/name` by part."""
    grouped: dict[str, dict[str, Tensor]] = {}
    for path, tensor in tensors.items():
        part, name = path.split("/", 1)
        grouped.setdefault(part, {})[name] = tensor
    return grouped
