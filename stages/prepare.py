"""Prepare one data set of params.yaml: data/raw/<key> -> packed arrays and statistics.json in data/prepared/<key>."""

from __future__ import annotations

from regen import data, params, paths
from regen.data import arrays
from regen.errors import reported


def main() -> None:
    """Read params, prepare the arrays, write them."""
    key, given = params.chosen("datasets", __doc__)
    config = data.config(given.datasets[key], f"params.yaml: datasets.{key}")
    kind = data.kind(config.kind)
    prepared, description = kind.prepare(config, paths.raw(key), given.seed)
    description |= {"dataset": key, "kind": config.kind, "source": config.source, "loader": data.loader(kind)}
    arrays.write(paths.prepared(key), arrays.first(prepared, config.examples), description)


if __name__ == "__main__":
    with reported():
        main()
