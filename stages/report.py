"""Write reports/index.html from the metrics, figures and studies of every model of params.yaml."""

from __future__ import annotations

from regen import params, paths
from regen.data import folders
from regen.errors import reported
from regen.report import page


def main() -> None:
    """Build the page whole, then put it in place."""
    given = params.read()
    html = page.build(given)
    paths.REPORTS.mkdir(exist_ok=True)
    folders.write(paths.REPORTS / "index.html", html)


if __name__ == "__main__":
    with reported():
        main()
