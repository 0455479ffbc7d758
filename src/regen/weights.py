"""The files of a model's folder, model.json and model.safetensors: they may come from anybody, and are checked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_buffer_registration_hook, register_module_parameter_registration_hook

DAMAGE = (ValueError, KeyError, TypeError, IndexError, RuntimeError, OverflowError, MemoryError, safetensors.SafetensorError)
LARGEST = 1 << 24  # bytes of a model.json
DTYPES = {torch.float32: "F32", torch.float64: "F64", torch.int64: "I64", torch.int32: "I32"}  # as safetensors names them


def description(path: Path) -> dict[str, Any]:
    """Return what stands in a model.json.

    Raises:
        FileNotFoundError, NotADirectoryError: there is none.
        DAMAGE: it is no JSON object of a plausible size.
    """
    with _file(path).open("rb") as file:
        text = file.read(LARGEST + 1)
    if len(text) > LARGEST:
        raise ValueError(f"{path.name} has more than {LARGEST:,} bytes")
    content = json.loads(text)
    if not isinstance(content, dict):
        raise ValueError(f"{path.name} holds a {type(content).__name__}, expected config, data and sha256")
    return content


def compare(path: Path, model: nn.Module) -> None:
    """Compare names, types and shapes of the tensors in a file, by its header alone, with those of a model.

    Of a tensor in `model.data_sized` the data decide the first dimension.

    Raises:
        DAMAGE: they differ, or the file is cut short.
    """
    wanted, free = model.state_dict(), getattr(model, "data_sized", ())
    with safetensors.safe_open(_file(path), framework="pt") as file:
        found = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
        if odd := sorted(wanted.keys() ^ found.keys()):
            raise ValueError(f"{odd[0]} is {'unknown' if odd[0] in found else 'missing'} in {path.name}")
        for name, tensor in wanted.items():
            dtype, shape = found[name].get_dtype(), list(found[name].get_shape())
            expected = DTYPES[tensor.dtype], list(tensor.shape)
            if name in free and len(shape) == tensor.ndim:
                expected[1][0] = shape[0]
            if (dtype, shape) != expected:
                raise ValueError(f"{name} is {dtype} {shape} in {path.name}, expected {expected[0]} {expected[1]} by model.json")


def read(path: Path, sha256: str) -> dict[str, Tensor]:
    """Return the tensors of a file.

    Raises:
        DAMAGE: its SHA-256 is another one, or a tensor holds NaN or infinite numbers.
    """
    content = _file(path).read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ValueError("the weights' SHA-256 is not the one in model.json")
    tensors = safetensors.torch.load(content)
    for name, tensor in tensors.items():
        if not bool(tensor.isfinite().all()):
            raise ValueError(f"{name} holds NaN or infinite numbers")
    return tensors


@contextmanager
def bounded(path: Path) -> Iterator[None]:
    """Let modules be built that are about as large as the file of their weights, and no larger ones.

    What is too large is found while its memory is asked for, before anything is written into it.

    Raises:
        ValueError: they are larger.
    """
    most, used = 4 * _file(path).stat().st_size + (1 << 20), 0  # a layer with spectral normalisation is registered twice

    def count(module: nn.Module, name: str, tensor: Tensor | None) -> None:
        nonlocal used
        used += 0 if tensor is None else tensor.numel() * tensor.element_size()
        if used > most:
            raise ValueError(f"model.json describes a far larger model than there are weights in {path.name}")

    hooks = [register_module_parameter_registration_hook(count), register_module_buffer_registration_hook(count)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _file(path: Path) -> Path:
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise ValueError(f"{path.name} is no file")
    return path
