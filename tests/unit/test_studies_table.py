"""Tables of studies: rows, spreads, and what stands beside them; the report draws their plots."""

from __future__ import annotations

import json

import pytest

from regen.report import charts
from regen.studies import table


def cell(values, value, **others):
    return {"values": values, "metrics": {"mse": {"value": value, "error": 0.1, **others}}}


def test_cells_that_differ_in_their_seed_share_a_row_with_their_spread() -> None:
    cells = [cell({"beta": beta, "seed": seed}, value, real=0.5) for beta, seed, value in ((1, 0, 2.0), (1, 1, 4.0), (4, 0, 7.0))]
    rows = table.tabulate(cells, ["mse", "elbo"])
    assert [row["values"] for row in rows] == [{"beta": 1}, {"beta": 4}]
    assert [row["seeds"] for row in rows] == [2, 1]
    assert rows[0]["measures"] == {"mse": {"value": 3.0, "error": 0.1, "spread": pytest.approx(2**0.5), "real": 0.5}}
    assert rows[1]["measures"] == {"mse": {"value": 7.0, "error": 0.1, "real": 0.5}}


def test_the_table_is_written_for_people_and_for_machines(tmp_path) -> None:
    cells = [cell({"epochs": n}, 1 / n) for n in (1, 2, 4)]
    table.write("toy", table.tabulate(cells, ["mse"]), ["mse"], tmp_path)
    assert (tmp_path / "table.csv").read_text() == "epochs,seeds,mse,mse_error\n1,1,1,0.1\n2,1,0.5,0.1\n4,1,0.25,0.1\n"
    assert json.loads((tmp_path / "table.json").read_text())["rows"][2]["measures"]["mse"]["value"] == 0.25
    assert sorted(path.name for path in tmp_path.iterdir()) == ["table.csv", "table.json"]


def rows(*values, **others):
    return [{"values": v, "seeds": 1, "measures": {"mse": {"value": m, **others}}} for v, m in values]


def test_params_that_go_with_the_first_share_its_line() -> None:
    chart = charts.study(rows(({"a": 2, "b": 30}, 60), ({"a": 1, "b": 10}, 10)), "mse", "error")
    assert (chart.x, chart.places) == ("a", [1, 2])
    assert [(line.label, line.values) for line in chart.lines] == [("ours", [10, 60])]


def test_params_that_vary_by_themselves_have_lines_of_their_own() -> None:
    cells = [({"a": a, "b": b}, 10 * a + b) for a in (1, 2, 3) for b in (0, 1) if (a, b) != (3, 1)]
    chart = charts.study(rows(*cells), "mse", "error")
    assert [(line.label, line.values) for line in chart.lines] == [("b 0", [10, 20, 30]), ("b 1", [11, 21, None])]


def test_published_figures_and_what_all_are_held_against_are_drawn() -> None:
    chart = charts.study(rows(({"a": 1}, 3), ({"a": 2}, 2), published=9.0, bound=1.0, spread=0.5), "mse", "error")
    assert [(line.label, line.values, line.spreads) for line in chart.lines] == [
        ("ours", [3, 2], [0.5, 0.5]),
        ("published", [9.0, 9.0], []),
    ]
    assert chart.levels == {"bound": 1.0}
    assert chart.said == "error over a: ours 3 at 1, 2 at 2; published 9 at 1, 9 at 2; bound 1."


def test_settings_that_are_no_numbers_stand_side_by_side() -> None:
    chart = charts.study(rows(({"a": "x"}, 3), ({"a": True}, 2)), "mse", "error")
    assert (chart.names, chart.places) == (["a x", "a True"], [0, 1])
    assert chart.lines[0].values == [3, 2]
    assert chart.said == "error over setting: ours 3 at a x, 2 at a True."
