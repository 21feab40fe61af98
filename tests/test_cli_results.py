"""``glt results``, through the real entry point."""

import csv
import io
import json
from pathlib import Path

import pandas as pd
import pytest
from cli_runs import one_line
from hypothesis import given, settings
from hypothesis import strategies as st

from glt.index import Index, flat

pytestmark = pytest.mark.usefixtures("workplace")

CONFIG = {"strategy": {"name": "oneshot", "scorer": {"name": "dspar", "variant": "priority"}, "weight": 2}}


def record(dataset, seed, level, test, **more):
    sparsity = {"graph_sparsity": 0.1 * level}
    return {"config_id": dataset, "dataset": dataset, "seed": seed, "level": level, **sparsity, "test": test, **more}


def write(path, records, tail=""):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(r) + "\n" for r in records) + tail)
    return path


@pytest.fixture
def runs():
    write(
        "runs/one/results.jsonl",
        [
            record("cora", 0, 5, 0.7, status="failed"),
            record("cora", 0, 5, 0.8, status="ok", config=CONFIG, densities={"w": 0.5}),
            record("cora", 1, 5, 0.9, status="ok", config=CONFIG),
            record("csbm", 0, 5, 0.5, status="ok"),
        ],
        tail='{"config_id": "torn", "dataset": "co',
    )
    write("runs/one/a/controls.jsonl", [record("cora", 0, 5, 0.6, control="mlp", control_spec={"name": "mlp"})])


def rows(out):
    return [line.split() for line in out.splitlines()]


def test_where_finds_records_by_sql_and_the_last_of_a_point_counts(main, runs):
    query = "dataset='cora' and graph_sparsity>0.4 and control is null"
    code, out, err = main("results", "--where", query, "--columns", "seed,test", "--sort", "-test")
    assert (code, err) == (0, "")
    assert rows(out) == [["seed", "test"], ["1", "0.9"], ["0", "0.8"]]
    out = main("results", "--all", "--where", query, "--columns", "seed,test", "--sort", "test")[1]
    assert rows(out)[1:] == [["0", "0.7"], ["0", "0.8"], ["1", "0.9"]]


def test_torn_lines_are_passed_over_wherever_they_are(main):
    good = [json.dumps(record("cora", seed, 1, 0.5)) for seed in range(4)]
    text = "\n".join([good[0], good[1][:20], good[1], '"x"', "[1]", "", "\x00\x00", good[2], good[3][:-1]])
    Path("some.jsonl").write_text(text)
    code, out, err = main("results", "some.jsonl", "--columns", "seed")
    assert (code, err) == (0, "") and rows(out) == [["seed"], ["0"], ["1"], ["2"]]


def test_parts_of_the_config_have_short_names(main, runs):
    query = ("--columns", "strategy,scorer,strategy_weight,densities", "--where", "scorer='dspar' and seed=0")
    assert rows(main("results", *query)[1])[1] == ["oneshot", "dspar", "2", '{"w":', "0.5}"]


def test_groups_have_mean_and_unbiased_deviation(main, runs):
    code, out, _ = main(
        "results", "--group", "dataset", "--columns", "test", "--where", "control is null", "--sort", "-n"
    )
    assert code == 0
    assert rows(out) == [
        ["dataset", "n", "failed", "test", "test_std"],
        ["cora", "2", "0", "0.85", "0.07071"],
        ["csbm", "1", "0", "0.5"],
    ]


def test_groups_count_and_average_what_was_finished(main):
    lost = [record("cora", seed, 5, 0.1, status=status) for seed, status in ((1, "failed"), (2, "killed"))]
    write("runs/results.jsonl", [record("cora", 0, 5, 0.7, status="ok"), *lost])
    query = ("--group", "dataset", "--columns", "test", "--sort", "-failed")
    assert rows(main("results", *query)[1])[1] == ["cora", "1", "2", "0.7"]
    by_status = rows(main("results", "--group", "status", "--columns", "test", "--sort", "status")[1])[1:]
    assert by_status == [["failed", "0", "1"], ["killed", "0", "1"], ["ok", "1", "0", "0.7"]]


def test_a_text_has_no_mean(main, runs):
    code, out, err = main("results", "--group", "level", "--columns", "dataset,test")
    assert (code, out) == (2, "") and "--columns dataset" in one_line(err) and "group by it" in err
    write("mixed.jsonl", [record("cora", 0, 5, "none"), record("cora", 1, 5, 0.5)])
    assert rows(main("results", "mixed.jsonl", "--group", "dataset", "--columns", "test")[1])[1][-1] == "0.5"


