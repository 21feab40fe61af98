"""The comparison of methods: its tables and pictures from made-up records, its controls from small real tickets."""

import json
import sys
from pathlib import Path

import pytest

from glt import allocator
from glt.config import Config
from glt.errors import GltError
from glt.pipeline import Run
from glt.pipeline import run as search
from glt.results import Results

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))
import accuracy
import compared
import controls
import kernels
import large
import speed
import speed_epoch
import speed_together
import tables
from collapse import collapse
from found import LEVELS, Found, wanted
from plots import plot_methods

CORA = ("cora", "gcn")


def record(where, level, seed, test, **changes):
    """A finished point of a configuration; the last epoch is a point worse, dense is at 0.8."""
    config = accuracy.experiments()[accuracy.compared(*where)]
    return {
        "config": config.spec(),
        "seed": seed,
        "level": level,
        "status": "ok",
        "val": test,
        "test": test,
        "last_test": test - 0.01,
        "dense_test": 0.8,
        "graph_sparsity": 1 - 0.95**level,
        "weight_sparsity": 1 - 0.9**level,
        "search_epochs": 200 * max(level, 1),
        "search_s": 2.0 * max(level, 1),
        **changes,
    }


def points(method, teacher="alone", test=0.8, seeds=5, place=CORA, levels=(0, *LEVELS), **changes):
    where = (method, teacher, *place)
    wobble = [0.001 * (seed % 2) for seed in range(seeds)]
    return [record(where, n, s, (test if n else 0.8) + wobble[s], **changes) for n in levels for s in range(seeds)]


def control(name, method="teddy", teacher="alone", test=0.8, levels=LEVELS, **changes):
    spec = {"control": name, "control_spec": {"name": name}, "ticket_sha256": "x", **changes}
    return points(method, teacher, test, levels=levels, **spec)


