"""Make one block of `queries` of params.yaml: data/prepared/<digits> -> queries with their handwriting in data/prepared/<key>."""

from __future__ import annotations

import regen.process  # noqa: F401
from regen import params, paths
from regen.data import arrays
from regen.data.sets import arithmetic
from regen.errors import reported


def main() -> None:
    """Read params, list the queries, write them."""
    key, given = params.chosen("queries", __doc__)
    where = f"params.yaml: queries.{key}"
    config = arithmetic.config(given.queries[key], where)
    made, description = arithmetic.prepare(config, paths.prepared(config.digits), given.seed, where)
    description |= {"dataset": key, "kind": "arithmetic", "source": config.digits, "loader": arithmetic.LOADER}
    arrays.write(paths.prepared(key), made, description)


if __name__ == "__main__":
    with reported():
        main()
