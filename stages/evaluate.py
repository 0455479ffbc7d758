"""Evaluate one model of params.yaml: metrics/<key>.json and figures/<key>."""

from __future__ import annotations

import regen.process  # noqa: F401
from regen import params, paths
from regen.errors import reported
from regen.evaluation.run import run
from regen.tracking import launch


def main() -> None:
    """Read params, measure and draw, write."""
    key, given = params.chosen("models", __doc__)
    block = given.models[key]
    with launch.report(key):
        run(key, given, paths.prepared(block["dataset"]), paths.model(key), paths.classifier(block), paths.figures(key),
            paths.metrics(key))  # fmt: skip


if __name__ == "__main__":
    with reported():
        main()
