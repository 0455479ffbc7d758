"""The commands on experiments: what DVC has kept of them, and many at once. Imports are as late as in `regen.cli`."""

from __future__ import annotations

from pathlib import Path

import click

from regen.commands import text


@click.command()
@click.argument("model")
@click.option("--last", default=4, show_default=True, type=click.IntRange(0), help="How many of the newest experiments.")
def figures(model: str, last: int) -> None:
    """Show the figures of one MODEL: workspace, HEAD and experiments, and what each is held against."""
    from regen.commands import compare
    from regen.commands.revisions import here

    here()
    text.say(compare.figures(model, last))


@click.command()
@click.argument("a", default="HEAD")
@click.argument("b", default="workspace")
def changes(a: str, b: str) -> None:
    """Show what changed in params and figures from revision A to B.

    A revision is the workspace, a commit, a branch, or an experiment of DVC; by default HEAD and the workspace.
    """
    from regen.commands import compare
    from regen.commands.revisions import here

    here()
    text.say(compare.changes(a, b))


@click.command()
@click.argument("revisions", nargs=-1)
@click.option("--model", "models", multiple=True, help="Only this model; may be given several times.")
@click.option("--out", default=Path(".work/compare.html"), show_default=True, type=Path, help="Page that is written.")
@click.option("--markdown", is_flag=True, help="Print it as Markdown, for a pull request, and write no page.")
def compare(revisions: tuple[str, ...], models: tuple[str, ...], out: Path, markdown: bool) -> None:
    """Put REVISIONS side by side in one page: params that differ, figures, pictures.

    A revision is the workspace, a commit, a branch, or an experiment of DVC. One alone stands beside HEAD; none: HEAD and the
    workspace.
    """
    from regen.commands.revisions import here
    from regen.commands.side_by_side import markdown as form
    from regen.commands.side_by_side import page

    here()
    if markdown:
        text.say(form.of(revisions, models))
    else:
        text.written(out, lambda: text.say(f"{out}: {', '.join(page.write(revisions, models, out))}"))


@click.command()
@click.argument("figure")
@click.option("--model", default=None, help="Only this model.")
def best(figure: str, model: str | None) -> None:
    """Rank workspace, HEAD and experiments by one FIGURE, such as frechet_distance."""
    from regen.commands import compare
    from regen.commands.revisions import here

    here()
    text.say(compare.best(figure, model))


@click.command()
@click.argument("names", nargs=-1)
@click.option("-S", "--set-param", "texts", multiple=True, metavar="PATH=VALUE,...", help="Values of one param; several times.")
@click.option("--jobs", default=None, type=click.IntRange(1), help="Experiments at a time; by default cores / threads.")
@click.option("--out", default=Path(".work/sweep.html"), show_default=True, type=Path, help="Page that is written.")
def sweep(names: tuple[str, ...], texts: tuple[str, ...], jobs: int | None, out: Path) -> None:
    """Make an experiment of each combination of values: -S models.punks_vae.beta=1,2,4 -S seed=0,1,2.

    Each is run in a copy of its own; the workspace stays as it is, and what it has changed since HEAD counts. With NAMES of
    blocks of params.yaml, these and what they need are run; by default the blocks whose params are varied. What has been made
    of the same values and code is not made again, so a sweep that was killed goes on.
    """
    from regen.commands.revisions import here
    from regen.commands.sweeping import sweep as sweeping

    here()
    sweeping.sweep(names, texts, jobs, out)


@click.command()
@click.argument("ranges", nargs=-1)
@click.option("--for", "figure", required=True, help="Figure that is to become better, such as frechet_distance.")
@click.option("--trials", default=32, show_default=True, type=click.IntRange(1), help="How many, with those made before.")
@click.option("--batch", default=4, show_default=True, type=click.IntRange(1), help="Trials that are chosen at once.")
@click.option("--model", default=None, help="Whose figure; by default the model whose params are varied.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**32 - 1), help="Of what is tried.")
@click.option("--maximize/--minimize", default=None, help="By default the way that is better.")
@click.option("--jobs", default=None, type=click.IntRange(1), help="Experiments at a time; by default cores / threads.")
@click.option("--prune-by", default=None, metavar="COLUMN",
              help="End trainings that are worse than others by this column of history.csv; lower is better.")  # fmt: skip
@click.option("--out", default=Path(".work/search.html"), show_default=True, type=Path, help="Page that is written.")
def search(
    ranges: tuple[str, ...], figure: str, trials: int, batch: int, model: str | None, seed: int, maximize: bool | None,
    jobs: int | None, prune_by: str | None, out: Path,
) -> None:  # fmt: skip
    """Let Optuna look for values that make a figure better: models.punks_vae.beta=0.1..10:log models.punks_vae.flip=true|false.

    Each trial is an experiment, as of `regen sweep`. The same --seed and --batch give the same trials, so a search that was
    killed, or asked for more --trials, goes on.
    """
    from regen.commands.revisions import here
    from regen.commands.sweeping import search as searching

    here()
    searching.search(ranges, figure, model, trials, batch, seed, maximize, jobs, out, prune_by)


COMMANDS = (figures, changes, compare, best, sweep, search)
