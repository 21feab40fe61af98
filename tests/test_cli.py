"""The command line, through its real entry point."""

import json
import os
import shlex
import socket
import subprocess
import sys
import warnings
from pathlib import Path

import click
import numpy as np
import pytest
import torch
from cli_runs import CSBM, finished, one_line, tiny
from reference import ogb_files
from reference.scorers import MODEL_FREE, NEEDS_MODEL

import glt
from glt import allocator, cli, pipeline, ticket_file
from glt.allocate import densities
from glt.edgelist import EdgeList, read, write
from glt.layers import LAYERS
from glt.registry import FAMILIES, build, names
from glt.results import Results
from glt.sparsify import keep_arcs
from glt.ticket import Ticket

TINY = tiny(4)
COMMANDS = ("run", "list", "show", "verify", "controls", "sparsify", "export", "cost", "bench")
HERE = Path(glt.__file__).parents[1]


pytestmark = pytest.mark.usefixtures("workplace")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A finished run, not to be changed: its folder."""
    return finished(tmp_path_factory.mktemp("made"), TINY)


@pytest.fixture
def ticket(made):
    (path,) = made.glob("runs/run/*/seed0/level01.safetensors")
    return path


def tree(folder):
    return sorted(str(path) for path in folder.rglob("*"))


# --- run


def test_run_prints_a_table_and_progress_apart(main, workplace):
    code, out, err = main("run", *TINY)
    assert code == 0
    lines = out.splitlines()
    assert lines[0].rstrip() == "teddy on csbm, gcn (accuracy, %)"
    kept = densities(Ticket.load(next(workplace.rglob("level01.safetensors"))).weight_masks)
    at = next(i for i, line in enumerate(lines) if line.startswith("weights kept, %"))
    assert lines[at].split()[3:] == list(kept)
    assert lines[at + 1].split() == ["level", "1", *(f"{100 * density:.1f}" for density in kept.values())]
    assert any("dense" in line for line in lines) and any("40.0 %" in line and "59.8 %" in line for line in lines)
    assert "error" not in err and "val" in err, "progress"
    shown = {line.split()[0]: line.split(maxsplit=1)[1] for line in lines[-4:]}
    assert Path(shown["records"]).is_file()
    assert len(list(workplace.glob(shown["tickets"]))) == 2
    assert Path(shown["plot"]).read_bytes().startswith(b"\x89PNG")
    assert shown["next"].startswith("glt verify ")
    assert Path(shown["next"].removeprefix("glt verify ")).is_file()


def test_run_quiet_says_nothing_on_stderr(main):
    code, out, err = main("run", "--quiet", *TINY)
    assert (code, err) == (0, "")
    assert "teddy on csbm" in out


def test_run_json_is_one_record_a_line(main, workplace):
    code, out, err = main("run", "--json", "-q", "--seeds", "2", *TINY)
    assert (code, err) == (0, "")
    records = [json.loads(line) for line in out.splitlines()]
    assert [(r["seed"], r["level"]) for r in records] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert list(Results(workplace / "runs" / "run" / "results.jsonl")) == records
    assert main("run", "--json", "-q", "--seeds", "2", *TINY)[1] == out, "nothing is computed twice"


def test_run_takes_a_file_and_options_win(main, workplace):
    (workplace / "mine.yaml").write_text(
        f"dataset: {json.dumps(CSBM)}\nbackbone: {{name: gat, hidden: 8}}\ntrain: {{epochs: 2}}\nseeds: 3\n"
        "schedule: {name: geometric, levels: 3}\n"
    )
    levels = ("--graph-sparsity", "0.25", "--weight-sparsity", "0.5")
    code, out, _ = main("run", "mine.yaml", "--backbone", "mlp", "--seeds", "1", *levels, "--json", "-q")
    records = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [(r["backbone"], r["level"]) for r in records] == [("mlp", 0), ("mlp", 1)]
    assert records[1]["graph_sparsity"] == 0.25
    assert (workplace / "runs" / "mine" / "results.jsonl").is_file()


def test_run_with_one_sparsity_leaves_the_other_dense(main):
    _, out, _ = main("run", *TINY, "--graph-sparsity", "0.25", "--json", "-q", "--strategy", "teddy")
    record = json.loads(out.splitlines()[1])
    assert (record["graph_sparsity"], record["weight_sparsity"]) == (0.25, 0)


def test_run_gets_an_iterative_strategy_there_in_rounds(main):
    few = ("--strategy", "ugs", "-o", "train.epochs=1", "--json", "-q")
    for rounds, count in (((), 4), (("--rounds", "2"), 2)):
        _, out, _ = main("run", *TINY, *few, "--weight-sparsity", "0.55", *rounds)
        record = json.loads(out.splitlines()[1])
        assert (record["level"], record["rounds"], record["search_epochs"]) == (count, count, count + 1)
    code, _, err = main("run", *TINY, "--rounds", "2")
    assert code == 2 and "--rounds goes with --graph-sparsity" in err


def test_run_dense_has_a_table_without_a_plot(main, workplace):
    code, out, _ = main("run", "-q", *TINY, "--strategy", "dense")
    assert code == 0 and "dense on csbm" in out
    assert not list(workplace.rglob("*.png"))


def test_run_goes_on_after_a_failed_point_and_exits_with_1(main, workplace):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        code, out, err = main("run", "-q", *TINY, "-o", "strategy.weight=1e39")
    assert code == 1
    assert "dense" in out
    assert err.startswith("seed 0 level 1 failed: ") and err.count("\n") == 1
    assert [r["status"] for r in Results(workplace / "runs" / "run" / "results.jsonl")] == ["ok", "failed"]


def test_run_where_everything_fails_exits_with_1(main):
    code, out, err = main("run", "-q", *TINY, "-o", "train.lr=1e30")
    assert (code, out) == (1, "")
    assert err.startswith("seed 0 level 0 failed: ") and "train.lr" in err


def test_run_interrupted_exits_with_130_and_goes_on(main, monkeypatch):
    original = pipeline.run

    def interrupted(*args, **kwargs):
        yield next(original(*args, **kwargs))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "run", interrupted)
        code, out, err = main("run", "--quiet", "--json", *TINY)
    assert code == 130
    assert "interrupted" in err and "Traceback" not in err
    again = main("run", "--quiet", "--json", *TINY)
    assert again[0] == 0 and again[1].startswith(out), "the first record was kept"


def test_only_run_keeps_freed_memory(main, monkeypatch, ticket):
    calls = []
    monkeypatch.setattr(allocator, "keep_freed_memory", lambda: calls.append(1))
    main("verify", ticket)
    main("sparsify", "--dataset", "csbm", "--sparsity", "0.5", "-o", "it.npz")
    assert not calls
    main("run", "-q", *TINY)
    assert calls == [1]


@pytest.mark.dataset
@pytest.mark.skipif(not Path(os.environ.get("GLT_DATA", "missing"), "planetoid", "Cora").is_dir(), reason="needs Cora")
def test_run_on_cora(main):
    quick = ("-o", "train.epochs=2", "-o", "backbone.hidden=8", "-q", "--json")
    code, out, _ = main("run", "--dataset", "cora", "--graph-sparsity", "0.4", "--weight-sparsity", "0.67", *quick)
    record = json.loads(out.splitlines()[1])
    assert code == 0
    assert (record["dataset"], record["split"]) == ("cora", "public")
    assert record["graph_sparsity"] == 1 - 3167 / 5278  # 0.4 of 5,278 edges are 2,111.2


# --- list


def test_list_shows_every_piece_with_its_options(main):
    code, out, err = main("list")
    assert (code, err) == (0, "")
    for family in FAMILIES:
        assert f"\n{family}\n" in f"\n{out}"
        for name in names(family):
            assert f"\n  {name}  " in out
    assert "weight = 10.0" in out and "lambda of the distillation" in out


def test_list_of_one_family(main):
    code, out, _ = main("list", "scorers")
    assert code == 0
    assert out.splitlines()[0] == "scorers" and "  teddy  " in out and "csbm" not in out


def test_list_layers_says_which_can_be_soft_masked(main):
    code, out, _ = main("list", "layers")
    assert code == 0 and out.splitlines()[0] == "layers"
    assert "\n  GCNConv  soft masks: the mask is its edge weight" in out
    assert "\n  SAGEConv, aggr='max'  no soft masks: a message times 0" in out


def test_list_json(main):
    code, out, _ = main("list", "--json")
    tree = json.loads(out)
    assert code == 0
    assert {family: sorted(entries) for family, entries in tree.items()} == {
        **{f: names(f) for f in FAMILIES},
        "layers": sorted(LAYERS),
    }
    assert tree["layers"]["GINConv"]["soft_masks"] and not tree["layers"]["PNAConv"]["soft_masks"]
    option = next(o for o in tree["strategies"]["teddy"]["options"] if o["name"] == "weight")
    assert (option["type"], option["default"]) == ("float", 10.0)
    assert json.loads(main("list", "schedules", "--json")[1]) == {"schedules": tree["schedules"]}


# --- show


def test_show_says_what_a_ticket_holds(main, ticket):
    code, out, err = main("show", ticket)
    assert (code, err) == (0, "")
    assert "144 of 240 kept, graph sparsity 40.0000%" in out
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines() if "lin.weight" in line}
    assert "layer" in out and "density" in out and list(rows) == ["convs.0.lin.weight", "convs.1.lin.weight"]
    masks = Ticket.load(ticket).weight_masks
    assert {name: float(row[-1]) for name, row in rows.items()} == pytest.approx(densities(masks), abs=1e-4)
    assert {name: int(row[-2]) for name, row in rows.items()} == {name: int(m.sum()) for name, m in masks.items()}
    assert "weights included" in out and "undirected" in out


def test_show_json(main, ticket):
    shown = json.loads(main("show", ticket, "--json")[1])
    loaded = Ticket.load(ticket)
    assert (shown["edges"], shown["edges_kept"], shown["graph_sparsity"]) == (240, 144, 0.4)
    assert shown["weight_sparsity"] == loaded.weight_sparsity
    assert shown["metrics"] == loaded.metrics and shown["config"] == loaded.config
    assert {k: v["kept"] for k, v in shown["layers"].items()} == {
        k: int(v.sum()) for k, v in loaded.weight_masks.items()
    }
    assert shown["trained_weights"] is True


# --- verify


def test_verify_a_true_ticket(main, ticket):
    code, out, err = main("verify", ticket)
    assert (code, err) == (0, "")
    assert out.splitlines()[-1].endswith(": verified")
    assert [line.split()[0] for line in out.splitlines()[:4]] == ["graph_sparsity", "weight_sparsity", "val", "test"]
    assert "DIFFERS" not in out


def test_verify_rerun(main, ticket):
    code, out, _ = main("verify", ticket, "--rerun")
    assert code == 0
    assert "edges that differ" in out and "initial weights that differ" in out


def test_a_run_stores_tickets_without_initial_weights(main, made, ticket, workplace):
    assert main("run", "--quiet", *TINY, "-o", "initial=false")[0] == 0
    (small,) = workplace.glob("runs/run/*/seed0/level01.safetensors")
    assert small.relative_to(workplace) == ticket.relative_to(made), "the experiment is the same"
    one, other = Ticket.load(small), Ticket.load(ticket)
    assert all(torch.equal(v, one.initial[k]) for k, v in other.initial.items())
    assert all(torch.equal(v, one.trained[k]) for k, v in other.trained.items())
    held = sum(v.numel() * v.element_size() for v in other.initial.values())
    assert small.stat().st_size < ticket.stat().st_size - held
    record = json.loads(small.parents[2].joinpath("results.jsonl").read_text().splitlines()[-1])
    assert record["ticket_bytes"] == small.stat().st_size
    assert main("verify", small, "--rerun")[0] == 0


def test_initial_weights_that_no_seed_gives_are_stored(main, workplace):
    strategy, rounds = "strategy={name: imp, rewind_to: 0.5}", "schedule={name: oneshot, rounds: 1}"
    options = ("-o", strategy, "-o", rounds, "-o", "initial=false")
    with pytest.warns(glt.errors.GltWarning, match="initial: false: tickets whose initial weights no seed gives"):
        assert main("run", "--quiet", *TINY, *options)[0] == 0
    folder = next(workplace.glob("runs/run/*/seed0"))
    headers = [ticket_file.read(folder / f"level{level:02d}.safetensors")[0] for level in (0, 1)]
    assert ["initial" in header for header in headers] == [True, False]
    assert main("verify", folder / "level01.safetensors", "--rerun")[0] == 0


@pytest.mark.parametrize("name", ["graph_sparsity", "weight_sparsity", "val", "test"])
def test_verify_a_ticket_that_boasts(main, ticket, name):
    loaded = Ticket.load(ticket)
    loaded.metrics[name] += 0.01
    loaded.save("boast.safetensors")
    code, out, err = main("verify", "boast.safetensors")
    assert (code, err) == (1, "")
    assert [line.split()[0] for line in out.splitlines() if "DIFFERS" in line] == [name]
    assert "does NOT verify" in out
    shown = json.loads(main("verify", "boast.safetensors", "--json")[1])
    assert shown["ok"] is False
    assert [check["name"] for check in shown["checks"] if not check["ok"]] == [name]


def test_verify_rerun_finds_weights_of_another_search(main, ticket):
    loaded = Ticket.load(ticket)
    loaded.initial["convs.0.bias"] += 1
    loaded.save("other.safetensors")
    assert main("verify", "other.safetensors")[0] == 0
    code, out, _ = main("verify", "other.safetensors", "--rerun")
    assert code == 1
    assert [line.split("  ")[0] for line in out.splitlines() if "DIFFERS" in line] == ["initial weights that differ"]


def test_verify_a_changed_file(main, ticket, workplace):
    content = bytearray(ticket.read_bytes())
    content[-3] ^= 1
    (workplace / "it.safetensors").write_bytes(content)
    code, out, err = main("verify", "it.safetensors")
    assert (code, out) == (2, "")
    assert "digest" in one_line(err)


# --- sparsify

ARCS = build("datasets", CSBM)().edge_index.numpy()
UP = ARCS[:, ARCS[0] < ARCS[1]]


BLEND = {"blend": ("degree", {"name": "random", "seed": 3}), "weights": (1, 0.5, 1)}


@pytest.mark.parametrize("scorer", MODEL_FREE)
def test_sparsify_a_dataset(main, scorer):
    code, out, err = main("sparsify", "--dataset", "csbm", "--scorer", scorer, "--sparsity", "0.3", "-o", "a/it.npz")
    assert (code, err) == (0, "")
    data = glt.load("csbm")
    keep = keep_arcs(data, build("scorers", scorer), 0.3)
    edges = read(Path("a/it.npz"))
    assert np.array_equal(edges.arcs, data.edge_index[:, keep].numpy())
    assert edges.num_nodes == 10_000
    assert f"{int(keep.sum())} of {data.num_edges} arcs kept" in out


def test_sparsify_a_dataset_keeps_what_its_edges_have(main, workplace):
    ogb_files.proteins(workplace)
    options = ("--dataset", "ogbn-proteins", "--root", workplace, "--sparsity", "0.4")
    assert main("sparsify", *options, "-o", "it.npz")[0] == 0
    data, kept = glt.load("ogbn-proteins", workplace), read(Path("it.npz"))
    keep = keep_arcs(data, build("scorers", "teddy"), 0.4)
    assert np.array_equal(kept.arcs, data.edge_index[:, keep].numpy())
    assert np.array_equal(kept.columns["edge_attr"], data.edge_attr[keep].numpy())
    code, _, err = main("sparsify", *options, "-o", "it.csv")
    assert code == 2 and "'edge_attr' has [8] values per arc; use .npz or .parquet" in one_line(err)


def test_what_to_do_next_says_where_the_data_is(main, workplace):
    folder = workplace / "my data"
    ogb_files.arxiv(folder)
    recipe = ("-o", "train.epochs=2", "-o", "backbone.hidden=4")
    _, out, _ = main("run", "-q", "--dataset", "ogbn-arxiv", "--root", folder, "--graph-sparsity", "0.2", *recipe)
    following = shlex.split(next(line for line in out.splitlines() if line.startswith("next")))
    assert following[1:3] == ["glt", "verify"] and main(*following[2:])[0] == 0


@pytest.mark.parametrize("into", [".npz", ".csv", ".parquet"])
@pytest.mark.parametrize("out_of", [".npz", ".csv", ".parquet"])
def test_sparsify_an_edge_list_with_columns(main, out_of, into):
    pytest.importorskip("pyarrow")
    mixed = ARCS[:, np.random.default_rng(0).permutation(480)]
    write(Path(f"in{out_of}"), EdgeList(mixed, 120, {"row": np.arange(480)}))
    code, out, err = main("sparsify", "--edges", f"in{out_of}", "--sparsity", "0.4", "-o", f"out{into}", "--json")
    assert (code, err) == (0, "")
    shown = json.loads(out)
    assert (shown["arcs"], shown["arcs_kept"], shown["sparsity"]) == (480, 288, 0.4)
    kept = read(Path(f"out{into}"))
    assert np.array_equal(kept.arcs, mixed[:, kept.columns["row"]])
    keep = keep_arcs(glt.load(CSBM), build("scorers", "teddy"), 0.4).numpy()
    assert {*map(tuple, kept.arcs.T.tolist())} == {*map(tuple, ARCS[:, keep].T.tolist())}


def test_sparsify_once_keeps_the_same_edges(main):
    turned = UP.copy()
    turned[:, ::2] = turned[::-1, ::2]
    write(Path("once.csv"), EdgeList(turned, 120, {"row": np.arange(240)}))
    code, out, _ = main("sparsify", "--edges", "once.csv", "--once", "--sparsity", "0.4", "-o", "out.csv")
    assert code == 0 and "144 of 240 arcs kept" in out
    kept = read(Path("out.csv"))
    keep = keep_arcs(glt.load(CSBM), build("scorers", "teddy"), 0.4).numpy()
    assert {*map(tuple, np.sort(kept.arcs.T).tolist())} == {*map(tuple, np.sort(ARCS[:, keep].T).tolist())}
    assert np.array_equal(kept.arcs, turned[:, kept.columns["row"]]), "in their own direction"


def test_sparsify_directed_drops_arcs_one_by_one(main):
    write(Path("one.npz"), EdgeList(UP, 120))
    code, out, _ = main("sparsify", "--edges", "one.npz", "--directed", "--sparsity", "0.25", "-o", "out.npz", "-q")
    assert (code, out) == (0, "")
    assert read(Path("out.npz")).arcs.shape == (2, 180)
    code, _, err = main("sparsify", "--edges", "one.npz", "--sparsity", "0.25", "-o", "no.npz")
    assert code == 2 and "undirected" in one_line(err)
    assert not Path("no.npz").exists()


def test_sparsify_keeps_lonely_nodes(main):
    Path("in.csv").write_text("source,target\n0,1\n1,0\n1,2\n2,1\n")
    assert main("sparsify", "--edges", "in.csv", "--num-nodes", "9", "--sparsity", "0.5", "-o", "out.npz")[0] == 0
    assert read(Path("out.npz")).num_nodes == 9


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        (("--inverse",), {"inverse": True}),
        (("--by", "node"), {"by": "node"}),
        (("--blend", "degree=0.5", "--blend", "{name: random, seed: 3}"), BLEND),
        (("--blend", "{name: random, seed: 3}=2"), {"blend": ({"name": "random", "seed": 3},), "weights": (1, 2)}),
    ],
)
def test_sparsify_with_another_selection(main, options, asked):
    code, out, _ = main("sparsify", "--dataset", "csbm", "--sparsity", "0.3", "-o", "it.npz", "--json", *options)
    assert code == 0
    data = glt.load("csbm")
    keep = keep_arcs(data, build("scorers", "teddy"), 0.3, selection=glt.Selection(**asked))
    assert np.array_equal(read(Path("it.npz")).arcs, data.edge_index[:, keep].numpy())
    assert json.loads(out)["arcs_kept"] == int(keep.sum())


def test_sparsify_per_node(main):
    scorer = "{name: dspar, variant: priority, seed: 4}"
    code, out, _ = main("sparsify", "--dataset", "csbm", "--scorer", scorer, "--per-node", "3", "-o", "it.npz")
    assert code == 0 and "the best 3 of every node" in out
    data, piece = glt.load("csbm"), build("scorers", {"name": "dspar", "variant": "priority", "seed": 4})
    keep = keep_arcs(data, piece, None, selection=glt.Selection(per_node=3))
    assert np.array_equal(read(Path("it.npz")).arcs, data.edge_index[:, keep].numpy())


# --- bad input


@pytest.fixture
def bad_files(workplace, made):
    (workplace / "list.yaml").write_text("- cora")
    (workplace / "typo.yaml").write_text("datset: cora")
    (workplace / "text.csv").write_text("hello\n")
    (workplace / "empty.npz").write_bytes(b"")
    (workplace / "garbage").write_bytes(np.random.default_rng(0).bytes(1000))
    (workplace / "folder").mkdir()
    (workplace / "far.csv").write_text("source,target\n0,5\n5,0\n")
    (workplace / "uneven.csv").write_text("source,target\n0,1\n1,0,3\n")


SPARSIFY = ("sparsify", "--dataset", "csbm", "--sparsity")
BAD = [
    ("run", "none.yaml"),
    ("run", "folder"),
    ("run", "list.yaml"),
    ("run", "typo.yaml"),
    ("run", "garbage"),
    ("run", "--dataset", "coraa"),
    ("run", "--backbone", "gnc"),
    ("run", "--strategy", "tedy"),
    ("run", "-o", "strategy.wieght=1"),
    ("run", "-o", "strategy.weight=-1"),
    ("run", "-o", "strategy"),
    ("run", "-o", "seeds=1.5"),
    ("run", "-o", "seeds=[0, 0]"),
    ("run", "-o", "backbone.hidden=4", "-o", "backbone.hidden.x=1"),
    ("run", "-o", "name=../elsewhere"),
    ("run", "-q", *TINY, "-o", "dataset.avg_degree=100"),
    ("run", "-q", *TINY, "-o", "dataset.nodes=5"),
    ("run", "-q", *TINY, "--graph-sparsity", "1"),
    ("run", "-q", *TINY, "--graph-sparsity", "0.9999"),
    ("run", "-q", *TINY, "--weight-sparsity", "0.9999"),
    ("run", "-q", *TINY, "--weight-sparsity", "-0.1"),
    ("run", "-q", *TINY, "--weight-sparsity", "nan"),
    ("run", "-q", *TINY, "--device", "tpu"),
    ("run", "-q", *TINY, "--out", "garbage"),
    ("list", "scorer"),
    *((command, name) for command in ("show", "verify") for name in ("none", "folder", "garbage", "list.yaml", "")),
    (*SPARSIFY, "0.5", "-o", "it.txt"),
    (*SPARSIFY, "0.5", "-o", "it"),
    (*SPARSIFY, "1", "-o", "it.npz"),
    (*SPARSIFY, "-0.1", "-o", "it.npz"),
    (*SPARSIFY, "nan", "-o", "it.npz"),
    (*SPARSIFY, "0.999999", "-o", "it.npz"),
    (*SPARSIFY, "0.5", "-o", "it.npz", "--scorer", "tedy"),
    *((*SPARSIFY, "0.5", "-o", "it.npz", "--scorer", name) for name in NEEDS_MODEL),
    (*SPARSIFY, "0.5", "-o", "it.npz", "--scorer", "{name: random"),
    (*SPARSIFY, "0.5", "-o", "it.npz", "--scorer", "{name: random, sed: 1}"),
    (*SPARSIFY, "0.5", "-o", "it.npz", "--per-node", "3"),
    (*SPARSIFY, "0.5", "-o", "it.npz", "--blend", "tedy"),
    (*SPARSIFY, "0.5", "-o", "it.npz", "--blend", "degree=much"),
    (*SPARSIFY, "0.5", "-o", "it.npz", "--blend", "degree=-1"),
    ("sparsify", "--dataset", "csbm", "-o", "it.npz", "--per-node", "3", "--by", "node"),
    (*SPARSIFY, "0.5", "-o", "it.npz", "--once"),
    (*SPARSIFY, "0.5", "-o", "it.npz", "--edges", "text.csv"),
    (*SPARSIFY, "0.5", "-o", "garbage/it.npz"),
    ("sparsify", "--dataset", "nothing", "--sparsity", "0.5", "-o", "it.npz"),
    ("sparsify", "--sparsity", "0.5", "-o", "it.npz"),
    *(
        ("sparsify", "--edges", name, "--sparsity", "0.5", "-o", "it.npz")
        for name in ("none.csv", "text.csv", "empty.npz", "garbage", "folder", "uneven.csv")
    ),
    ("sparsify", "--edges", "far.csv", "--num-nodes", "3", "--sparsity", "0", "-o", "it.npz"),
    ("sparsify", "--edges", "far.csv", "--once", "--directed", "--sparsity", "0", "-o", "it.npz"),
]


@pytest.mark.parametrize("args", BAD, ids=lambda args: " ".join(args).replace(" ".join(TINY), "TINY"))
def test_a_mistake_is_one_line_and_nothing_is_written(main, workplace, bad_files, args):
    before = tree(workplace)
    code, out, err = main(*args)
    assert (code, out) == (2, "")
    one_line(err)
    assert tree(workplace) == before


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("nothing",), "No such command"),
        (("run", "--nothing"), "No such option"),
        (("run", "a.yaml", "b.yaml"), "unexpected extra argument"),
        (("run", "--seeds", "0"), "--seeds"),
        (("run", "--seeds", "many"), "--seeds"),
        (("run", "--threads", "0"), "--threads"),
        (("run", "--graph-sparsity", "much"), "--graph-sparsity"),
        (("show",), "TICKET"),
        (("verify",), "TICKET"),
        (("sparsify", "--dataset", "csbm", "-o", "it.npz"), "--sparsity"),
        (("sparsify", "--dataset", "csbm", "--sparsity", "0.5"), "output"),
        (("sparsify", "--edges", "far.csv", "--num-nodes", "0", "--sparsity", "0.5", "-o", "it.npz"), "--num-nodes"),
    ],
)
def test_a_wrong_option_shows_the_usage(main, workplace, args, words):
    code, out, err = main(*args)
    assert (code, out) == (2, "")
    assert err.startswith("Usage: ") and words in err and "Traceback" not in err
    assert not tree(workplace)


def test_a_device_that_is_not_there(main, monkeypatch, workplace):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    code, _, err = main("run", "-q", *TINY, "--device", "cuda")
    assert code == 2 and "'cuda'" in one_line(err)
    assert not tree(workplace)


@pytest.mark.parametrize("how", ["root", "network"])
@pytest.mark.parametrize(
    "args", [("run", "-q", "--dataset", "cora"), (*SPARSIFY[:2], "cora", "--sparsity", "0.5", "-o", "it.npz")]
)
def test_a_dataset_that_is_not_available_exits_with_3(main, workplace, monkeypatch, args, how):
    def refuse(*args, **kwargs):
        raise socket.gaierror("Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.delenv("GLT_DATA", raising=False)
    monkeypatch.setenv("GLT_CACHE", str(workplace / "cache"))
    for proxy in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(proxy, raising=False)
    code, out, err = main(*args, *(["--root", "nowhere"] if how == "root" else []))
    assert (code, out) == (3, "")
    assert "planetoid/Cora" in one_line(err) and "GLT_DATA" in err
    assert [path for path in workplace.rglob("*") if path.is_file() and path.suffix != ".lock"] == []


def test_a_closed_pipe_is_no_mistake(main, monkeypatch):
    def closed(*args, **kwargs):
        raise BrokenPipeError

    monkeypatch.setattr(click, "echo", closed)
    monkeypatch.setattr(sys.stderr, "close", lambda: None)
    assert main("list")[0] == 0


# --- help


@pytest.mark.parametrize("flag", ["--help", "-h"])
@pytest.mark.parametrize(
    "command", [(), *((command,) for command in COMMANDS)], ids=lambda args: " ".join(args) or "glt"
)
def test_help(main, command, flag):
    code, out, err = main(*command, flag)
    assert (code, err) == (0, "")
    assert out.startswith("Usage: glt") and "--help" in out
    if not command:
        assert all(f"\n  {name}" in out for name in COMMANDS)
    else:
        described = cli.cli.commands[command[0]]
        assert all(p.help for p in described.params if isinstance(p, click.Option)), "every option says what it does"


def test_version(main):
    code, out, _ = main("--version")
    assert code == 0 and glt.__version__ in out


def test_no_command_shows_the_help(main):
    code, out, err = main()
    assert code == 2 and "Usage: glt" in out + err


# --- a process of its own


def process(*args, cwd):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])}
    return subprocess.run(
        [sys.executable, "-m", "glt", *args], cwd=cwd, env=env, capture_output=True, text=True, timeout=300
    )


def test_a_process_of_its_own(workplace, made):
    ended = process("run", *TINY, "--threads", "1", "--json", cwd=workplace)
    assert ended.returncode == 0
    records = [json.loads(line) for line in ended.stdout.splitlines()]
    here = list(Results(made / "runs" / "run" / "results.jsonl"))
    assert [r["ticket_sha256"] for r in records] == [r["ticket_sha256"] for r in here]
    assert [r["threads"] for r in records] == [1, 1]
    assert "Warning" not in ended.stderr and "Traceback" not in ended.stderr


def test_a_warning_is_one_line(workplace):
    blocks = "strategy={name: teddy, granularity: {name: block, size: 16}}"
    asked = ["--weight-sparsity", "0.6", "-o", blocks]
    ended = process("run", *tiny(2), *asked, "--seeds", "1", "--quiet", cwd=workplace)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.startswith("warning: sparsity 0.6 leaves matrix") and ended.stderr.count("\n") == 1


def test_a_mistake_in_a_process_of_its_own(workplace):
    ended = process("run", "--dataset", "coraa", cwd=workplace)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "did you mean 'cora'" in one_line(ended.stderr)
    assert not tree(workplace)


@pytest.mark.parametrize("strategy", ["ugs", "imp"])
def test_levels_that_do_not_ascend_are_refused_before_anything_is_written(strategy, main, workplace):
    grid = "schedule={name: grid, graph: [0.1, 0.2], weight: [0.1, 0.2]}"
    code, out, err = main("run", *TINY, "--strategy", strategy, "-o", grid)
    assert (code, out) == (2, "")
    assert "an iterative strategy needs ascending levels" in err
    assert not (workplace / "runs").exists()


def test_a_kernel_can_be_asked_for(main, workplace, monkeypatch):
    code, out, err = main("run", *TINY, "--kernel", "index_add", "--json")
    records = [json.loads(line) for line in out.splitlines()]
    assert code == 0, err
    assert [r["kernel"] for r in records] == ["index_add"] * len(records)
    code, _, err = main("run", *TINY, "--kernel", "fast")
    assert code == 2 and "unknown kernel 'fast'" in err and "segment_reduce" in err
    monkeypatch.setenv("GLT_KERNEL", "slow")
    code, _, err = main("run", *TINY)
    assert code == 2 and "unknown kernel 'slow'" in err


def test_deterministic_is_for_other_devices_than_the_cpu(main, workplace):
    assert main("run", *TINY, "--deterministic", "--quiet")[0] == 0
    assert not torch.are_deterministic_algorithms_enabled()


def test_sparsify_at_most_per_node(main):
    code, out, _ = main("sparsify", "--dataset", "csbm", "--at-most", "3", "-o", "it.npz")
    assert code == 0 and "at most 3 of every node" in out
    assert np.bincount(read(Path("it.npz")).arcs[0]).max() <= 3
    code, _, err = main("sparsify", "--dataset", "csbm", "--at-most", "3", "--per-node", "3", "-o", "it.npz")
    assert code == 2 and "leave one out" in err
