"""Check the whole of params.yaml before any work, and write the stand-in for 'no judge'.

Its out never changes, so it makes nothing else rerun.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from regen import data, models, params, paths, study
from regen.data import queries
from regen.errors import UserError, reported
from regen.evaluation.measures import MEASURES


def main() -> None:
    """Refuse a wrong params.yaml with all its mistakes at once."""
    content = params.content()
    given = params.usable(content)
    checks: list[Callable[[], object]] = [lambda: params.parse(params.Params, content, str(paths.PARAMS))]
    checks += [partial(data.config, block, f"params.yaml: datasets.{key}") for key, block in given.datasets.items()]
    blocks = {"queries": check_queries, "encodings": check_encoding, "models": check_model, "studies": check_study}
    checks += [partial(check, given, key, block) for kind, check in blocks.items() for key, block in getattr(given, kind).items()]
    params.problems(*checks)
    judge = paths.model("none")
    judge.parent.mkdir(exist_ok=True)
    judge.write_text("no judge\n", encoding="utf-8")


def check_queries(given: params.Params, key: str, block: dict[str, object]) -> None:
    """Check one block of queries, and the data set that its digits come from."""
    where = f"params.yaml: queries.{key}"
    config = queries.config(block, where)
    params.known(config.digits, list(given.datasets), f"{where}.digits", "data set")


def check_model(given: params.Params, key: str, block: dict[str, object]) -> None:
    """Check one model's block and the names that it refers to."""
    where = f"params.yaml: models.{key}"
    params.problems(
        lambda: models.config(block, where),
        lambda: params.known(block.get("dataset"), list(given.prepared), f"{where}.dataset", "data set"),
        lambda: params.known(block.get("judge", "none"), ["none", *given.models], f"{where}.judge", "model"),
    )


def check_encoding(given: params.Params, key: str, block: dict[str, object]) -> None:
    """Check one encoding's block: its data set, and its model, which must be able to encode that data set's images."""
    where = f"params.yaml: encodings.{key}"
    encoding = params.parse(params.EncodingConfig, block, where)
    params.problems(
        lambda: params.known(encoding.dataset, list(given.prepared), f"{where}.dataset", "data set"),
        lambda: params.known(encoding.model, list(given.models), f"{where}.model", "model"),
    )
    family = given.models[encoding.model].get("family")
    if family in models.families() and not hasattr(models.family(family).Model, "encode"):
        raise UserError(f"{where}.model: {encoding.model} is a {family}, which has no latents; name a model that can encode")


def check_study(given: params.Params, key: str, block: dict[str, object]) -> None:
    """Check one study's block, and the model's block in each of its cells."""
    where = f"params.yaml: studies.{key}"
    config = params.parse(params.StudyConfig, block, where)
    params.problems(
        lambda: params.known(config.model, list(given.models), f"{where}.model", "model"),
        *(partial(params.known, name, list(MEASURES), f"{where}.show", "measure") for name in config.show),
    )
    params.problems(*(partial(check_cell, cell, where) for cell in study.cells(key, config, given)))


def check_cell(cell: study.Cell, where: str) -> None:
    """Check what one cell makes of params.yaml."""
    params.parse(params.Params, cell.params.model_dump(), f"{where}: cell {cell.name}")
    models.config(cell.block, f"{where}: cell {cell.name}")


if __name__ == "__main__":
    with reported():
        main()
