"""The command `regen`. Each command imports what it needs when it is called: `regen --help` is there at once."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

import regen.process  # noqa: F401
from regen import host
from regen.commands import of_experiments, text
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

    text.png(out)
    given = answers.answer(query, model, seed)
    drawn = given.drawn is not None or given.shown is not None
    if drawn:
        text.written(out, lambda: answers.picture(given, out))
    text.say(f"{given.query} -> {given.text}" + (f"  ({out})" if drawn else ""))


@commands.command()
@click.argument("model")
@click.option("--n", "n", default=100, show_default=True, type=click.IntRange(1, 10_000), help="How many.")
@click.option("--out", default="samples.png", show_default=True, type=Path, help="Picture that is written.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Of every draw.")
@click.option("--with", "wanted", default="", help='Labels to ask for, of a flow that learned some: "female,top hat".')
@click.option(
    "--guidance", default=2.0, show_default=True, type=click.FloatRange(0, 100), help="How strongly they are asked for."
)
def sample(model: str, n: int, out: Path, seed: int, wanted: str, guidance: float) -> None:
    """Draw new images from a trained MODEL (its key, or its folder) in one picture."""
    from regen.commands import sample as samples

    text.png(out)
    picture = samples.picture(model, n, seed, [name for name in wanted.split(",") if name.strip()], guidance)
    text.written(out, lambda: samples.save(picture, out))
    text.say(f"{out}: {n} of {model}")


@commands.command()
@click.argument("model")
@click.option("--port", default=5001, show_default=True, type=click.IntRange(1, 65535), help="On 127.0.0.1.")
def serve(model: str, port: int) -> None:
    """Answer latents, seeds or images over HTTP with a trained MODEL (its key, its folder, models:/NAME@ALIAS), until Ctrl-C."""
    from regen.commands import serve as serving

    serving.serve(model, port)


@commands.command()
def check() -> None:
    """Say ok, or each mistake in params.yaml."""
    from regen import checks

    _here()
    checks.check()
    text.say("ok")


@commands.command()
@click.argument("name")
@click.argument("source")
@click.option("--sha256", default="", help="Of the archive, where SOURCE is an address.")
@click.option("--size", default=0, type=click.IntRange(0), help="Pixels a side; by default 64, or what fits.")
@click.option("--if-missing", is_flag=True, help="Do nothing where there is a data set NAME already.")
def add(name: str, source: str, sha256: str, size: int, if_missing: bool) -> None:
    """Add your own images as the data set NAME, with models of them, to params.yaml.

    SOURCE is a folder, a .zip or .tar archive, the https address of one, torchvision:CIFAR10 (or another name there),
    rijksmuseum, or wesnoth.
    """
    from regen import params
    from regen.commands.adding import add as adding

    _here()
    if if_missing and name in params.read().datasets:
        text.say(f"{name}: there already")
        return
    for line in adding.add(name, source, sha256, size):
        text.say(line)


@commands.command()
@click.argument("name")
def remove(name: str) -> None:
    """Take the data set NAME and its models out of params.yaml again, if `regen add` wrote them."""
    from regen.commands.adding import add as adding

    _here()
    for line in adding.remove(name):
        text.say(line)


@commands.command()
def sync() -> None:
    """Send to the MLflow server what it missed, exactly once."""
    from regen.tracking.sync import sync as bring_up

    _here()
    bring_up()


@commands.command()
def resolve() -> None:
    """Resolve a merge conflict in dvc.lock: what either side has run is kept, the rest is run. Commit afterwards."""
    from regen.commands import resolve as resolving

    _here()
    resolving.resolve()
    text.say("dvc.lock: merged; `git commit` ends the merge")


@commands.command()
@click.argument("model")
@click.argument("alias")
@click.option("--force", is_flag=True, help="Also where figures are worse; that is noted at the version.")
def promote(model: str, alias: str, force: bool) -> None:
    """Give a registered MODEL's ALIAS, such as champion, to the weights in models/MODEL, unless their figures are worse."""
    from regen.commands import promote as promoting

    _here()
    text.say(promoting.promote(model, alias, force))


@commands.command()
@click.option("--port", default=5000, show_default=True, type=click.IntRange(1, 65535), help="On 127.0.0.1, for a database.")
def ui(port: int) -> None:
    """Look at the trainings in MLflow: a team's server in the browser, or mlflow.db served here."""
    from regen.tracking.ui import show

    _here()
    show(port)


@commands.command()
@click.option("--run", type=click.Choice(["repro", "smoke"]), help="Say it of one run, in a line.")
def machine(run: str | None) -> None:
    """Say what this machine is, and about how long a run takes on it."""
    from regen import params
    from regen.commands import machine as this

    _here()
    text.say(this.describe(params.read(), run))


@commands.command()
@click.argument("names", nargs=-1)
@click.option("--jobs", default=None, type=click.IntRange(1), help="Stages at a time; by default cores / threads.")
def repro(names: tuple[str, ...], jobs: int | None) -> None:
    """Run what is not current, as `dvc repro` does, with stages side by side.

    With NAMES of data sets, models or other blocks of params.yaml: only these and what they need, of a data set also its models.
    """
    from regen import params, schedule
    from regen.host import cores

    _here()
    schedule.repro(jobs or max(1, cores() // params.read().threads), names)


@commands.command()
@click.argument("dataset", default="")
@click.option("--single-file", is_flag=True, help="One file with all pictures in it, for e-mail: report.html, or DATASET.html.")
@click.option("--out", default=None, type=Path, help="Folder, or single file, that is written; by default .work/report.")
def report(dataset: str, single_file: bool, out: Path | None) -> None:
    """Write the report, of all or of one DATASET and its models, whatever has been run; it says what is missing.

    The pipeline's own, in the folder reports, `make report` brings up to date.
    """
    from regen import blocks, params, paths, schedule
    from regen.report import page

    _here()
    given = params.read()
    if dataset:
        blocks.known(dataset, [*given.datasets, *given.queries], "regen report", "data set")
    out = out or (Path(f"{dataset or 'report'}.html") if single_file else paths.WORK / "report")
    missing: list[str] = []
    write = page.write_single if single_file else page.write
    text.written(out, lambda: missing.extend(write(given, out, dataset, seconds=schedule.times())))
    for line in missing:
        text.say(f"missing: {line}", err=True)
    text.say(out if single_file else out / dataset / "index.html")


@commands.command()
def verify() -> None:
    """Hold the figures of the workspace against those that are committed."""
    from regen.commands import compare

    _here()
    said, agree = compare.verify()
    text.say(said)
    if not agree:
        raise SystemExit(1)


for _command in of_experiments.COMMANDS:
    commands.add_command(_command)


def main() -> None:
    """Run the command of the command line; a person's mistake is one line and exit status 1."""
    with reported():
        host.settle()
        try:
            commands(prog_name="regen", standalone_mode=False)
        except click.exceptions.NoArgsIsHelpError as error:
            text.say(error.format_message())
        except click.Abort:
            raise KeyboardInterrupt from None
        except click.ClickException as error:
            raise UserError(text.mistake(error, list(commands.commands))) from None
        except BrokenPipeError:  # `regen figures MODEL | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _here() -> None:
    from regen.commands.revisions import here

    here()


if __name__ == "__main__":
    main()
