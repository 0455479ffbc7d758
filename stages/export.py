"""Export one model of params.yaml: models/<key> -> exports/<key>, ONNX files that run without Python."""

from __future__ import annotations

import regen.process  # noqa: F401
from regen import params, paths
from regen.errors import reported
from regen.export.run import run


def main() -> None:
    """Read params, write the model's files."""
    key, given = params.chosen("models", __doc__)
    run(key, given, paths.prepared(given.models[key]["dataset"]), paths.model(key), paths.exported(key))


if __name__ == "__main__":
    with reported():
        main()
