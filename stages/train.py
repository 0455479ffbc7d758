"""Train one model of params.yaml: data/prepared/<dataset> -> models/<key>. A killed training resumes when run again."""

from __future__ import annotations

from regen import params, paths
from regen.errors import reported
from regen.tracking import launch
from regen.training.run import run


def main() -> None:
    """Read params, train or fit, write the model."""
    key, given = params.chosen("models", __doc__)
    dataset = given.models[key]["dataset"]
    run(key, given, paths.prepared(dataset), paths.model(key),
        watch=lambda signature, settings, device: launch.mirrored(key, signature, settings, dataset, device))  # fmt: skip


if __name__ == "__main__":
    with reported():
        main()
