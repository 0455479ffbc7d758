"""The plot of the information criterion over the number of components."""

from __future__ import annotations

from pathlib import Path

from regen.drawing import plots


def criterion(rows: list[dict[str, float]], chosen: int, out: Path) -> None:
    """Draw the information criterion an example over the number of components; the model's own number is marked."""
    K, bic = [row["components"] for row in rows], [row["bic"] for row in rows]
    with plots.figure(out, (5.6, 3.4)) as (axis,):
        axis.plot(K, bic, color=plots.COLOURS[0], marker="o", markersize=5)
        if chosen in K:
            axis.plot([chosen], [bic[K.index(chosen)]], "o", color=plots.COLOURS[1], markersize=9)
            axis.annotate(
                "this model", (chosen, bic[K.index(chosen)]), xytext=(8, 10), textcoords="offset points", color=plots.COLOURS[1],
                ha="left",
            )  # fmt: skip
        axis.set_xticks(K)
        axis.margins(y=0.12)
        axis.set(xlabel="components K", ylabel="BIC, nats an example (lower is better)")
