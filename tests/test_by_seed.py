"""Graphs that are published with ten splits: seed s takes split s, wherever a seed's graph is made."""

import copy
import json
import os
from pathlib import Path

import pytest
import torch
from reference.splits import write_minesweeper
from torch_geometric.data import Data

import glt
from glt import registry
from glt.builtin import data_of
from glt.datasets.splits import of_seed
from glt.find import find
from glt.leaderboard import rules
from glt.leaderboard.build import build
from glt.leaderboard.check import measured
from glt.leaderboard.entry import of_run, runs_under
from glt.problem import Problem
from glt.results import Results
from glt.ticket import Ticket
from glt.train import Recipe

pytestmark = pytest.mark.usefixtures("workplace")
SEEDS = "[0, 3, 104]"
DATA = os.environ.get("GLT_DATA", "")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_minesweeper(tmp_path_factory.mktemp("data"))


@pytest.fixture
def place(root, monkeypatch):
    monkeypatch.setenv("GLT_DATA", str(root[0]))
    return root[0]


def run(main, *more, seeds=SEEDS, name="it", dataset="minesweeper", levels="[1, 3]"):
    """Records of a tiny run."""
    schedule = f"schedule={{name: geometric, graph_rate: 0.05, weight_rate: 0.2, levels: {levels}}}"
    options = [f"dataset={dataset}", "backbone={name: gcn, hidden: 16}", schedule, "train={epochs: 3, lr: 0.05}"]
    options += ["strategy={name: teddy, weight: 1, distil: held_out}"]
    options = [word for option in (*options, f"seeds={seeds}", f"name={name}", *more) for word in ("-o", option)]
    code, _, err = main("run", "--quiet", "--out", "runs", *options)
    assert code == 0, err
    return [r for r in Results(f"runs/{name}/results.jsonl") if r["status"] == "ok"]


def tickets(name="it"):
    return sorted(Path("runs", name).rglob("*.safetensors"))


def test_column_of_the_seed(root):
    data = registry.build("datasets", "minesweeper")(root[0])
    assert data.split == "by-seed" and data.train_mask.shape == (90, 10)
    for seed, column in ((0, 0), (9, 9), (10, 0), (104, 4)):
        mine = of_seed(data, seed)
        assert mine.split == f"split-{column}"
        for mask, published in zip((mine.train_mask, mine.val_mask, mine.test_mask), root[1], strict=True):
            assert mask.tolist() == published[column].tolist()
        assert of_seed(mine, 7) is mine, "it has one split"
    assert data.split == "by-seed" and data.train_mask.dim() == 2, "left as it was"
    assert glt.datasets.load("minesweeper", root[0], seed=3).split == "split-3"
    assert glt.datasets.load({"name": "minesweeper", "split": 2}, root[0], seed=3).split == "split-2"


def test_some_masks_may_be_the_same_for_all_seeds():
    masks = torch.eye(4, dtype=torch.bool)
    data = of_seed(Data(train_mask=masks, val_mask=masks.roll(1, 1), test_mask=masks[3]), 1)
    assert data.train_mask.tolist() == masks[:, 1].tolist() and data.test_mask.tolist() == masks[3].tolist()


def test_every_record_says_its_split_and_is_of_it(main, place):
    records = run(main)
    assert {(r["seed"], r["split"]) for r in records} == {(0, "split-0"), (3, "split-3"), (104, "split-4")}
    assert len(records) == 9 and len(run(main)) == 9, "nothing is repeated"
    fixed = run(main, seeds="[104]", name="fixed", dataset="{name: minesweeper, split: 4}")
    assert [(r["level"], r["val"], r["test"]) for r in fixed] == [
        (r["level"], r["val"], r["test"]) for r in records if r["seed"] == 104
    ]


def test_every_ticket_is_verified_and_found_again_on_its_split(main, place):
    run(main, seeds="[0, 3]", levels="[1]")
    for path in tickets():
        assert Ticket.load(path).verify().ok, path
    last = Ticket.load(tickets()[-1])
    assert data_of(last).split == "split-3"
    last.config["seed"] = 1  # whose graph has other test nodes
    assert {check.name for check in last.verify().checks if not check.ok} >= {"val", "test"}
    assert main("verify", tickets()[-1], "--rerun")[0] == 0


def test_controls_are_of_the_ticket_s_split(main, place):
    run(main, seeds="[3]")
    path = tickets()[1]
    code, _, err = main("controls", path, "--control", "dense", "--control", "random", "--quiet")
    assert code == 0, err
    records = list(Results(path.parent.parent / "controls.jsonl"))
    assert [r["split"] for r in records] == ["split-3"] * 2
    assert records[0]["ticket_test"] == Ticket.load(path).metrics["test"]
    assert records[0]["test"] == Ticket.load(path).metrics["dense_test"]


