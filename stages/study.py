"""Run one study of params.yaml: a model trained over a list of values -> studies/<key>. A killed study goes on where it was."""

from __future__ import annotations

import regen.process  # noqa: F401
from regen import blocks, params, paths
from regen.errors import reported
from regen.studies import cells, table
from regen.tracking import cells as tracked


def main() -> None:
    """Read params, bring every cell up to date, write the table."""
    key, given = params.chosen("studies", __doc__)
    config = blocks.parse(blocks.StudyConfig, given.studies[key], f"params.yaml: studies.{key}")
    blocks.known(config.model, list(given.models), f"params.yaml: studies.{key}.model", "model")
    rows = table.tabulate(cells.run(key, config, given), config.show)
    table.write(key, rows, config.show, paths.study(key))
    done = {cell.kept: cell.settings for cell in cells.cells(key, config, given)}
    tracked.report(key, config.model, given.models[config.model]["dataset"], done)


if __name__ == "__main__":
    with reported():
        main()
