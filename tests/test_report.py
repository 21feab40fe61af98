"""The report without a browser: its rows, its pictures, its file."""

import base64
import hashlib
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from cli_runs import finished, one_line, tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from report_records import board, changed, control, record, write

from glt.errors import DataUnavailable, GltError
from glt.report import pictures as drawing
from glt.report.collect import collect, rows_of
from glt.report.make import report
from glt.report.pictures import neighbourhood, pictures
from glt.report.render import INSTALL, json_text, render, script_text


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run of two seeds at two levels, with controls: its folder."""
    levels = ("-o", "schedule={name: geometric, levels: [3, 6]}", "-o", "controls=[random]")
    return finished(tmp_path_factory.mktemp("run"), tiny(2, "--seeds", "2", *levels))


def data_of(page):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])


def one(rows, **fields):
    found = [row for row in rows if all(row[key] == value for key, value in fields.items())]
    assert len(found) == 1, found
    return found[0]


def test_a_row_by_hand():
    dense = [record(0, seed, 0.8) for seed in range(3)]
    rows, verdicts = rows_of([*dense, *(record(5, seed, 0.80 + 0.01 * seed) for seed in range(3))])
    assert verdicts == [] and [row["kind"] for row in rows] == ["dense", "ticket"]
    row = one(rows, kind="ticket")
    assert row["test"] == pytest.approx(0.81) and row["spread"] == pytest.approx(0.01)
    assert row["difference"] == pytest.approx(0.01)
    half = 0.01 * 4.302653 / 1.959964 * 1.5**0.5  # the range, widened as three seeds ask for
    assert (row["low"], row["high"]) == (pytest.approx(0.01 - half), pytest.approx(0.01 + half))
    assert (row["search_x"], row["seconds_x"]) == (2, 6)
    assert (row["scorer"], row["track"], row["params"], row["seeds"]) == ("teddy", "all", 950, 3)
    assert row["options"] == [] and row["latency_ms"] is None and row["grid"] is None
    assert rows[0]["difference"] is None and rows[0]["search_x"] == 1


def test_too_few_seeds_have_no_interval_and_one_has_no_spread():
    rows, _ = rows_of([record(0, 0, 0.8), record(5, 0, 0.7), record(5, 1, 0.9), record(10, 0, 0.7)])
    assert one(rows, level=5)["low"] is None and one(rows, level=5)["spread"] is not None
    assert one(rows, level=10)["spread"] is None


def test_the_last_record_of_a_seed_counts_and_failures_are_counted():
    failed = {**record(5, 2, 0.0), "status": "failed"}
    mended = {**record(5, 1, 0.0), "status": "failed"}
    rows, _ = rows_of([failed, mended, record(5, 0, 0.1), record(5, 0, 0.8), record(5, 1, 0.8), {**failed, "level": 9}])
    assert one(rows, level=5) | {"seeds": 2, "failed": 1, "test": 0.8} == one(rows, level=5)
    assert len(rows) == 1, "a point without any finished seed is no row"


def test_what_was_killed_counts_as_failed(tmp_path):
    lost = [{**record(5, seed, 0.0), "status": "killed", "error": "out of memory?"} for seed in (1, 2)]
    for each in lost:
        del each["test"]
    found = collect([write(tmp_path / "a.jsonl", [record(5, 0, 0.8), *lost])])
    assert (one(found.rows, level=5)["failed"], found.passed_over) == (2, 0)


def test_experiments_are_kept_apart_by_what_matters():
    longer = changed({"schedule": {"name": "geometric", "levels": [5, 10, 15]}})
    wide = changed({"backbone": {"name": "gcn", "hidden": 64}})
    other = changed({"strategy": {"name": "teddy", "scorer": {"name": "random", "seed": 3}, "weight": 2}})
    records = [record(0, 0, 0.8), record(0, 1, 0.8, **longer), record(0, 0, 0.7, **wide), record(0, 2, 0.9, **other)]
    records += [record(5, 0, 0.8), record(5, 1, 0.6, **longer), record(5, 0, 0.7, **wide), record(5, 7, 0.5, **other)]
    rows, _ = rows_of(records)
    assert {(r["level"], tuple(r["options"]), r["scorer"], r["seeds"]) for r in rows} == {
        (0, (), "", 3),
        (0, ("hidden 64",), "", 1),
        (5, (), "teddy", 2),
        (5, ("hidden 64",), "teddy", 1),
        (5, ("weight 2",), "random (seed 3)", 1),
    }
    assert one(rows, level=5, scorer="random (seed 3)")["search_x"] is None, "it has no dense training of its seed"


def test_controls_are_rows_beside_their_ticket_with_a_verdict():
    tickets = [record(level, seed, 0.82 if level else 0.8) for level in (0, 10) for seed in range(3)]
    tested = [control("random", 10, s, 0.80) for s in range(3)] + [control("mlp", 10, s, 0.6) for s in range(3)]
    rows, verdicts = rows_of([*tickets, *tested])
    assert [(row["kind"], row["control"]) for row in rows] == [
        ("dense", ""),
        ("ticket", ""),
        ("control", "random"),
        ("control", "mlp"),
    ]
    assert rows[1]["best"]["name"] == "random" and rows[1]["best"]["difference"] == pytest.approx(0.02)
    assert rows[2]["at_graph"] == rows[1]["graph"] and rows[2]["search_x"] is None
    [(about, sentence)] = verdicts
    assert about == "cora, gcn, teddy, teddy, level 10" and sentence.startswith("The ticket beats the best control")


def test_controls_of_another_program_are_shown_without_a_verdict():
    foreign = {k: v for k, v in control("random", 10, 0, 0.7).items() if not k.startswith(("ticket_", "control_spec"))}
    rows, verdicts = rows_of([record(10, 0, 0.8), foreign])
    assert (
        verdicts == [] and one(rows, kind="control")["control"] == "random" and one(rows, kind="ticket")["best"] is None
    )


@pytest.mark.parametrize("key", ["edges", "ticket_test", "ticket_graph_sparsity", "ticket_weights", "val"])
@pytest.mark.parametrize("huge", [10**400, 1e308])
def test_controls_with_impossible_numbers_are_shown(key, huge, tmp_path):
    made = [control("random", 10, seed, 0.79, **{key: huge}) for seed in range(2)]
    path = write(tmp_path / "a.jsonl", [*(record(10, seed, 0.82) for seed in range(2)), *made])
    report([path], tmp_path / "r.html")
    shown = data_of((tmp_path / "r.html").read_text())
    assert {row["kind"] for row in shown["rows"]} == {"ticket", "control"} and shown["verdicts"] == []


def test_a_grid_says_which_sparsities_were_asked_for():
    grid = changed({"schedule": {"name": "grid", "graph": [0.2, 0.4], "weight": [0.5, 0.9]}})
    rows, _ = rows_of([record(2, 0, 0.8, **grid), record(3, 0, 0.8, **grid), record(40, 0, 0.8, **grid)])
    assert [row["grid"] for row in rows] == [[0.2, 0.9], [0.4, 0.5], None] and rows[0]["options"] == ["schedule grid"]


def test_what_glt_bench_measured_stands_beside_the_ticket(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    timed = {"benchmark": "latency", "target": "runs/c0ffee000000/seed0/level05.safetensors", "hops": None}
    said = [
        ("compact", 9.0, None),
        ("compact", 2.0, None),
        ("dense", 8.0, None),
        ("compact", 1.0, 2),
        ("pyg", 7.0, None),
    ]
    write(Path("runs/results.jsonl"), [record(0, 0, 0.8), record(5, 0, 0.8), record(10, 0, 0.8)])
    write(Path("runs/bench.jsonl"), [{**timed, "variant": name, "ms": ms, "hops": hops} for name, ms, hops in said])
    found = collect([Path("runs")])
    assert [(r["latency_ms"], r["latency_dense_ms"]) for r in found.rows] == [(None, None), (2, 8), (None, None)]
    assert found.passed_over == 0


@pytest.mark.parametrize(
    "bad",
    [
        {"seed": None},
        {"seed": True},
        {"level": "5"},
        {"test": float("nan")},
        {"test": "0.8"},
        {"graph_sparsity": None},
        {"status": "running"},
        {"config": 3},
        {"dataset": None},
        {"control": 7},
        {"control_spec": []},
        {"test": 10**400},
        {"test": 1e308},
        {"graph_sparsity": -(10**400)},
        {"level": 10**400},
        {"seed": -1},
    ],
)
def test_what_is_no_record_of_a_point_is_passed_over(tmp_path, bad):
    path = write(tmp_path / "a.jsonl", [record(0, 0, 0.8), record(5, 0, 0.8) | bad, {"benchmark": "scoring"}])
    found = collect([tmp_path, path])
    assert len(found.rows) == 1 and found.passed_over == 2 and found.files == {str(path): 1}


@pytest.mark.parametrize(
    "odd",
    [
        {"densities": [1]},
        {"densities": {"a": "b"}},
        {"val": None, "last_test": "x", "dense_test": None},
        {"config": {}},
        {"config": {"strategy": 3, "schedule": {"name": "grid", "graph": 7}}},
        {"config": {"strategy": {"name": "unheard of"}, "schedule": "geometric"}},
        {"search_epochs": "many", "params": float("inf")},
        {"metric": 5, "track": None},
        {"val": 10**400, "last_test": 1e308, "dense_test": -(10**400), "search_epochs": 10**400, "search_s": 1e308},
        {"params": 1e308, "densities": {"a": 10**400}, "macs": 10**400, "latency_ms": 10**400},
    ],
)
def test_partial_records_make_a_page(tmp_path, odd):
    path = write(tmp_path / "a.jsonl", [record(0, 0, 0.8) | odd, record(5, 0, 0.8) | odd])
    report([path], tmp_path / "r.html")
    assert len(data_of((tmp_path / "r.html").read_text())["rows"]) == 2


def test_the_page_from_a_run(main, monkeypatch, run, tmp_path):
    monkeypatch.chdir(run)
    output = tmp_path / "new" / "r.html"
    code, out, err = main("report", "-o", output, "--title", "<b>&")
    assert (code, err) == (0, "") and out == f"{output}: 5 rows of 10 records in 1 file(s)\n"
    page = output.read_text()
    assert "<title>&lt;b&gt;&amp;</title>" in page
    data = data_of(page)
    assert len(data["verdicts"]) == 2 and data["without_picture"] == {}
    [picture] = data["pictures"]
    assert picture["after"].keys() == {"3", "6"} and sum(picture["before"]) == pytest.approx(100, abs=0.01)
    row = one(data["rows"], kind="ticket", level=6)
    assert row["densities"].keys() == {"convs.0.lin.weight", "convs.1.lin.weight"} and row["search_x"] == 2
    assert page == (main("report", "-o", output, "--title", "<b>&"), output.read_text())[1], "the same page again"
    said = json.loads(main("report", "--json", "-o", output)[1])
    assert len(said["rows"]) == 5 and said["output"] == str(output)


def test_the_page_asks_for_nothing_and_runs_its_own_scripts_alone(tmp_path):
    report([write(tmp_path / "a.jsonl", board())], tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    assert "<img src=x" not in page and "\\u003cimg src=x onerror=alert(1)\\u003e" in page
    own = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r"""(src|href)=["']?(https?:)?//|@import|url\(""", own)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    assert policy.startswith("default-src 'none'; script-src 'sha256-") and "unsafe-eval" not in policy
    scripts = re.findall(r"<script>(.*?)</script>", page, flags=re.DOTALL)
    assert len(scripts) == 2
    for text in scripts:
        assert base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() in policy


