"""The models that run in the report: which these are, and the scripts beside the page that hold them.

A page from the disk may load nothing but classic scripts, pictures and styles. So a model is a script that hands its files over
as base64 of their gzip; it is loaded when a person opens it. Its weights take two bytes each there, half of what they take in
exports/.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regen import paths
from regen.data import folders
from regen.export.runtime import packed
from regen.params import Params

FOLDER = "playground"  # beside the report's first page
STATIC = Path(__file__).with_name("static")
SCRIPTS, RUNTIME = ("playground.js", "playground.css"), ("ort.js", "wasm.js")
LARGEST = 64 << 20  # bytes of a model's files: no page should load more
POLICY = {"script-src": "'self' 'wasm-unsafe-eval'", "style-src": "'self'", "connect-src": "blob:"}  # what a page has to allow
SMALL = 256  # numbers: of tensors with fewer, two bytes each would save nothing


@dataclass(frozen=True)
class Model:
    """One model that runs in the page."""

    key: str
    family: str


@dataclass(frozen=True)
class Section:
    """The models of one data set that run in its page.

    Attributes:
        missing: what is not there yet, a line each with the command that makes it.
        too_large: models that are left out of the page, a line each.
    """

    dataset: str
    models: list[Model]
    missing: list[str]
    too_large: list[str]


def section(keys: Iterable[str], given: Params) -> Section | None:
    """Return what runs of the models of one data set; None where none of them makes images or answers.

    Args:
        keys: the models.
        given: all of params.yaml.
    """
    models, missing, too_large, dataset = list[Model](), list[str](), list[str](), ""
    for key in keys:
        dataset = given.encoded(given.models[key]["dataset"])
        try:
            about = described(key)
        except (OSError, ValueError) as error:
            reason = "no such file" if isinstance(error, FileNotFoundError) else f"damaged ({error})"
            command = f"dvc repro{'' if isinstance(error, FileNotFoundError) else ' --force'} export@{key}"
            missing.append(f"{paths.exported(key) / 'decoder.json'}: {reason}; run `{command}`")
            continue
        size = sum(path.stat().st_size for path in onnx_files(key))
        if about["kind"] != "none" and size > LARGEST:
            too_large.append(f"{key}: {size >> 20} MB are too many for a page; its files are in {paths.exported(key)}")
        elif about["kind"] != "none":
            models.append(Model(key, given.models[key]["family"]))
    if models and (absent := [name for name in RUNTIME if not (paths.RUNTIME / name).exists()]):
        missing.append(f"{paths.RUNTIME / absent[0]}: no such file; run `dvc repro runtime`")
        models = []
    return Section(dataset, models, missing, too_large) if models or missing or too_large else None


def write(folder: Path, sections: Iterable[Section]) -> None:
    """Write what the sections need into `<folder>/playground`: the page's own script, the runtime, and a script a model."""
    models = [model for section in sections for model in section.models]
    place = folder / FOLDER
    place.mkdir(exist_ok=True)
    for name in SCRIPTS:
        folders.write(place / name, (STATIC / name).read_bytes())
    for name in RUNTIME if models else ():
        folders.write(place / name, (paths.RUNTIME / name).read_bytes())
    for model in models:
        folders.write(place / f"{model.key}.js", script(model.key))


def script(key: str) -> str:
    """Return the script that hands a model over to the page."""
    files = {path.name: packed(halved(path.read_bytes())) for path in onnx_files(key)}
    said = [json.dumps(part, sort_keys=True, separators=(",", ":")) for part in (key, described(key), files)]
    return f"regenPlayground.add({', '.join(said)});\n"


def described(key: str) -> dict[str, Any]:
    """Return what an export says of itself.

    Raises:
        OSError: it is not there.
        ValueError: it is damaged.
    """
    content = json.loads((paths.exported(key) / "decoder.json").read_text(encoding="utf-8"))
    if not isinstance(content, dict) or "kind" not in content:
        raise ValueError("it does not say what it is")
    return content


def onnx_files(key: str) -> list[Path]:
    """Return the ONNX files of an export."""
    return sorted(paths.exported(key).glob("*.onnx"))


def halved(content: bytes) -> bytes:
    """Return an ONNX file whose weights are stored in half precision, and taken back to single precision where they are used."""
    import numpy as np
    import onnx  # half a second, and for this alone
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load_from_string(content)
    casts = []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < SMALL or np.abs(values).max() > np.finfo(np.float16).max:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}_half"))
        casts.append(helper.make_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    data: bytes = model.SerializeToString(deterministic=True)
    return data