def test_a_sweep_shares_the_dense_training_of_each_split(main, place):
    alone = {(r["seed"], r["level"]): (r["val"], r["test"]) for r in run(main, seeds="[0, 1]", levels="[1]")}
    base = {
        **{"dataset": "minesweeper", "backbone": {"name": "gcn", "hidden": 16}, "train": {"epochs": 3, "lr": 0.05}},
        "schedule": {"name": "geometric", "graph_rate": 0.05, "weight_rate": 0.2, "levels": [1]},
    }
    teddy = {"name": "teddy", "weight": 1, "distil": "held_out"}
    tree = {"name": "sweep", "base": {**base, "seeds": 2}, "grid": {"strategy": [teddy, "random"]}}
    Path("sweep.yaml").write_text(json.dumps(tree))
    code, _, err = main("sweep", "sweep.yaml", "--backend", "sequential", "--quiet")
    assert code == 0, err
    records = list(Results("runs/sweep/results.jsonl"))
    assert len(list(Path("runs/sweep/shared/dense").rglob("*.safetensors"))) == 2
    assert len(records) == 8
    for r in records:
        assert r["split"] == f"split-{r['seed']}"
        if not r["level"] or r["method"] == "teddy":
            assert (r["val"], r["test"]) == alone[r["seed"], r["level"]]


def test_models_of_different_splits_are_not_trained_as_one(main, place):
    alone = run(main, seeds="[0, 1]", levels="[1]")
    at_once = run(main, "together=2", seeds="[0, 1]", name="at_once", levels="[1]")
    assert [(r["seed"], r["level"], r["test"]) for r in sorted(at_once, key=lambda r: (r["seed"], r["level"]))] == [
        (r["seed"], r["level"], r["test"]) for r in alone
    ]
    assert {r["together"] for r in at_once if not r["level"]} == {"no: the graphs differ in more than their edges"}


def test_the_board_takes_each_seed_on_its_own_split(main, place):
    run(main, seeds="[0, 1]", name="mine", levels="[1, 2, 3, 4, 5]")
    run(main, seeds="[0]", name="one", dataset="{name: minesweeper, split: 0}", levels="[1]")
    board = build([Path("runs")])
    assert not board.rejected
    mine, one = sorted(board.rows, key=lambda row: row.dataset)
    assert (mine.dataset, mine.split, mine.metric, mine.seeds) == ("minesweeper", "by-seed", "roc_auc", 2)
    assert {v.rule: v.status for v in mine.verdicts}["split"] == "ok"
    assert mine.ranks, mine.unranked
    assert (one.split, bool(one.ranks)) == ("split-0", False)
    assert "one of several" in one.unranked


def test_a_control_s_test_nodes_are_those_of_its_seed(main, place):
    run(main, "controls=[random]", seeds="[0, 1]", levels="[1]")
    (folder,) = runs_under(Path("runs"))
    m = measured(of_run(folder))
    assert rules.split(m).status == "ok"
    board = build([folder])
    assert all(claim.controls["random"][3] == 2 for claim in board.rows[0].claims), "both count"


def test_a_user_s_own_masks_are_taken_by_seed(sbm):
    several = copy.copy(sbm)
    order = torch.randperm(60)
    for name in ("train_mask", "val_mask", "test_mask"):
        several[name] = torch.stack([sbm[name], sbm[name][order]], 1)
    model = glt.build("backbones", {"name": "gcn", "hidden": 8})
    recipe = Recipe(epochs=2)
    assert torch.equal(Problem(several, model, recipe, 1).data.test_mask, sbm.test_mask[order])
    ticket = find(model, several, recipe=recipe, seed=2)
    one = find(model, sbm, recipe=recipe, seed=2)
    assert ticket.metrics == one.metrics
    assert ticket.verify(several, model(sbm.x.size(1), 3)).ok


@pytest.mark.dataset
@pytest.mark.parametrize("name", ["minesweeper", "tolokers"])
def test_the_published_splits(name):
    if not (Path(DATA or "missing") / "heterophilous" / name).is_dir():
        pytest.skip(f"GLT_DATA has no {name}")
    data = registry.build("datasets", name)(Path(DATA))
    masks = [data.train_mask, data.val_mask, data.test_mask]
    nodes = data.num_nodes
    assert all(mask.dtype == torch.bool and mask.shape == (nodes, 10) for mask in masks)
    assert bool((sum(mask.int() for mask in masks) == 1).all()), "each split covers every node once"
    tests = {tuple(mask.tolist()) for mask in data.test_mask.t()}
    assert len(tests) == 10, "no two are the same"
    for seed in (0, 9):
        fixed = registry.build("datasets", {"name": name, "split": seed})(Path(DATA))
        mine = of_seed(data, seed)
        assert fixed.split == mine.split == f"split-{seed}" and torch.equal(fixed.test_mask, mine.test_mask)
