"""Rows and tables, by hand."""

import io

import pytest
from rich.console import Console

from glt.summary import mean_densities, summarise
from glt.tables import COLUMNS, cells, density_lines, markdown, summary_table

WIDER = 4.302653 / 1.959964 * 1.5**0.5
"""Of three seeds: Student's 97.5 % quantile over that of the normal law, and division by 2 instead of 3."""


def record(seed, level, test, dense=0.8, **changes):
    return {
        "seed": seed,
        "level": level,
        "status": "ok",
        "val": test + 0.01,
        "test": test,
        "dense_test": dense,
        "last_test": test - 0.1,
        "graph_sparsity": 0.05 * level,
        "weight_sparsity": 0.1 * level,
        **changes,
    }


def test_a_row_per_level_by_hand():
    rows = summarise(
        [
            record(0, 0, 0.8, 0.8),
            record(0, 2, 0.79, 0.8),
            record(1, 0, 0.82, 0.82),
            record(1, 2, 0.85, 0.82),
            record(2, 0, 0.84, 0.84),
            record(2, 2, 0.82, 0.84),
        ]
    )
    assert [(row.level, row.seeds) for row in rows] == [(0, 3), (2, 3)]
    dense, level = rows
    assert (dense.test, dense.spread) == (pytest.approx(0.82), pytest.approx(0.02))
    assert dense.difference == dense.low == dense.high == 0
    assert level.test == pytest.approx(0.82)
    assert level.spread == pytest.approx(0.03)  # of 0.79, 0.85, 0.82, by n - 1
    assert level.difference == pytest.approx(0.0, abs=1e-12)  # paired: -0.01, 0.03, -0.02
    # three times the same, 1 resample in 27: the least and the greatest, widened as three values ask for
    assert (level.low, level.high) == (pytest.approx(-0.02 * WIDER), pytest.approx(0.03 * WIDER))
    assert (level.val, level.last) == (pytest.approx(0.83), pytest.approx(0.72))
    assert (level.graph_sparsity, level.weight_sparsity) == (pytest.approx(0.1), pytest.approx(0.2))


def test_one_seed_has_no_spread():
    (row,) = summarise([record(3, 1, 0.75)])
    assert (row.seeds, row.spread) == (1, 0)
    assert row.difference == row.low == row.high == pytest.approx(-0.05)


def test_only_finished_records_count_and_of_each_point_the_last():
    rows = summarise(
        [
            record(0, 1, 0.1),
            {"seed": 1, "level": 1, "status": "failed", "error": "nan"},
            {"seed": 0, "level": 5, "status": "failed", "error": "nan"},
            record(0, 1, 0.7),
        ]
    )
    assert [(row.level, row.seeds, row.test) for row in rows] == [(1, 1, 0.7)]
    assert summarise([]) == []


def test_levels_are_in_order_however_they_came():
    assert [row.level for row in summarise([record(0, level, 0.5) for level in (10, 0, 2)])] == [0, 2, 10]


# --- tables


def test_cells():
    dense, level = summarise([record(s, i, t) for s in range(3) for i, t in ((0, 0.8), (4, (0.7, 0.8, 0.84)[s]))])
    assert cells(dense) == ("dense", "0.0 %", "0.0 %", "3", "81.0", "80.0 ± 0.0", "")
    assert cells(level) == ("4", "20.0 %", "40.0 %", "3", "79.0", "78.0 ± 7.2", "-2.0 [-23.5, +14.1]")


def test_two_seeds_are_too_few_for_an_interval():
    (row,) = summarise([record(0, 1, 0.75), record(1, 1, 0.95)])
    assert cells(row)[-1] == "+5.0"


def test_the_table_has_a_line_per_row():
    rows = summarise([record(0, 0, 0.8), record(0, 3, 0.7)])
    out = io.StringIO()
    Console(file=out, width=120).print(summary_table(rows, "teddy on cora, gcn", "roc_auc"))
    text = out.getvalue()
    assert "teddy on cora, gcn (roc-auc, %)" in text
    assert all(name in text for name in COLUMNS)
    assert sum("80.0 ± 0.0" in line for line in text.splitlines()) == 1
    assert sum("-10.0" in line for line in text.splitlines()) == 1


def test_markdown():
    table = markdown(["name", "a"], [["x", "1"], ["y", "2"]])
    assert table == "| name | a |\n| --- | --: |\n| x | 1 |\n| y | 2 |"


def test_densities_are_means_over_the_seeds_that_say_them():
    records = [{"densities": {"a": 0.5, "b": 1.0}}, {}, {"densities": {"a": 0.25, "b": 1.0}}]
    assert mean_densities(records) == {"a": 0.375, "b": 1.0}
    assert mean_densities([{}]) == {}, "older records do not"


def test_density_lines_name_the_layers_once():
    first = {"first": 0.5, "second": 0.125}
    lines = density_lines([("level 1", first), ("level 2", {}), ("level 3", first), ("mlp", {"other": 1.0})])
    assert [line.split() for line in lines] == [
        ["weights", "kept,", "%", "first", "second"],
        ["level", "1", "50.0", "12.5"],
        ["level", "3", "50.0", "12.5"],
        ["weights", "kept,", "%", "other"],
        ["mlp", "100.0"],
    ]
    assert lines[0].index("second") + len("second") == len(lines[1])


def test_density_lines_of_many_layers_are_no_wider_than_a_terminal():
    deep = {f"convs.{i}.mlp.0.weight": i / 100 for i in range(28)}
    lines = density_lines([("level 1", deep), ("level 2", deep)])
    assert max(map(len, lines)) <= 120
    blocks = [lines[i : i + 3] for i in range(0, len(lines), 3)]
    assert [name for block in blocks for name in block[0].split()[3:]] == list(deep)
    for row, level in ((1, "1"), (2, "2")):
        assert [float(cell) for block in blocks for cell in block[row].split()[2:]] == pytest.approx(range(28))
        assert {tuple(block[row].split()[:2]) for block in blocks} == {("level", level)}
    assert len(density_lines([("level 1", {"a" * 200: 0.5})])) == 2
