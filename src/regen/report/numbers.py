"""Numbers as people write them."""

from __future__ import annotations

import math

THIN = "\u202f"  # narrow space between thousands


def figure(value: float | None, digits: int = 4) -> str:
    """Return a number with so many significant digits, as people write it; an en dash for none."""
    if value is None or math.isnan(value):
        return "–"
    if value != 0 and not 1e-3 <= abs(value) < 1e6:
        return f"{value:.{min(digits - 1, 2)}e}"
    rounded = abs(float(f"{value:.{digits}g}"))  # 0.99999 has the digits of 1
    decimals = max(0, digits - 1 - math.floor(math.log10(rounded))) if value else 0
    return f"{value:,.{min(decimals, 6)}f}".replace(",", THIN)
