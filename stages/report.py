"""Write reports/index.html from the metrics and figures of every model, and the README's picture."""

from __future__ import annotations

from regen import params, paths
from regen.errors import reported
from regen.report import page, showcase

README = {
    "Real, unseen": ("punks_classifier", "examples"),
    "Autoencoder": ("punks_autoencoder", "samples"),
    "VAE": ("punks_vae", "samples"),
    "GAN": ("punks_gan", "samples"),
}


def main() -> None:
    """Build the page whole, then put it in place."""
    given = params.read()
    html = page.build(given)
    paths.REPORTS.mkdir(exist_ok=True)
    partial = paths.REPORTS / "index.html.partial"
    partial.write_text(html, encoding="utf-8", newline="\n")
    partial.replace(paths.REPORTS / "index.html")
    panels = {title: panel for title, panel in README.items() if panel[0] in given.models}  # a blank picture where none is left
    showcase.write(panels, paths.README_PICTURE)


if __name__ == "__main__":
    with reported():
        main()
