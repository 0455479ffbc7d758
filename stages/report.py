"""Write reports/index.html from the metrics and figures of every model."""

from __future__ import annotations

from regen import params, paths
from regen.errors import reported
from regen.report import page


def main() -> None:
    """Build the page whole, then put it in place."""
    html = page.build(params.read())
    paths.REPORTS.mkdir(exist_ok=True)
    partial = paths.REPORTS / "index.html.partial"
    partial.write_text(html, encoding="utf-8", newline="\n")
    partial.replace(paths.REPORTS / "index.html")


if __name__ == "__main__":
    with reported():
        main()
