"""One cell of a study, in a process of its own: `python -m regen.studies.cell FOLDER`, or by torchrun in several.

The folder is laid out as a repository is: params.yaml, the data, the classifier. The model is trained there by all processes and
evaluated by the first.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import regen.process  # noqa: F401
from regen import params, paths
from regen.data import folders
from regen.errors import reported
from regen.evaluation import run as evaluation
from regen.training import run as training

TRAINED = Path("trained")  # the signature of the training that is done here: a killed study evaluates and trains no more
DISTRIBUTED = ("RANK", "LOCAL_RANK", "WORLD_SIZE")  # set by torchrun


def main() -> None:
    """Train and evaluate the model of the command line in its folder."""
    parser = argparse.ArgumentParser(prog="python -m regen.studies.cell", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("model", help="its key in the folder's params.yaml")
    parser.add_argument("signature", help="of the training: written down when it is done")
    given = parser.parse_args()
    os.chdir(given.folder)
    run(given.model, given.signature)


def run(key: str, signature: str) -> None:
    """Train and evaluate one model in this folder; what is trained already is evaluated alone."""
    given = params.read()
    block = given.models[key]
    data = paths.prepared(block["dataset"])
    if not trained(Path(), signature):
        training.run(key, given, data, paths.model(key))
        if int(os.environ.get("RANK", "0")):
            return
        folders.write(TRAINED, signature)
    for name in DISTRIBUTED:  # evaluated alone: it must wait for no other process
        os.environ.pop(name, None)
    evaluation.run(key, given, data, paths.model(key), paths.classifier(block), paths.figures(key), paths.metrics(key))


def trained(folder: Path, signature: str) -> bool:
    """Whether the training of this signature is done in a cell's folder."""
    note = folder / TRAINED
    return note.exists() and note.read_text(encoding="utf-8") == signature


if __name__ == "__main__":
    with reported():
        main()
