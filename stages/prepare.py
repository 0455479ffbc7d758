"""Prepare one data set of params.yaml: data/raw/<key> -> packed arrays and statistics.json in data/prepared/<key>."""

from __future__ import annotations

import regen.process  # noqa: F401
from regen import data, params, paths
from regen.data import arrays, folders
from regen.errors import reported


def main() -> None:
    """Read params, prepare the arrays, write them."""
    key, given = params.chosen("datasets", __doc__)
    config = data.config(given.datasets[key], f"params.yaml: datasets.{key}")
    kind = data.kind(config.kind)
    about = {"dataset": key, "kind": config.kind, "source": config.source, "loader": data.loader(kind)}
    if hasattr(kind, "prepare_into"):
        work = paths.WORK / "prepare" / key
        with folders.held(work, f"preparation of {key}"), folders.replacing(paths.prepared(key)) as folder:
            arrays.describe(folder, kind.prepare_into(config, paths.raw(key), given.seed, folder) | about)
    else:
        prepared, description = kind.prepare(config, paths.raw(key), given.seed)
        arrays.write(paths.prepared(key), arrays.first(prepared, config.examples), description | about)


if __name__ == "__main__":
    with reported():
        main()
