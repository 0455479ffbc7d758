"""Prepare one data set of params.yaml: data/raw/<key> -> packed arrays and statistics.json in data/prepared/<key>."""

from __future__ import annotations

import argparse

from regen import data, params, paths
from regen.data import arrays
from regen.errors import reported


def main() -> None:
    """Read params, prepare the arrays, write them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("key", help="a key of datasets: in params.yaml")
    key = parser.parse_args().key
    given = params.read()
    params.known(key, list(given.datasets), "params.yaml: datasets", "data set")
    config = data.config(given.datasets[key], f"params.yaml: datasets.{key}")
    prepared, description = data.kind(config.kind).prepare(config, paths.raw(key), given.seed)
    description |= {"dataset": key, "kind": config.kind, "source": config.source}
    arrays.write(paths.prepared(key), arrays.first(prepared, config.examples), description)


if __name__ == "__main__":
    with reported():
        main()