def test_no_text_ends_its_element():
    data = {"a": "</script><script>alert(1)</script>", "b": float("nan"), 3: [float("inf"), "<!--", "&amp;", True]}
    text = json_text(data)
    assert not set("<>&") & set(text)
    assert json.loads(text) == {"a": data["a"], "b": None, "3": [None, "<!--", "&amp;", True]}
    assert script_text("'</script>' </SCRIPT ") == "'<\\/script>' <\\/SCRIPT "


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "there is no runs"),
        (["nothing"], "there is no nothing"),
        (["empty"], "no finished records in empty"),
        (["a.jsonl", "-o", "empty"], "it is a folder"),
    ],
)
def test_mistakes_are_one_line(main, arguments, said):
    Path("empty").mkdir()
    write(Path("empty/x.jsonl"), [{**record(0, 0, 0.8), "status": "failed"}])
    write(Path("a.jsonl"), [record(0, 0, 0.8)])
    code, out, err = main("report", *arguments)
    assert (code, out) == (2, "") and said in one_line(err)
    assert not Path("report.html").exists()


def test_without_plotly_it_says_what_to_install(monkeypatch, tmp_path):
    old = tmp_path / "r.html"
    old.write_text("old")
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    with pytest.raises(GltError, match=INSTALL):
        report([write(tmp_path / "a.jsonl", [record(0, 0, 0.8)])], old)
    assert old.read_text() == "old" and len(list(tmp_path.iterdir())) == 2


