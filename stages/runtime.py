"""Fetch what runs exported models in a page: data/runtime."""

from __future__ import annotations

import regen.process  # noqa: F401
from regen import paths
from regen.errors import reported
from regen.export import runtime


def main() -> None:
    """Fetch the pinned files, write them as scripts."""
    runtime.fetch(paths.RUNTIME)


if __name__ == "__main__":
    with reported():
        main()
