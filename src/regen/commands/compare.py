"""Figures beside each other: of one model in all experiments, of two revisions, of a sweep, mine and the committed ones."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

from regen import blocks
from regen.catalogue.registry import MEASURES
from regen.commands import text
from regen.commands.revisions import Revision, compared, model, revision
from regen.errors import UserError

Verdict = Literal["equal", "within errors", "neither"]
Entry = dict[str, float]


def figures(key: str, last: int) -> str:
    """Return a table of one model's figures, a column for the workspace, HEAD and each of the `last` newest experiments.

    Raises:
        UserError: no revision has figures of this model.
    """
    revisions = compared(last)
    model(key, revisions)
    columns = {found: measured for found in revisions if (measured := found.measured(key)) is not None}
    names = sorted({name for measured in columns.values() for name in measured})
    rows = [[key, *(found.name for found in columns), "held against", ""]]
    for name in names:
        entries = [measured.get(name) for measured in columns.values()]
        beside = next(filter(None, (text.held(entry) for entry in entries if entry)), "")
        rows.append([name, *(text.counted(measured, name) for measured in columns.values()), beside, _direction(name)])
    return text.table(rows)


def changes(a: str, b: str) -> str:
    """Return what differs in params and figures between two revisions, a line each.

    Raises:
        UserError: there is no such revision.
    """
    before, after = revision(a), revision(b)
    old, new = before.params(), after.params()
    said = [
        [path, _value(old, path), "->", _value(new, path), ""]
        for path in sorted(old.keys() | new.keys())
        if (path in old, old.get(path)) != (path in new, new.get(path))
    ]
    for key in sorted({*before.models(), *after.models()}):
        was, now = before.measured(key) or {}, after.measured(key) or {}
        for name in sorted(was.keys() | now.keys()):
            x, y = was.get(name), now.get(name)
            if verdict(x, y) != "equal":
                said.append([f"{key}.{name}", text.counted(was, name), "->", text.counted(now, name), _judged(name, x, y)])
    if not said:
        return f"nothing changed in params and figures between {a} and {b}"
    return text.table([["", a, "", b, ""], *said])


def best(figure: str, key: str | None) -> str:
    """Return for each model, or for one, the revisions from the best figure to the worst, with their own values of params.

    Raises:
        UserError: an unknown figure or model, a figure that no model has, or one of which neither more nor less is better.
    """
    blocks.known(figure, list(MEASURES), "figure", "figure")
    better = MEASURES[figure].better
    if better == "none":
        raise UserError(f"{figure}: neither more nor less of it is better; `regen figures MODEL` shows it")
    revisions = compared()
    if key is not None:
        model(key, revisions)
    params = {found: found.params() for found in revisions}
    parts = []
    for name in [key] if key is not None else sorted({name for found in revisions for name in found.models()}):
        entries = {at: measured[figure] for at in revisions if figure in (measured := at.measured(name) or {})}
        base = next((entry for at, entry in entries.items() if at.name == "HEAD"), None)
        found = [
            (at, entry) for at, entry in entries.items() if at.name == "HEAD" or entry != base
        ]  # what is as HEAD says no more
        found.sort(key=lambda item: item[1]["value"], reverse=better == "higher")
        if found:
            rows = [[at.name, text.counted(at.measured(name), figure), _own(params, at, name)] for at, _ in found]
            parts.append(text.table([[f"{name}: {figure}", f"{better} is better", ""], *rows]))
    if not parts:
        raise UserError(f"{figure}: no figure of that name in {'metrics/' if key is None else f'metrics/{key}.json'}")
    return "\n\n".join(parts)


def verify() -> tuple[str, bool]:
    """Return how the workspace's figures agree with those that HEAD holds, and whether all do.

    Raises:
        UserError: there is no commit.
    """
    mine, committed = Revision("workspace"), revision("HEAD")
    counts: dict[Verdict, int] = {"equal": 0, "within errors": 0, "neither": 0}
    lines, missing = [], False
    for key in committed.models():
        there, own = committed.measured(key) or {}, mine.measured(key)
        if not mine.has(key):
            lines.append(f"models.{key}: not in params.yaml here")
            continue
        if own is None:
            lines.append(f"metrics/{key}.json: missing; `dvc repro evaluate@{key}` writes it")
            missing = True
            continue
        for name in sorted(there.keys() | own.keys()):
            x, y = own.get(name), there.get(name)
            found = verdict(x, y)
            counts[found] += 1
            if found == "neither":
                lines.append(f"metrics/{key}.json: {name}: {text.figure(x)} here, {text.figure(y)} in HEAD")
    lines += [f"metrics/{key}.json: not in HEAD" for key in mine.models() if key not in committed.models()]
    equal, within, neither = counts.values()
    lines.append(f"{equal} figures equal those of HEAD, {within} agree within their errors, {neither} do neither")
    if neither:
        lines.append(
            "on another kind of machine than HEAD's a training comes out as with another seed: README.md, Stop and go on"
        )
    return "\n".join(lines), not missing and not neither


def verdict(x: Entry | None, y: Entry | None) -> Verdict:
    """Return whether two figures are equal, or |x - y| <= 2 sqrt(ex^2 + ey^2) with their standard errors, or neither."""
    if x is None or y is None:
        return "neither"
    if x["value"] == y["value"]:
        return "equal"
    error = math.hypot(x.get("error", 0.0), y.get("error", 0.0))
    return "within errors" if abs(x["value"] - y["value"]) <= 2 * error else "neither"


def judged(name: str, x: Entry | None, y: Entry | None) -> str:
    """Return what became of a figure from x to y: better, worse, within errors, new or gone; nothing where no way is better."""
    if x is None or y is None:
        return "new" if x is None else "gone"
    better = MEASURES[name].better if name in MEASURES else "none"
    if verdict(x, y) == "within errors":
        return "within errors"
    if better == "none":
        return ""
    return "better" if (y["value"] < x["value"]) == (better == "lower") else "worse"


def _judged(name: str, x: Entry | None, y: Entry | None) -> str:
    found = judged(name, x, y)
    return f"{found} ({_direction(name)})" if found in ("better", "worse") else found


def _direction(name: str) -> str:
    better = MEASURES[name].better if name in MEASURES else "none"
    return "" if better == "none" else f"{better} is better"


def _value(params: dict[str, object], path: str) -> str:
    return str(params[path]) if path in params else "-"


def _own(params: dict[Revision, dict[str, object]], at: Revision, key: str) -> str:
    """Return what a revision's params change of HEAD's for one model, or of all that models share."""
    base = next((values for found, values in params.items() if found.name == "HEAD"), {})
    return " ".join(_changed(params[at], base, key))


def _changed(own: dict[str, object], base: dict[str, object], key: str) -> Iterator[str]:
    for path, value in sorted(own.items()):
        concerns = path.startswith(f"models.{key}.") or not path.startswith(("models.", "studies."))
        if concerns and (path not in base or base[path] != value):
            yield f"{path}={value}"