def test_a_title_is_no_template():
    assert "<title>{{data}}</title>" in render({"rows": []}, "{{data}}")


def records_of(run):
    return collect([run]).records


def test_a_picture_holds_what_the_tickets_hold(run):
    [picture], missing = pictures(records_of(run))
    assert missing == {} and picture["seed"] == 0
    drawn = picture["graph"]
    assert len(drawn["x"]) == len(drawn["y"]) == len(drawn["label"]) <= drawing.MOST_NODES
    assert max(map(max, drawn["edges"])) < len(drawn["x"])
    assert {len(kept) for kept in drawn["kept"].values()} == {len(drawn["edges"])}
    assert all(a >= b for a, b in zip(drawn["kept"][3], drawn["kept"][6], strict=True)), "tickets of TEDDY are nested"
    assert picture["isolated"][0] <= picture["isolated"][3] <= picture["isolated"][6]
    assert picture == pictures(records_of(run))[0][0]


def test_why_there_is_no_picture(run, tmp_path, monkeypatch):
    def gone(*args):
        def load(root):
            assert root is not None, "without a folder it would download"
            raise DataUnavailable("none")

        return load

    with monkeypatch.context() as patch:
        patch.setattr(drawing, "build", gone)
        made, missing = pictures(records_of(run))
    assert made == [] and "not on this machine" in next(iter(missing.values()))
    with monkeypatch.context() as patch:
        patch.setattr(drawing, "MOST_EDGES", 5)
        assert "is not loaded" in next(iter(pictures(records_of(run))[1].values()))
    assert pictures([(tmp_path, r) for _, r in records_of(run)]) == ([], {}), "no tickets beside the records"
    odd = [(folder, {**r, "config_id": "../x"}) for folder, r in records_of(run)]
    assert pictures(odd) == ([], {})
    ticket = next(run.rglob("seed0/level03.safetensors"))
    whole = ticket.read_bytes()
    try:
        ticket.write_bytes(whole[:100])
        assert "not a readable ticket" in next(iter(pictures(records_of(run))[1].values()))
    finally:
        ticket.write_bytes(whole)


