"""What the README says of latency and of epochs by level: from made-up records, and small measurements."""

import sys
from pathlib import Path

import pytest
from test_benchmarks import cells, control, points

from glt.registry import build

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))
import latency
import speed_levels
from found import Found
from latencies import latency as table_of_latency
from latencies import levels, plot_latency, tradeoff

PROVENANCE = {
    **{"glt": "0", "torch": "2", "pyg": "2", "python": "3", "commit": "abc", "dirty": False},
    **{"device": "cpu: here", "threads": 2},
}


def timed(method, ms, teacher="alone", level=20):
    place = {"dataset": "cora", "backbone": "gcn"}
    parameters = {**place, "method": method, "teacher": teacher, "level": level}
    return {"benchmark": "latency of accuracy", "parameters": parameters, "ours": ms, **PROVENANCE}


def found(ticket=0.78, narrow=0.79):
    return Found([*points("teddy", test=ticket), *points("ugs", test=0.7)], control("width_matched", test=narrow))


def test_without_records_the_tables_say_so():
    assert table_of_latency([]).startswith("Not yet measured on a quiet machine: `python benchmarks/latency.py aims`")
    assert levels([]).startswith("Not yet measured")
    assert tradeoff(found(), [], "x.png").startswith("Not yet measured")


def test_a_narrower_network_that_is_faster_and_as_accurate_is_said_so():
    records = [timed("teddy", 2.0), timed("ugs", 0.5), timed("width_matched", 1.0), timed("dense", 9.0, level=0)]
    text = tradeoff(found(), records, "x.png")
    assert (
        "In 1 of 2 settings a dense network with as many weights" in text
        and "for speed: Cora TEDDY, no teacher: 20." in text
    )
    assert "![Accuracy against latency](x.png)" in text
    assert cells(text, "Cora, TEDDY") == ["Cora, TEDDY", "", "2.0 ms, 78.0 ± 0.1", "", ""]
    assert cells(text, "Cora, narrower dense")[2] == "1.0 ms, 79.0 ± 0.1"
    assert {cell.split(",")[0] for cell in cells(text, "Cora, dense")[1:]} == {"9.0 ms"}
    assert "In none of 2 settings" in tradeoff(found(ticket=0.8), records, "x.png")


def test_a_picture_where_there_is_something(tmp_path):
    path = tmp_path / "it.png"
    assert not plot_latency(path, found(), []) and not path.exists()
    assert plot_latency(path, found(), [timed("teddy", 2.0), timed("dense", 9.0, level=0)])
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.fixture(scope="module")
def measured():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(latency, "QUICK", {"name": "csbm", "nodes": 120, "features": 30})
        return latency.aims("csbm", "gcn", 16, "unit", 1, 0, "cpu")


def test_records_of_the_aims(measured):
    whole = [r for r in measured if r["parameters"]["query"] == "full graph"]
    assert [r["parameters"]["variant"] for r in whole][:2] == ["stock PyG", "dense"]
    (compact,) = [r for r in whole if r["parameters"]["variant"] == "compact"]
    macs = compact["macs"]
    assert compact["promised"] == pytest.approx(macs["dense"] / macs["ticket"], abs=1e-3)
    assert compact["share"] == pytest.approx(compact["ratio"] / compact["promised"], abs=1e-2)
    assert compact["repetitions"] == 1 and 0 < compact["disk_compact"] < compact["disk"]


def test_the_table_of_the_aims(measured):
    records = []
    for r in measured:
        for granularity in ("element", "unit"):
            named = {**r["parameters"], "dataset": "cora", "hidden": 512, "granularity": granularity}
            records.append({**r, **PROVENANCE, "parameters": named})
    line = cells(table_of_latency(records), "Cora, GCN-512")
    assert line[4] == "10" and line[3] == line[6] and "% of " in line[5]


def test_epochs_by_level_on_the_live_part(monkeypatch):
    data = build("datasets", {"name": "csbm", "nodes": 120, "classes": 3, "features": 30})()
    monkeypatch.setattr(speed_levels, "graph_of", lambda name: data)
    monkeypatch.setattr(speed_levels, "LEVELS", (0, 20))
    dense, sparse = speed_levels.run("cora", "gcn", 16, 1, 1, 2, 3)
    assert (dense["ratio"], dense["live_units"], dense["live_features"]) == (1.0, 16, 30)
    assert sparse["live_units_unit"] < 16 and sparse["arcs"] < dense["arcs"]
    assert {f"{way}{of}" for way in ("frozen", "live", "random", "random_live") for of in ("", "_unit")} <= set(sparse)
    lines = levels([{**r, **PROVENANCE} for r in (sparse, dense)])
    assert cells(lines, "Cora, GCN-16")[1] == "0", "levels ascend"
