"""Pages of commands: each opens from disk, without a network, and runs nothing but its own script."""

from __future__ import annotations

import re
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined, select_autoescape

from regen.report.page import policy

POLICY = "default-src about:"  # stands in the head until the page's own script and style are known


def page(package: str, **values: Any) -> str:
    """Return the HTML that the `page.html.j2` of a package's templates makes of values; all pages share `style.css.j2`."""
    loader = ChoiceLoader([PackageLoader(package, "templates"), PackageLoader("regen.commands", "templates")])
    environment = Environment(
        loader=loader, autoescape=select_autoescape(["j2"]), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    html = environment.get_template("page.html.j2").render(policy=POLICY, **values)
    scripts, styles = (re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL) for tag in ("script", "style"))
    return html.replace(POLICY, policy(scripts, styles), 1)  # in its head, before anything that others wrote