def test_shares_of_degrees_by_hand():
    assert drawing._shares(np.array([0, 1, 1, 4]), [0, 1, 2]) == [25, 50, 25]
    assert [drawing._bin([0, 1, 5], i) for i in range(3)] == ["0", "1-4", "5+"]


@settings(max_examples=25)
@given(st.integers(1, 30), st.integers(0, 60), st.integers(1, 12), st.randoms(use_true_random=False))
def test_a_neighbourhood_is_small_and_connected(nodes, edges, most, random):
    pairs = {tuple(sorted(random.sample(range(nodes), 2))) for _ in range(edges)} if nodes > 1 else set()
    array = np.array(sorted(pairs), dtype=int).reshape(-1, 2).T
    found = neighbourhood(array, nodes, most)
    assert 1 <= len(found) <= most and len(set(found)) == len(found) and (np.diff(found) > 0).all()
    reached, todo = set(), [found[0]]
    inside = set(found.tolist())
    while todo:
        node = todo.pop()
        reached.add(node)
        todo += [b for p in pairs if node in p for b in p if b in inside and b not in reached and b != node]
    assert reached == inside


def test_of_two_components_the_one_without_a_hub_is_drawn():
    star = [(0, i) for i in range(1, 11)]
    path = [(i, i + 1) for i in range(11, 20)]
    assert neighbourhood(np.array(star + path).T, 21, 12).tolist() == list(range(11, 21))