def cells(table, *start):
    """The cells of the first line that begins with these."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    return next(line for line in lines if tuple(line[: len(start)]) == start)


# --- finding


def test_four_seeds_are_not_shown():
    assert Found(points("teddy")).row(("teddy", "alone", *CORA), 5).seeds == 5
    assert Found(points("teddy", seeds=4)).row(("teddy", "alone", *CORA), 5) is None


def test_other_levels_are_the_same_search_and_other_options_are_not():
    few = points("teddy")
    for r in few:
        r["config"]["schedule"] = {**r["config"]["schedule"], "levels": [10, 20]}
    assert Found(few).point(("teddy", "alone", *CORA), 10)
    for r in few:
        r["config"]["schedule"] = {**r["config"]["schedule"], "weight_rate": 0.3}
    assert not Found(few).point(("teddy", "alone", *CORA), 10)


def test_teddy_taught_by_all_nodes_is_the_published_one():
    assert accuracy.compared("teddy", "all", *CORA) == "teddy-cora-gcn"
    assert accuracy.compared("teddy", "all", "cora", "gat-64") == "teddy-all-cora-gat-64"
    assert Found(points("teddy", "all")).point(("teddy", "all", *CORA), 20)


def test_every_name_is_a_configuration():
    known = accuracy.experiments()
    names = [accuracy.compared(m, t, *p) for m in accuracy.METHODS for t in accuracy.TEACHERS for p in accuracy.PLACES]
    assert set(names) < set(known) and len(set(names)) == len(names)
    assert set(controls.ASKED) < set(known)
    assert len({known[name].id for name in names}) == len(names), "two names of one search"


# --- tables


def test_the_best_at_the_last_level_comes_first_whatever_it_is():
    found = Found([*points("teddy", test=0.7), *points("ugs", test=0.75)], control("width_matched", test=0.79))
    table = compared.methods(found, CORA)
    names = [line.split("|")[1].strip() for line in table.splitlines() if "| no teacher |" in line]
    assert names == ["*narrower dense network*", "UGS", "TEDDY"]


def test_a_line_of_methods_by_hand():
    line = cells(compared.methods(Found(points("ugs", "all", test=0.75)), CORA), "UGS")
    assert line[1:6] == ["all nodes", "75.0 ± 0.1", "75.0 ± 0.1", "75.0 ± 0.1", "75.0 ± 0.1"]
    assert line[6] == line[7] == "-5.0 [-5.0, -4.9]"  # 0.75 and 0.751 beside 0.8
    assert line[8] == "20", "20 times 200 epochs beside 200"


def test_the_mlp_stands_at_every_level():
    found = Found(points("teddy"), control("mlp", levels=(20,), test=0.6))
    assert cells(compared.methods(found, CORA), "*MLP, no graph*")[2:6] == ["60.0 ± 0.1"] * 4
    assert cells(compared.summary(found), "*MLP, no graph*")[2:4] == ["60.0 ± 0.1"] * 2


def test_bold_is_what_is_not_shown_to_fall_behind_dense():
    found = Found([*points("teddy", test=0.8), *points("teddy", "all", test=0.7)])
    assert cells(compared.summary(found), "TEDDY")[2:] == [
        *["**80.0 ± 0.1**"] * 2,
        *[""] * 2,
        *["70.0 ± 0.1"] * 2,
        "20",
    ]


def test_parts_by_hand():
    found = Found(
        [
            *points("teddy", test=0.7),
            *points("teddy", "all", test=0.78),
            *points("random", "all", test=0.76),
            *points("random-edges", "all", test=0.77),
        ],
        control("width_matched", teacher="all", test=0.79),
    )
    line = cells(compared.parts(found, CORA), "TEDDY", "all nodes", "20")
    assert line[3] == "+2.0 [+2.0, +2.0]"
    assert line[4] == "-1.0 [-1.0, -1.0] (narrower dense network)"
    assert line[5] == "+8.0 [+8.0, +8.0]"
    assert line[6] == "+1.0 [+1.0, +1.0]"
    gains = cells(compared.gains(found), "Cora, GCN", "20")
    assert gains[2:] == ["", "", *["+1.0 [+1.0, +1.0]"], "", *["+8.0 [+8.0, +8.0]"], *["+1.0 [+1.0, +1.0]"] * 2]


def test_differences_are_paired_by_seed():
    one, other = points("teddy", "all"), points("random-edges", "all")
    for i, (a, b) in enumerate(zip(one, other, strict=True)):
        a["test"], b["test"] = 0.7 + 0.01 * (i % 5), 0.6 + 0.01 * (i % 5)
    gains = cells(compared.gains(Found([*one, *reversed(other)])), "Cora, GCN", "20")
    assert gains[4] == "+10.0 [+10.0, +10.0]"


def test_what_is_missing_and_what_failed_is_said():
    failed = {**record(("imp", "all", *CORA), 20, 3, 0.5), "status": "failed", "error": "nan"}
    found = Found([*points("teddy"), failed])
    said = compared.missing(found, [CORA])
    assert said == (
        "Not yet measured: TEDDY (held-out, all nodes); TEDDY, random edges; IMP, TEDDY's edges; UGS; random; "
        "controls. "
        "Failed: Cora, GCN, IMP, TEDDY's edges (all nodes): 1 seed(s)."
    )
    assert "Cora, GAT-64: everything." in compared.missing(found)
    mended = Found([failed, {**failed, "status": "ok"}])
    assert "Failed" not in compared.missing(mended, [CORA])


def test_nothing_is_missing_when_all_is_there():
    everything = [r for m in accuracy.METHODS for t in accuracy.TEACHERS for r in points(m, t)]
    kept = [
        r
        for m in accuracy.METHODS
        for t in accuracy.TEACHERS
        for level, names in wanted(m, t).items()
        for name in names
        for r in control(name, m, t, levels=(level,))
    ]
    assert compared.missing(Found(everything, kept), [CORA]) == ""


def test_no_records_give_tables_that_say_so():
    found = Found([])
    assert compared.methods(found, CORA) == "<sub>Not yet measured: everything.</sub>"
    assert compared.parts(found, CORA) == ""
    assert "Cora, GCN: everything" in compared.summary(found)
    assert "Not yet measured: TEDDY; " in compared.searches(found)


def test_the_collapse_of_masks_by_hand():
    said = {"mask_epoch": 30, "mask_val": 0.75, "mask_last_val": 0.3}
    table = collapse(Found(points("ugs", **said)))
    assert cells(table, "Cora, GCN", "no teacher", "20")[3:] == ["30", "75.0", "30.0"]
    assert "Cora, GCN (no teacher)" not in table and "Cora, GCN (held-out)" in table
    assert collapse(Found(points("ugs"))).startswith("<sub>Not recorded: Cora, GCN (no teacher)")


def test_searches_by_hand():
    gebt = points("gebt", test=0.7, drawn_at=40, settled=True, search_epochs=240)
    for r in gebt:
        r["search_epochs"] = 240 if r["level"] else 200
    table = compared.searches(Found([*points("ugs", test=0.75), *gebt]))
    assert cells(table, "UGS")[1:5] == ["800", "5.0", "5.0", "75.0 ± 0.1"]
    assert cells(table, "GEBT")[1:4] == ["40", "1.2", "5.0"]
    assert "Level 5: GEBT draws its masks after 40 epochs (5 of 5 had settled); 20 times as many for UGS." in table


# --- picture


def test_a_picture_where_there_is_something(tmp_path):
    path = tmp_path / "it.png"
    assert not plot_methods(path, Found([]), CORA) and not path.exists()
    assert plot_methods(path, Found([*points("teddy"), *points("ugs", "all")], control("width_matched")), CORA)
    assert path.read_bytes().startswith(b"\x89PNG")


# --- controls


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A config with the tickets of two levels and three seeds, and their folder."""
    runs = tmp_path_factory.mktemp("runs")
    config = Config.load(
        None,
        ["strategy.weight=1"],
        {
            "dataset": {"name": "csbm", "nodes": 120, "classes": 3, "features": 30, "avg_degree": 4},
            "backbone": {"name": "gcn", "hidden": 8},
            "schedule": {"name": "geometric", "levels": [2, 4]},
            "train": {"epochs": 3},
            "seeds": 3,
        },
    )
    list(search(Run(config, Results(runs / "results.jsonl"), runs / config.id)))
    return config, runs


