"""ONNX Runtime Web as two classic scripts, which a page may load from the disk: no fetch, no module.

It is that of 1.18, the last one that is a classic script: later ones load a module, which no page from the disk may do.
"""

from __future__ import annotations

import base64
import gzip
import tempfile
from pathlib import Path

from regen.data import folders
from regen.data.download import pinned
from regen.data.download.mirrors import File, Package

ARCHIVE = "b4940dec2f4f63cd98d48597336809d45fdaa1c4ddc6d2e6e61183772a266e07"
CREDIT = "ONNX Runtime Web 1.18.0. Copyright (c) Microsoft Corporation. Licensed under the MIT License."
SCRIPT, WASM = "ort.wasm.min.js", "ort-wasm-simd.wasm"
FILES = (
    File(
        SCRIPT,
        "90533a3fd7006df7f897c0d63c468996da5c8e430e39964d92ebe586c4996614",
        142_930,
        (Package("npm", "onnxruntime-web", "1.18.0", ARCHIVE, f"package/dist/{SCRIPT}"),),
    ),
    File(
        WASM,
        "f533b5f21790563d7556c611c3835ac65848ee326da2689aac54ed7d9cc8c6a4",
        10_595_041,
        (Package("npm", "onnxruntime-web", "1.18.0", ARCHIVE, f"package/dist/{WASM}"),),
    ),
)


def fetch(folder: Path) -> None:
    """Write `ort.js`, which sets `ort`, and `wasm.js`, which sets `regenWasm`: the gzip of its WebAssembly in base64.

    Raises:
        UserError: the package cannot be fetched.
    """
    # Not in the system's temporary folder: where that is full, Python says that there is none, and not why.
    with folders.replacing(folder) as part, tempfile.TemporaryDirectory(dir=part) as scratch:
        provenance = pinned.into(Path(scratch), FILES)
        folders.write(part / "ort.js", (Path(scratch) / SCRIPT).read_bytes())
        content = packed((Path(scratch) / WASM).read_bytes())
        folders.write(part / "wasm.js", f'/*! {CREDIT} */\nvar regenWasm = "{content}";\n')
        folders.write_json(part / "provenance.json", provenance)


def packed(content: bytes) -> str:
    """Return the gzip of some bytes in base64: the same text for the same bytes."""
    return base64.b64encode(gzip.compress(content, 9, mtime=0)).decode()
