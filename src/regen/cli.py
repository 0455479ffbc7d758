"""The command `regen`. Each command imports what it needs when it is called: `regen --help` is there at once."""

from __future__ import annotations

import difflib
import os
import sys
from pathlib import Path

import click

from regen.errors import UserError, reported


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def commands() -> None:
    """Look at models, figures and experiments, from the root of the repository. `make help` lists what runs them."""


@commands.command()
@click.argument("query")
@click.option("--model", default="arithmetic_text_to_text", show_default=True, help="Key or folder of a trained model.")
@click.option("--out", default="answer.png", show_default=True, type=Path, help="Picture, where images are read or drawn.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Of the handwriting.")
def answer(query: str, model: str, out: Path, seed: int) -> None:
    """Answer a typed question of arithmetic, such as "81+24"."""
    from regen import answer as answers

    _png(out)
    given = answers.answer(query, model, seed)
    drawn = given.drawn is not None or given.shown is not None
    if drawn:
        _written(out, lambda: answers.picture(given, out))
    click.echo(f"{given.query} -> {given.text}" + (f"  ({out})" if drawn else ""))


@commands.command()
@click.argument("model")
@click.option("--n", "n", default=100, show_default=True, type=click.IntRange(1), help="How many.")
@click.option("--out", default="samples.png", show_default=True, type=Path, help="Picture that is written.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Of every draw.")
def sample(model: str, n: int, out: Path, seed: int) -> None:
    """Draw new images from a trained MODEL (its key, or its folder) in one picture."""
    from regen.commands import sample as samples

    _png(out)
    picture = samples.picture(model, n, seed)
    _written(out, lambda: samples.save(picture, out))
    click.echo(f"{out}: {n} of {model}")


@commands.command()
def check() -> None:
    """Say ok, or each mistake in params.yaml."""
    from regen import checks

    _here()
    checks.check()
    click.echo("ok")


@commands.command()
def sync() -> None:
    """Send to the MLflow server what it missed, exactly once."""
    from regen.tracking.sync import sync as bring_up

    _here()
    bring_up()


@commands.command()
@click.argument("model")
@click.option("--last", default=4, show_default=True, type=click.IntRange(0), help="How many of the newest experiments.")
def figures(model: str, last: int) -> None:
    """Show the figures of one MODEL: workspace, HEAD and experiments, and what each is held against."""
    from regen.commands import compare

    _here()
    click.echo(compare.figures(model, last))


@commands.command()
@click.argument("a", default="HEAD")
@click.argument("b", default="workspace")
def changes(a: str, b: str) -> None:
    """Show what changed in params and figures from revision A to B.

    A revision is the workspace, a commit, a branch, or an experiment of DVC; by default HEAD and the workspace.
    """
    from regen.commands import compare

    _here()
    click.echo(compare.changes(a, b))


@commands.command()
@click.argument("figure")
@click.option("--model", default=None, help="Only this model.")
def best(figure: str, model: str | None) -> None:
    """Rank workspace, HEAD and experiments by one FIGURE, such as frechet_distance."""
    from regen.commands import compare

    _here()
    click.echo(compare.best(figure, model))


@commands.command()
@click.option("--run", type=click.Choice(["repro", "smoke"]), help="Say it of one run, in a line.")
def machine(run: str | None) -> None:
    """Say what this machine is, and about how long a run takes on it."""
    from regen import params
    from regen.commands import machine as this

    _here()
    click.echo(this.describe(params.read(), run))


@commands.command()
@click.option("--jobs", default=None, type=click.IntRange(1), help="Stages at a time; by default cores / threads.")
def repro(jobs: int | None) -> None:
    """Run what is not current, as `dvc repro` does, with stages side by side."""
    from regen import params, schedule
    from regen.studies.executors import cores

    _here()
    schedule.repro(jobs or max(1, cores() // params.read().threads))


@commands.command()
def verify() -> None:
    """Hold the figures of the workspace against those that are committed."""
    from regen.commands import compare

    _here()
    said, agree = compare.verify()
    click.echo(said)
    if not agree:
        raise SystemExit(1)


def main() -> None:
    """Run the command of the command line; a person's mistake is one line and exit status 1."""
    with reported():
        try:
            commands(prog_name="regen", standalone_mode=False)
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.format_message())
        except click.Abort:
            raise KeyboardInterrupt from None
        except click.ClickException as error:
            raise UserError(_line(error)) from None
        except BrokenPipeError:  # `regen figures MODEL | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _line(error: click.ClickException) -> str:
    """Return a mistake on the command line in one line, with where to read on."""
    message = " ".join(error.format_message().split()).rstrip(".")
    context = getattr(error, "ctx", None)
    if message.startswith("No such command"):
        near = difflib.get_close_matches(message.split("'")[1], list(commands.commands), n=1)
        message = message.split(". ")[0] + (f" (did you mean {near[0]}?)" if near else "")
    return f"{message}; see `{context.command_path if context else 'regen'} --help`"


def _here() -> None:
    from regen.commands.revisions import here

    here()


def _png(out: Path) -> None:
    if out.suffix != ".png":
        raise UserError(f"--out {out}: expected a name that ends in .png")


def _written(out: Path, write: object) -> None:
    assert callable(write)
    try:
        write()
    except OSError as error:
        raise UserError(f"--out {out}: {error.strerror or error}") from None


if __name__ == "__main__":
    main()
