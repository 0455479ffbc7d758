"""One cell of a study, in a process of its own: `python -m regen.studies.cell FOLDER`, or by torchrun in several.

The folder is laid out as a repository is: params.yaml, the data, the classifier. The model is trained there by all processes and
evaluated by the first.
"""

from __future__ import annotations

import argparse
import os
import threading
from pathlib import Path

import regen.process  # noqa: F401
from regen import params, paths
from regen.data import folders
from regen.errors import UserError, reported
from regen.evaluation import run as evaluation
from regen.params import Params
from regen.studies import node
from regen.training import run as training
from regen.training.distributed import Devices

TRAINED = Path("trained")  # the signature of the training that is done here: a killed study evaluates and trains no more
DISTRIBUTED = ("RANK", "LOCAL_RANK", "WORLD_SIZE")  # set by torchrun


def main() -> None:
    """Train and evaluate the model of the command line in its folder."""
    parser = argparse.ArgumentParser(prog="python -m regen.studies.cell", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("model", help="its key in the folder's params.yaml")
    parser.add_argument("signature", help="of the training: written down when it is done")
    parser.add_argument("--auto", choices=("fp32", "bf16"), help="what `precision: auto` is where the study was started")
    parser.add_argument("--attended", action="store_true", help="end, and remove the folder, when stdin ends")
    given = parser.parse_args()
    if given.attended:
        threading.Thread(target=node.forget, args=[given.folder], daemon=True).start()
    os.chdir(given.folder)
    run(given.model, given.signature, given.auto)


def run(key: str, signature: str, auto: str | None = None) -> None:
    """Train and evaluate one model in this folder; what is trained already is evaluated alone."""
    given = params.read()
    block = given.models[key]
    data = paths.prepared(block["dataset"])
    if not trained(Path(), signature):
        _same_precision(given, auto)
        training.run(key, given, data, paths.model(key))
        if int(os.environ.get("RANK", "0")):
            return
        folders.write(TRAINED, signature)
    for name in DISTRIBUTED:  # evaluated alone: it must wait for no other process
        os.environ.pop(name, None)
    evaluation.run(key, given, data, paths.model(key), paths.classifier(block), paths.figures(key), paths.metrics(key))


def precision(given: Params) -> str:
    """Return what trainings compute with on this machine: bf16 or fp32."""
    return "bf16" if Devices(given.precision, given.threads).bf16 else "fp32"


def _same_precision(given: Params, auto: str | None) -> None:
    """Refuse a machine on which `precision: auto` is not what it is where the study was started.

    `auto` stands in the signature of the training, which the model's folder keeps. To write here what it is there would make
    another signature, so other bytes, of the same params. And a processor that lacks bf16 would compute it by other means, with
    other rounding: not even the weights would be those of the machine that has it.

    Raises:
        UserError: so it is.
    """
    if auto and given.precision == "auto" and (mine := precision(given)) != auto:
        raise UserError(f"params.yaml: precision: auto is {mine} on this machine, and {auto} where the study was started; "
                        "take machines of one kind, or set precision")  # fmt: skip


def trained(folder: Path, signature: str) -> bool:
    """Whether the training of this signature is done in a cell's folder."""
    note = folder / TRAINED
    return note.exists() and note.read_text(encoding="utf-8") == signature


if __name__ == "__main__":
    with reported():
        main()
