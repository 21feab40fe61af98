"""What the README says of the board: from a made-up one."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))
import board
from test_benchmarks import cells


def row(method, rank, reach, marks, backbone="gcn (hidden 64)", track="held-out"):
    claims = [
        {"mark": mark, "narrow_mark": "loses", "graph_sparsity": 0.1 * (i + 1), "test": 0.8 - 0.01 * rank}
        for i, mark in enumerate(marks)
    ]
    return {
        **{"track": track, "dataset": "cora", "backbone": backbone, "method": method, "seeds": 3, "dense": 0.81},
        "path": board.PATH,
        **{"ranks": {"graph.area": rank} if rank else {}, "claims": claims},
        "scalars": {"graph": {"s": {"0.0": 0.0, "0.5": 0.0, "1.0": reach}}},
    }


def places(tmp_path, *rows):
    file = tmp_path / "leaderboard.json"
    file.write_text(json.dumps({"rows": rows}), encoding="utf-8")
    return board.rows(file)


ROWS = (
    row("random", 2, 0.0, ["ties", "loses"]),
    row("ugs (edge_l1 0.001, weight_l1 0.001)", 1, 0.226, ["beats", "ties"]),
    row("teddy (scorer degree)", 3, None, ["", "loses"]),
    row("random", 1, 0.5, ["ties", "ties"], "gin (hidden 64, mlp_layers 1)"),
    row("imp", 0, 0.0, ["ties"]),
    row("gebt", 1, 0.0, ["ties"], track="open"),
)


def test_without_a_board_the_table_says_how_to_make_one(tmp_path):
    assert board.rows(tmp_path / "none.json") == {}
    assert board.ranking({}).startswith("Not yet measured: `make bench-board`")


def test_the_ranking_by_hand(tmp_path):
    text = board.ranking(places(tmp_path, *ROWS))
    lines = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("|")]
    assert lines == ["", "---", "random", "UGS", "TEDDY, 1/d edges", "*dense, test %*"]
    assert cells(text, "UGS") == ["UGS", "1 (23 %)", "", "", "1 / 1 / 0", "0 / 0 / 2"]
    assert cells(text, "random") == ["random", "2 (0 %)", "1 (50 %)", "1.5", "0 / 3 / 1", "0 / 0 / 4"]
    assert cells(text, "TEDDY, 1/d edges")[1] == "3"
    assert "Cora, GCN-64" in text and "Cora, GIN-64" in text
    assert f"3 seeds; {board.PATH}. Not there: Cora, GIN-64: TEDDY, 1/d edges, UGS." in text


def test_wins_and_losses_are_counted(tmp_path):
    assert board.counts(places(tmp_path, *ROWS)) == (
        "All methods together, 8 operating points: 1 / 4 / 2 beat / tie with / lose to the best control that is as "
        "sparse, 0 / 0 / 8 a narrower dense network."
    )


def test_rows_of_another_path_stay_out(tmp_path):
    other = {**row("imp", 1, 0.9, ["beats"]), "path": "5 % of edges and 20 % of weights a level"}
    same = {**row("imp", 1, 0.9, ["beats"]), "path": board.PATH, "trained_by": "cpu: X, 1 thread(s); glt 1 at abc"}
    assert board.rows(tmp_path / "none.json") == places(tmp_path, other) == {}
    assert "Trained on cpu: X, 1 thread(s); glt 1 at abc." in board.ranking(places(tmp_path, other, same))


def test_an_unknown_option_keeps_its_label():
    assert board.called("teddy (scorer jaccard)") == "teddy (scorer jaccard)"
    assert board.called("wd_glt (nodes 512)") == "WD-GLT"


def test_a_picture_where_there_is_something(tmp_path):
    path = tmp_path / "board.png"
    assert not board.plot(path, {}) and not path.exists()
    assert board.plot(path, places(tmp_path, *ROWS))
    assert path.read_bytes().startswith(b"\x89PNG")
