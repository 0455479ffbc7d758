"""Evaluate one model of params.yaml: metrics/<key>.json and figures/<key>."""

from __future__ import annotations

import argparse
import json

from regen import models, params, paths
from regen.data import folders
from regen.errors import reported
from regen.evaluation import references
from regen.evaluation.subject import Subject
from regen.evaluation.suite import evaluate
from regen.tracking import launch
from regen.training.devices import Devices


def main() -> None:
    """Load model, judge and data, measure and draw, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("key", help="a key of models: in params.yaml")
    key = parser.parse_args().key
    given = params.read()
    params.known(key, list(given.models), "params.yaml: models", "model")
    config = models.config(given.models[key], f"params.yaml: models.{key}")
    device = Devices("fp32", given.threads).device  # figures are measured in full precision
    model = models.load(paths.model(key)).to(device)
    judge = None if config.judge == "none" else models.load(paths.model(config.judge)).to(device)
    with launch.report(key):
        with folders.replacing(paths.figures(key)) as figures:
            subject = Subject(model, judge, given.seed, data=paths.prepared(config.dataset), history=paths.model(key),
                              folder=figures)  # fmt: skip
            measured = references.beside(key, evaluate(subject))
        write(measured, key)


def write(measured: dict[str, dict[str, float]], key: str) -> None:
    """Write metrics/<key>.json: sorted, six significant digits, all or nothing."""
    rounded = {name: {part: float(f"{value:.6g}") for part, value in entry.items()} for name, entry in measured.items()}
    path = paths.metrics(key)
    path.parent.mkdir(exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(rounded, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    partial.replace(path)


if __name__ == "__main__":
    with reported():
        main()
