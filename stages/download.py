"""Download one data set of params.yaml: its pinned raw files -> data/raw/<key>."""

from __future__ import annotations

import regen.process  # noqa: F401
from regen import data, params, paths
from regen.data import folders
from regen.errors import reported


def main() -> None:
    """Read params, fetch the files, write them with their provenance."""
    key, given = params.chosen("datasets", __doc__)
    config = data.config(given.datasets[key], f"params.yaml: datasets.{key}")
    with folders.replacing(paths.raw(key)) as folder:
        files = data.kind(config.kind).download(config, folder)
        provenance = {"dataset": key, "kind": config.kind, "source": config.source, "files": files}
        folders.write_json(folder / "provenance.json", provenance)


if __name__ == "__main__":
    with reported():
        main()