def test_a_condition_may_ask_for_what_no_record_has(main):
    query = ("--group", "dataset,method", "--columns", "test", "--where", "control is null and status is null")
    write("runs/results.jsonl", [record("cora", 0, 5, 0.7, method="teddy")])
    code, out, err = main("results", *query)
    assert (code, err) == (0, "") and rows(out)[1] == ["cora", "teddy", "1", "0", "0.7"]
    assert "control" not in main("results", "--columns", "all")[1]


@pytest.mark.parametrize("huge", ["1e999", "-1e999", "NaN", "1e308", "1" + "0" * 400])
def test_json_holds_no_number_that_json_does_not_know(main, huge):
    def refuse(name):
        raise AssertionError(name)

    rest = [record("cora", 1, 5, 1e308), record("csbm", 0, 5, 0.5)]
    text = json.dumps(record("cora", 0, 5, 0.7)).replace("0.7", huge) + "\n"
    Path("some.jsonl").write_text(text + "".join(json.dumps(r) + "\n" for r in rest))
    for options in ((), ("--group", "dataset", "--columns", "test", "--sort", "-dataset")):
        code, out, err = main("results", "some.jsonl", *options, "-o", "json")
        found = json.loads(out, parse_constant=refuse)
        assert (code, err) == (0, "") and found[0]["test"] in (0.5, 1e308, None, huge)
    assert [row["test"] for row in found] == [0.5, None]


def test_forms(main, runs):
    query = ("--columns", "dataset,seed,control,test", "--sort", "test")
    table = [["csbm", 0, None, 0.5], ["cora", 0, "mlp", 0.6], ["cora", 0, None, 0.8], ["cora", 1, None, 0.9]]
    names = ["dataset", "seed", "control", "test"]
    text = [["" if cell is None else str(cell) for cell in row] for row in table]
    assert list(csv.reader(io.StringIO(main("results", *query, "-o", "csv")[1]))) == [names, *text]
    assert json.loads(main("results", *query, "-o", "json")[1]) == [dict(zip(names, row, strict=True)) for row in table]
    assert main("results", *query, "-o", "md")[1].splitlines()[2] == "| csbm | 0 |  | 0.5 |"
    for name in ("out.csv", "out.json", "out.md", "out.parquet"):
        code, out, err = main("results", *query, "-o", name)
        assert (code, out, err) == (0, "", "") and Path(name).stat().st_size
    assert pd.read_parquet("out.parquet")["test"].tolist() == [0.5, 0.6, 0.8, 0.9]
    assert Path("out.csv").read_text() == main("results", *query, "-o", "csv")[1]


def test_nothing_found_is_said(main, runs):
    code, out, err = main("results", "--where", "seed=9", "--columns", "seed")
    assert (code, out) == (0, "seed\n") and err == "no record matches in 2 files\n"


@pytest.mark.parametrize(
    "where",
    [
        "graf>1",
        "seed=",
        "seed=1)",
        "1; drop table results",
        "load_extension('x')",
        "",
        "\0",
        "seed in (select 1 from x)",
    ],
)
def test_a_bad_expression_is_one_line_that_quotes_it_and_lists_the_columns(main, runs, where):
    code, out, err = main("results", "--where", where)
    assert (code, out) == (2, "") and repr(where) in one_line(err) and "graph_sparsity" in err


@pytest.mark.parametrize(
    "where",
    ["1) union select sql from sqlite_master where (1", "exists (select * from sqlite_master)", "1 and (pragma x)"],
)
def test_a_condition_reads_this_table_and_nothing_else(main, runs, where):
    code, out, err = main("results", "--where", where, "--columns", "seed")
    assert (code, out) == (2, "") and one_line(err)


def test_other_mistakes(main, runs, tmp_path):
    assert "did you mean 'dataset'" in one_line(main("results", "--columns", "datset")[2])
    assert "unknown column" in one_line(main("results", "--sort", "-nothing")[2])
    assert "unknown column" in one_line(main("results", "--group", "nothing")[2])
    assert ".parquet" in one_line(main("results", "-o", "parquet")[2])
    assert "'x.xlsx'" in one_line(main("results", "-o", "x.xlsx")[2])
    assert "nowhere" in one_line(main("results", "nowhere")[2])
    (tmp_path / "empty").mkdir()
    assert "results.jsonl" in one_line(main("results", "empty")[2])
    Path("torn.jsonl").write_text('{"a')
    assert "no record" in one_line(main("results", "torn.jsonl")[2])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=6,
)


@settings(max_examples=15)
@given(st.lists(st.dictionaries(st.text(min_size=1, max_size=4), JSON, max_size=4), min_size=1, max_size=3))
def test_any_records_become_a_table(records):
    path = write("any.jsonl", records)
    index = Index([path], every=True)
    names, found = index.select()
    assert len(found) == len(records) and len(names) == len({name.lower() for name in names})
    assert set(map(str.lower, index.columns)) == {k.lower() for r in records for k in [*flat(r), "path"]}
