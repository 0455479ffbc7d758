"""Write the report's folder from the metrics, figures and studies of every model of params.yaml."""

from __future__ import annotations

import regen.process  # noqa: F401
from regen import params, paths
from regen.errors import reported
from regen.report import page


def main() -> None:
    """Build all pages, then put them in place."""
    page.write(params.read(), paths.REPORTS, whole=True)


if __name__ == "__main__":
    with reported():
        main()
