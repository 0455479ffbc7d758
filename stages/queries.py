"""Make one block of `queries` of params.yaml: data/prepared/<digits> -> queries with their handwriting in data/prepared/<key>."""

from __future__ import annotations

import argparse

from regen import params, paths
from regen.data import arrays, queries
from regen.errors import reported


def main() -> None:
    """Read params, list the queries, write them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("key", help="a key of queries: in params.yaml")
    key = parser.parse_args().key
    given = params.read()
    params.known(key, list(given.queries), "params.yaml: queries", "block of queries")
    where = f"params.yaml: queries.{key}"
    config = queries.config(given.queries[key], where)
    made, description = queries.prepare(config, paths.prepared(config.digits), given.seed, where)
    arrays.write(paths.prepared(key), made, description | {"dataset": key, "kind": "queries", "source": config.digits})


if __name__ == "__main__":
    with reported():
        main()