def test_controls_are_recorded_once_and_apart_from_the_tickets(small, tmp_path):
    config, runs = small
    results = tmp_path / "controls.jsonl"
    which = ["width_matched", "mlp_distilled", "shuffled"]
    made = list(controls.run(config, 4, which, runs, results))
    assert [(r["seed"], r["control"], r["level"]) for r in made] == [(s, c, 4) for s in range(3) for c in which]
    assert [json.loads(line) for line in results.read_text().splitlines()] == made
    assert {r["status"] for r in made} == {"ok"}
    before = results.read_bytes()
    assert list(controls.run(config, 4, which, runs, results)) == made
    assert results.read_bytes() == before
    assert not list(runs.rglob("controls.jsonl"))


def test_missing_tickets_are_named(small, tmp_path):
    config, runs = small
    assert controls.tickets(config, 2, runs)[1] == []
    files, missing = controls.tickets(config, 3, runs)
    assert len(files) == 3 and missing == files


def test_missing_tickets_are_one_line(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(controls, "RUNS", tmp_path)
    monkeypatch.setattr(controls, "keep_freed_memory", lambda: None)
    with pytest.raises(SystemExit) as end:
        controls.main(["ugs-all-cora-gcn"], standalone_mode=False)
    assert end.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "ugs-all-cora-gcn, level 20: 5 of 5 tickets are missing" in line
    assert "python benchmarks/accuracy.py ugs-all-cora-gcn" in line


# --- several seeds at once


def test_seeds_together_are_measured_and_checked(monkeypatch):
    csbm = {"name": "csbm", "nodes": 120, "features": 30}
    found = speed_together.run(csbm, "gcn", 8, 2, 3, "cpu", seeds=3)
    assert found["parameters"]["seeds"] == 3 and found["repetitions"] == 2
    assert found["ratio"] == pytest.approx(found["ours"] / found["peer"], rel=0.01)
    monkeypatch.setattr(speed_together, "NODES", -1)
    with pytest.raises(GltError, match="seed 0 scores"):
        speed_together.run(csbm, "gcn", 8, 1, 3, "cpu", seeds=3)
    with pytest.raises(GltError, match="not trained with the others: no: "):
        speed_together.run(csbm, "gcnii", 8, 1, 3, "cpu", seeds=3)


def test_what_no_gpu_has_measured_is_said_to_be_so():
    parameters = {"dataset": "cora", "backbone": "gcn", "hidden": 512, "seeds": 10, "epochs": 200}
    made = {"glt": "0", "commit": "c", "torch": "t", "pyg": "p", "python": "3", "threads": 1}
    r = {"benchmark": "together", "parameters": parameters, "ours": 6.0, "peer": 2.0, "ratio": 3.0, **made}
    assert "not yet measured" in tables.together([{**r, "device": "cpu: one"}])
    assert "| Cora, GCN, 512 hidden | 10 | 6.00 | 2.00 | 3.0 |" in tables.together([{**r, "device": "cuda: one"}])


def test_every_figure_that_a_gpu_is_to_reach_stands_there_before_it_is_measured(monkeypatch):
    """Figures, and the commands that measure them; what the CPU measured is not taken for them."""
    small = {"nodes": 150, "avg_degree": 4, "features": 20, "words": 5}
    monkeypatch.setitem(speed_epoch.GENERATED, "csbm-arxiv", small)
    monkeypatch.setattr(speed_epoch, "bandwidth", lambda device: {"copy_gb_s": 8.0})
    made = {"glt": "0", "commit": "c", "torch": "t", "pyg": "p", "python": "3", "threads": 1}
    r = {**speed_epoch.run("csbm-arxiv", "gcn", 1, 1, 2, hidden=256), **made}
    name = "epochs/s, glt : stock PyG; csbm, arxiv-sized, GCN, 256 hidden"
    floor = name.replace("epochs/s, glt : stock PyG", "time of an epoch : bandwidth floor of its sparse products")
    assert cells(large.gpu([]), name) == [name, "at least 2", *["not yet measured"] * 2]
    assert cells(large.gpu([{**r, "device": "cpu: one"}]), name)[2:] == ["not yet measured", f"{r['ratio']:.1f}"]
    table = large.gpu([{**r, "device": "cuda: one"}])
    assert cells(table, name)[2:] == [f"{r['ratio']:.1f}", "not yet measured"]
    assert cells(table, floor)[1:3] == ["at most 2", f"{r['times_floor']:.1f}"]
    commands = [line.split("#")[0].split()[1:] for line in table.splitlines() if line.startswith("python ")]
    assert len(commands) == 4
    for script, *options in commands:
        main = {"benchmarks/speed.py": speed.main, "benchmarks/kernels.py": kernels.main}[script]
        assert main.make_context(script, options).params["device"] == "cuda"


def test_memory_of_batches_is_said_to_be_missing_until_it_is_measured():
    assert large.batches([]) == "Not yet measured: `python benchmarks/speed.py batches`."
    made = {"device": "cpu: one", "glt": "0", "commit": "c", "torch": "t", "pyg": "p", "python": "3", "threads": 1}
    r = {
        "benchmark": "batches",
        "parameters": {"nodes": 2000, "backbone": "gat"},
        "ours": 1234.5,
        "epoch_s": 0.25,
        **made,
    }
    table = large.batches([{**r, "way": "10 parts"}, {**r, "way": "whole graph"}])
    assert [line for line in table.splitlines() if "GAT" in line] == [
        "| GAT | 2,000 | whole graph | 1,234 | 0.2 |",
        "| GAT | 2,000 | 10 parts | 1,234 | 0.2 |",
    ]


def test_accuracy_is_a_sweep(monkeypatch, tmp_path):
    """Its records and tickets are where they were, and a dense training is shared."""
    monkeypatch.setattr(allocator, "keep_freed_memory", lambda: None)
    monkeypatch.setattr(accuracy, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(accuracy, "RESULTS", tmp_path / "accuracy.jsonl")
    dataset = {"name": "csbm", "nodes": 120, "classes": 3, "features": 30, "avg_degree": 4}
    small = {"dataset": dataset, "backbone": {"name": "gcn", "hidden": 8}, "train": {"epochs": 2}, "seeds": 2}
    levels = {"name": "geometric", "levels": 1}
    known = {name: Config(strategy=name, schedule=levels, **small) for name in ("teddy", "imp")}
    monkeypatch.setattr(accuracy, "experiments", lambda: known)
    for _ in range(2):  # nothing is repeated
        with pytest.raises(SystemExit) as end:
            accuracy.main(["imp", "teddy", "--threads", "1"], standalone_mode=False)
        assert not end.value.code
    records = list(Results(tmp_path / "accuracy.jsonl"))
    assert {(r["config_id"], r["seed"], r["level"]) for r in records} == {
        (config.id, seed, level) for config in known.values() for seed in (0, 1) for level in (0, 1)
    }
    assert len(records) == 8
    assert all((tmp_path / "runs" / c.id / "seed1" / "level01.safetensors").exists() for c in known.values())
    assert len(list(tmp_path.glob("runs/shared/dense/*/seed*.safetensors"))) == 2
