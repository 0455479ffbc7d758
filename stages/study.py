"""Run one study of params.yaml: a model trained over a list of values -> studies/<key>. A killed study goes on where it was."""

from __future__ import annotations

import argparse

from regen import params, paths, study
from regen.errors import reported
from regen.evaluation import studied


def main() -> None:
    """Read params, bring every cell up to date, write the table and the plots."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("key", help="a key of studies: in params.yaml")
    key = parser.parse_args().key
    given = params.read()
    params.known(key, list(given.studies), "params.yaml: studies", "study")
    config = params.parse(params.StudyConfig, given.studies[key], f"params.yaml: studies.{key}")
    params.known(config.model, list(given.models), f"params.yaml: studies.{key}.model", "model")
    rows = studied.tabulate(key, study.run(key, config, given), config.show)
    judge = str(given.models[config.model].get("judge", "none"))
    studied.write(key, rows, config.show, judge, paths.STUDIES / key)


if __name__ == "__main__":
    with reported():
        main()
