"""Train one model of params.yaml: data/prepared/<dataset> -> models/<key>. A killed training resumes when run again."""

from __future__ import annotations

import os

import regen.process  # noqa: F401
from regen import params, paths
from regen.errors import reported


def main() -> None:
    """Read params, train or fit, write the model. In several processes, the launcher starts this script again in each."""
    key, given = params.chosen("models", __doc__)
    if given.launcher != "python" and "RANK" not in os.environ:
        os.execv(given.start[0], [*given.start, __file__, key])  # noqa: S606 (no shell is what is wanted)
    from regen.tracking import launch  # here, as torch is not imported by what only starts the launcher
    from regen.training.run import run

    dataset = given.models[key]["dataset"]
    run(key, given, paths.prepared(dataset), paths.model(key),
        watch=lambda signature, settings, device: launch.mirrored(key, signature, settings, dataset, device))  # fmt: skip


if __name__ == "__main__":
    with reported():
        main()
