"""Test nodes that come later: nothing of them in the ticket, exact counts when they arrive, a track of its own."""

import copy
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from cli_runs import CSBM
from entries import edited, files_of, zipped
from hypothesis import given
from hypothesis import strategies as st
from reference.graphs import small_sbm
from reference.splits import write_minesweeper
from torch_geometric.data import Data

import glt
from glt.builtin import data_of, model_of
from glt.edges import PrunableEdges
from glt.errors import GltError
from glt.find import find
from glt.forward import Forward
from glt.inductive import arrived, judged_on, without_test_nodes
from glt.leaderboard import rules
from glt.leaderboard.build import build
from glt.leaderboard.check import measured, verify
from glt.leaderboard.entry import of_run, runs_under
from glt.leaderboard.limits import NotVerified
from glt.leaderboard.render import render
from glt.problem import Problem
from glt.registry import build as make
from glt.registry import names
from glt.results import Results
from glt.schedules.level import Level
from glt.select import keep_count
from glt.sparsify import remove_arcs
from glt.ticket import Ticket
from glt.train import Recipe, fit

GCN = {"name": "gcn", "hidden": 16}
LATER = Recipe(epochs=3, lr=0.05, inductive=True)
LEVELS = "[1, 2, 3, 4, 5]"
TAUGHT = "{name: teddy, weight: 1, distil: held_out}"
searching = pytest.mark.parametrize("name", [name for name in names("strategies") if name != "dense"])


def pairs_of(data):
    """Edges as a set of (low, high)."""
    return {(min(u, v), max(u, v)) for u, v in data.edge_index.t().tolist() if u != v}


def arcs_of(pairs):
    arcs = sorted([(u, v) for u, v in pairs] + [(v, u) for u, v in pairs])
    return torch.tensor(arcs, dtype=torch.int64).reshape(-1, 2).t().contiguous()


def with_others(data, seed):
    """The same graph with other test nodes: features, labels and every edge that touches one."""
    rng, data = np.random.default_rng(seed), data.clone()
    test, nodes = data.test_mask.nonzero().squeeze(1).numpy(), data.num_nodes
    data.x[data.test_mask] = torch.from_numpy(rng.standard_normal((len(test), data.x.size(1))).astype(np.float32) * 9)
    data.y[data.test_mask] = torch.from_numpy(rng.integers(0, 3, len(test)))
    old = {(u, v) for u, v in pairs_of(data) if not (data.test_mask[u] or data.test_mask[v])}
    drawn = zip(rng.choice(test, 60), rng.integers(0, nodes, 60), strict=True)
    new = {(int(min(u, v)), int(max(u, v))) for u, v in drawn if u != v}
    data.edge_index = arcs_of(old | new)
    return data


def found(data, strategy, seed=0, recipe=LATER, graph=0.4, weight=0.5):
    return find(make("backbones", GCN), data, graph, weight, strategy=strategy, recipe=recipe, seed=seed)


# the ticket


@searching
def test_nothing_of_a_test_node_reaches_the_ticket(name):
    data = small_sbm()
    one, other = found(data, name), found(with_others(data, 1), name)
    assert one.fingerprint == other.fingerprint
    assert torch.equal(one.edge_keep, other.edge_keep)
    for part in ("weight_masks", "initial", "trained"):
        mine, theirs = getattr(one, part), getattr(other, part)
        assert mine.keys() == theirs.keys() and all(torch.equal(mine[k], theirs[k]) for k in mine), part
    for key in ("val", "last_val", "epoch", "dense_val", "search_epochs", "graph_sparsity"):
        assert one.metrics[key] == other.metrics[key], key
    assert one.verify(data, model()).ok and other.verify(with_others(data, 1), model()).ok


def model():
    return make("backbones", GCN)(small_sbm().x.size(1), 3)


def test_a_transductive_ticket_does_change():
    data = small_sbm()
    one, other = (found(d, "teddy", recipe=Recipe(epochs=3, lr=0.05)) for d in (data, with_others(data, 1)))
    assert one.fingerprint != other.fingerprint and one.metrics["val"] != other.metrics["val"]


@pytest.mark.parametrize("batches", ["full", {"name": "parts", "num_parts": 2}])
def test_batches_and_chunks_see_no_test_node_either(batches):
    data, recipe = small_sbm(), replace(LATER, batches=batches, eval_chunk=7)
    one, other = (found(d, "teddy", recipe=recipe) for d in (data, with_others(data, 2)))
    assert all(torch.equal(one.trained[k], other.trained[k]) for k in one.trained)
    assert one.verify(data, model()).ok


def test_a_live_part_sees_no_test_node_and_its_last_epoch_is_read_too():
    data, recipe = small_sbm(), replace(LATER, live=True)
    one, other = (found(d, "oneshot", recipe=recipe, weight=0.8) for d in (data, with_others(data, 3)))
    assert one.metrics["live"].startswith("yes") and not math.isnan(one.metrics["last_test"])
    assert all(torch.equal(one.trained[k], other.trained[k]) for k in one.trained)
    assert one.verify(data, model()).ok


def test_the_graph_without_test_nodes_is_the_induced_one():
    data = make("datasets", {**CSBM, "dense": False})()
    data.edge_attr = torch.arange(data.num_edges).double()
    smaller, stay = without_test_nodes(data), (~data.test_mask).nonzero().squeeze(1)
    assert torch.equal(smaller.x.to_dense(), data.x.to_dense()[stay]) and smaller.x.layout == data.x.layout
    for key in ("y", "train_mask", "val_mask"):
        assert torch.equal(smaller[key], data[key][stay])
    assert not smaller.test_mask.any() and smaller.num_nodes == len(stay)
    assert (smaller.num_classes, smaller.metric, smaller.split) == (data.num_classes, data.metric, data.split)
    weights = torch.zeros(120, 120, dtype=torch.float64)
    weights[data.edge_index[0], data.edge_index[1]] = data.edge_attr + 1
    mine = torch.zeros(len(stay), len(stay), dtype=torch.float64)
    mine[smaller.edge_index[0], smaller.edge_index[1]] = smaller.edge_attr + 1
    assert torch.equal(mine, weights[stay][:, stay])


# the arrival


class Numbered:
    """An arc's score is a number of its pair."""

    def __call__(self, data, model=None):
        low, high = data.edge_index.min(0).values, data.edge_index.max(0).values
        return ((low * 7919 + high * 104729) % 1009).float()


@given(st.integers(0, 10**6), st.floats(0, 1), st.booleans())
def test_the_counts_are_exact_and_the_ticket_s_edges_stay(seed, share, loops):
    rng = np.random.default_rng(seed)
    pairs = {(int(min(u, v)), int(max(u, v))) for u, v in rng.integers(0, 14, (40, 2)) if u != v}
    data = Data(edge_index=arcs_of(pairs), num_nodes=14, y=torch.zeros(14, dtype=torch.int64))
    if loops:
        data.edge_index = torch.cat([data.edge_index, torch.arange(14).repeat(2, 1)], dim=1)
    data.test_mask = torch.from_numpy(rng.random(14) < 0.4)
    smaller = without_test_nodes(data)
    stay = (~data.test_mask).nonzero().squeeze(1).tolist()
    old = PrunableEdges.of(smaller.edge_index, len(stay))
    keep = torch.from_numpy(rng.random(old.num_edges) < share)
    edges = PrunableEdges.of(data.edge_index, 14)
    whole = arrived(data, edges, keep, Numbered)
    kept = {(stay[u], stay[v]) for u, v in pairs_of(remove_arcs(smaller, old.to_arcs(keep)))}
    new = {pair for pair in pairs if data.test_mask[list(pair)].any()}
    after = pairs_of(whole)
    assert after - new == kept, "edges among the others stay as the ticket says"
    if not kept:
        assert not after
        return
    count = keep_count(len(pairs), 1 - float(keep.double().mean()))
    assert len(after) == count
    by_score = sorted(new, key=lambda pair: (-((pair[0] * 7919 + pair[1] * 104729) % 1009), pair))
    assert after & new == set(by_score[: count - len(kept)])
    assert int((whole.edge_index[0] == whole.edge_index[1]).sum()) == 14 * loops, "self-loops are no edges"


def test_directed_arcs_arrive_one_by_one():
    data = Data(edge_index=torch.tensor([[0, 1, 2, 3, 3, 0], [1, 2, 0, 0, 1, 3]]), num_nodes=4)
    data.test_mask, data.y = torch.tensor([False, False, False, True]), torch.zeros(4, dtype=torch.int64)
    edges = PrunableEdges.of(data.edge_index, 4, undirected=False)
    whole = arrived(data, edges, torch.tensor([True, False, False]), Numbered)
    assert whole.num_edges == 2, "a third of six"


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_no_scorer_is_asked_where_nothing_is_to_be_decided(share):
    data = small_sbm()
    edges, old = PrunableEdges.of(data.edge_index, 60), PrunableEdges.of(without_test_nodes(data).edge_index, 33)
    keep = torch.full((old.num_edges,), bool(share))
    whole = arrived(data, edges, keep, lambda: pytest.fail("asked"))
    assert whole.num_edges == share * data.num_edges


@searching
def test_the_strategy_s_own_scorer_decides(name):
    data = small_sbm()
    ticket = found(data, name, seed=3)
    whole = ticket.apply(data)
    edges = PrunableEdges.of(data.edge_index, 60)
    assert len(pairs_of(whole)) == keep_count(edges.num_edges, ticket.graph_sparsity)
    strategy = make("strategies", name)
    scorer = getattr(strategy, "scorer", make("scorers", "random"))
    if hasattr(scorer, "seed"):
        scorer = replace(scorer, seed=scorer.seed + 3)
    again = arrived(data, edges, ticket.edge_keep, lambda: scorer)
    assert torch.equal(whole.edge_index, again.edge_index)
    logits = Forward(ticket.restore(model()), again).evaluate()
    right = (logits.argmax(1) == data.y)[data.test_mask]
    assert ticket.metrics["test"] == pytest.approx(float(right.double().mean()), abs=1e-12)
    dense = Problem(data, make("backbones", GCN), LATER, 3).dense
    assert ticket.metrics["dense_test"] == dense.test and not math.isnan(dense.last_test)


def test_the_last_epoch_is_read_too():
    data, long = small_sbm(), replace(LATER, epochs=9)
    problem = Problem(data, make("backbones", GCN), long, config={"strategy": {"name": "teddy"}})
    trained = problem.model()
    result = problem.fit(problem.data, model=trained)
    ticket = problem.ticket(Level(1, 0.0, 0.0), *problem.masks(), result)
    logits = Forward(trained, data).evaluate()[data.test_mask]
    assert ticket.metrics["last_test"] == float((logits.argmax(1) == data.y[data.test_mask]).double().mean())
    assert result.last is None, "it is not kept"


def test_a_live_part_is_read_after_its_last_epoch_as_the_whole_network_is():
    data, found = small_sbm(), []
    backbone = make("backbones", GCN | {"dropout": 0.0})
    for live in (True, False):
        problem = Problem(data, backbone, replace(LATER, epochs=9, live=live), config={"strategy": {"name": "teddy"}})
        masks = {name: mask.clone() for name, mask in problem.masks()[1].items()}
        masks["convs.1.lin.weight"][:, ::2] = False
        result = problem.fit(problem.data, masks=masks)
        assert result.live.startswith("yes") is live
        found.append(problem.ticket(Level(1, 0.0, 0.25), problem.masks()[0], masks, result))
    for key in ("test", "last_test"):
        assert found[0].metrics[key] == found[1].metrics[key]


# what is refused


@pytest.mark.parametrize(
    ("strategy", "said"),
    [
        ({"name": "oneshot", "scorer": "gradient"}, "'gradient' looks at the dense model"),
        ({"name": "teddy", "selection": {"inverse": True}}, "selection says nothing"),
        ({"name": "teddy", "scorer": {"name": "dspar", "variant": "priority"}, "reweight": True}, "reweight says"),
    ],
)
def test_what_cannot_score_new_edges_is_refused_before_anything_is_trained(strategy, said):
    with pytest.raises(GltError, match=said) as caught:
        find(
            make("backbones", GCN),
            small_sbm(),
            strategy=strategy,
            recipe=LATER,
            on_epoch=lambda *_: pytest.fail("trained"),
        )
    assert "\n" not in str(caught.value)


def test_where_all_edges_stay_nothing_has_to_score_new_ones():
    data, gradient = small_sbm(), {"name": "oneshot", "scorer": "gradient"}
    ticket = found(data, gradient, graph=0.0)
    assert ticket.apply(data).num_edges == data.num_edges and ticket.verify(data, model()).ok
    priority = {"name": "teddy", "scorer": {"name": "dspar", "variant": "priority"}, "reweight": True}
    with pytest.raises(GltError, match="reweight says"):
        found(data, priority, graph=0.0)


def test_fit_refuses_a_graph_with_test_nodes():
    with pytest.raises(GltError, match="without_test_nodes"):
        fit(model(), small_sbm(), LATER)
    assert math.isnan(fit(model(), without_test_nodes(small_sbm()), LATER).test)


def test_the_option_is_a_plain_yes_or_no():
    for value in ("true", 1, "yes"):
        with pytest.raises(GltError, match="inductive"):
            Recipe(inductive=value)


def test_a_ticket_of_the_whole_graph_is_no_inductive_one():
    data = small_sbm()
    seen = found(data, "teddy", recipe=Recipe(epochs=3))
    seen.config["train"] = {"epochs": 3, "inductive": True}
    with pytest.raises(GltError, match="belongs to another graph"):
        seen.verify(data, model())


# from the command line to the board


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_minesweeper(tmp_path_factory.mktemp("data"))[0]


@pytest.fixture
def place(workplace, root, monkeypatch):
    monkeypatch.setenv("GLT_DATA", str(root))
    return workplace


def run(main, *more, name="it", dataset=CSBM, strategy=TAUGHT, levels="[1, 3]", seeds=2, inductive=True):
    schedule = f"schedule={{name: geometric, graph_rate: 0.05, weight_rate: 0.1, levels: {levels}}}"
    options = [f"dataset={json.dumps(dataset)}", f"backbone={json.dumps(GCN)}", schedule, f"strategy={strategy}"]
    options += [f"train={{epochs: 3, lr: 0.05, inductive: {str(inductive).lower()}}}", f"seeds={seeds}", f"name={name}"]
    code, _, err = main("run", "--quiet", "--out", "runs", *(w for o in (*options, *more) for w in ("-o", o)))
    assert code == 0, err
    return list(Results(f"runs/{name}/results.jsonl"))


def tickets(name="it"):
    return sorted(Path("runs", name).rglob("*.safetensors"))


def test_records_are_of_the_inductive_track(main, place):
    records = run(main, "controls=all", levels="[3]", seeds=1)
    assert {r["track"] for r in records} == {"inductive"} and {r["status"] for r in records} == {"ok"}
    assert {r.get("control") for r in records} == {None, *names("controls")}
    dense = {r["seed"]: r for r in records if not r["level"]}
    for r in records:
        assert not math.isnan(r["test"]) and r["dense_test"] == dense[r["seed"]]["test"]
        if r.get("control") == "dense":
            assert (r["test"], r["val"]) == (r["dense_test"], r["dense_val"])
        if r.get("control"):
            ticket = next(
                t for t in records if not t.get("control") and (t["seed"], t["level"]) == (r["seed"], r["level"])
            )
            assert (r["ticket_test"], r["ticket_val"]) == (ticket["test"], ticket["val"])
    assert len(run(main, "controls=all", levels="[3]", seeds=1)) == len(records), "nothing is repeated"
    other = run(main, inductive=False, levels="[3]")
    assert {r["config_id"] for r in other} > {r["config_id"] for r in records}
    whole = next(r for r in other if not r["level"] and r["config_id"] != records[0]["config_id"])
    assert dense[0]["macs"] == dense[0]["macs_dense"] == whole["macs_dense"], "of the graph with its test nodes"
    assert {r["track"] for r in other if r["config_id"] not in {r["config_id"] for r in records}} == {
        "none",
        "held_out",
    }


@pytest.mark.parametrize("dataset", [CSBM, {"name": "minesweeper"}])
def test_a_ticket_is_verified_from_its_file_alone(main, place, dataset):
    run(main, dataset=dataset, strategy="{name: ugs, mask_epochs: 2}", levels="[3]", seeds="[1]")
    for path in tickets():
        assert Ticket.load(path).verify().ok, path
    last = tickets()[-1]
    assert main("verify", last, "--rerun")[0] == 0
    assert main("cost", last)[0] == main("export", last, "-o", "m.safetensors", "--storage", "dense")[0] == 0
    ticket = Ticket.load(last)
    data = data_of(ticket)
    compact = ticket.compact(model_of(ticket, data), data, storage="dense", reorder=False)
    masked = Forward(ticket.restore(model_of(ticket, data)), judged_on(ticket, data)[1]).evaluate()
    assert torch.allclose(compact(), masked, atol=1e-5)
    ticket.metrics["test"] += 0.3
    assert [check.name for check in ticket.verify().checks if not check.ok] == ["test"]


def test_splits_by_seed_leave_a_graph_of_their_own_to_each_seed(main, place):
    records = run(main, "controls=[random, mlp]", dataset={"name": "minesweeper"}, levels="[3]")
    assert {r["split"] for r in records} == {"split-0", "split-1"}
    assert len({Ticket.load(path).fingerprint for path in tickets()}) == 2
    code, out, err = main("controls", *Path("runs").rglob("level03.safetensors"), "--control", "degree", "--quiet")
    assert code == 0, err
    assert "degree" in out


def test_models_are_trained_one_by_one(main, place):
    alone, at_once = run(main, name="alone", levels="[1]"), run(main, "together=2", name="at_once", levels="[1]")
    key = ("seed", "level", "test", "last_test", "ticket_sha256")
    said = {r["together"] for r in at_once}
    assert said == {"no: test nodes that come later"}
    assert sorted([r[k] for k in key[:4]] for r in alone) == sorted([r[k] for k in key[:4]] for r in at_once)


def test_a_sweep_does_not_share_what_has_seen_test_nodes(main, place):
    base = {
        **{"dataset": {"name": "minesweeper"}, "backbone": GCN, "seeds": 2, "strategy": {"name": "teddy", "weight": 0}},
        "schedule": {"name": "geometric", "graph_rate": 0.05, "weight_rate": 0.1, "levels": [1, 3]},
        "train": {"epochs": 3, "lr": 0.05},
    }
    Path("sweep.yaml").write_text(json.dumps({"name": "s", "base": base, "grid": {"train.inductive": [True, False]}}))
    code, _, err = main("sweep", "sweep.yaml", "--dry-run", "--calibrate")
    assert code == 0, err
    assert main("sweep", "sweep.yaml", "--backend", "sequential", "--quiet")[0] == 0
    shared = Path("runs/s/shared")
    assert len(list((shared / "dense").rglob("*.safetensors"))) == 4
    assert len(list((shared / "scores").rglob("*.safetensors"))) == 3, "of the whole graph, and of two parts of it"
    alone = run(main, dataset={"name": "minesweeper"}, strategy="{name: teddy, weight: 0}")
    swept = [r for r in Results("runs/s/results.jsonl") if r["track"] == "inductive"]
    point = ("config_id", "seed", "level", "val", "test", "last_test")
    assert sorted([r[k] for k in point] for r in alone) == sorted([r[k] for k in point] for r in swept)


def test_the_board_keeps_the_track_apart(main, place):
    run(main, "controls=[random]", name="later", levels=LEVELS, seeds=2)
    run(main, name="now", levels=LEVELS, seeds=1, inductive=False)
    run(main, name="ugs", levels=LEVELS, seeds=1, strategy="{name: ugs, mask_epochs: 2}")
    run(main, name="open", levels=LEVELS, seeds=1, strategy="{name: teddy, weight: 1, distil: all}")
    board = build([Path("runs")])
    assert not board.rejected
    rows = {row.name.split()[0]: row for row in board.rows}
    assert {name: row.track for name, row in rows.items()} == {
        **{"later": "inductive", "ugs": "inductive", "open": "inductive"},
        "now": "held-out",
    }
    ranks = {name: row.ranks.get("graph.area") for name, row in rows.items()}
    assert ranks["now"] == 1 and {ranks["later"], ranks["ugs"]} <= {1, 2} and ranks["open"] is None
    assert "validation nodes" in rows["open"].unranked
    said = {name: {v.rule: v.reason for v in row.verdicts}["track"] for name, row in rows.items()}
    assert "by the scorer 'teddy'" in said["later"] and "by the scorer 'random'" in said["ugs"]
    assert "random" in rows["later"].claims[0].controls
    tickets_of = {(t.config["seed"], t.config["level"]): t for t in map(Ticket.load, tickets("later"))}
    for claim in rows["later"].claims:
        tests = [tickets_of[seed, claim.level].metrics["test"] for seed in range(2)]
        assert claim.test == pytest.approx(sum(tests) / 2)
    text = render(board)
    order = [text.index(f"## {track} track") for track in ("Held-out", "Inductive", "Open")]
    assert order == sorted(order) and order[1] < text.index("#### later") < order[2] and "No entry." in text[order[2] :]


def test_an_entry_is_measured_anew_and_cannot_lie(main, place):
    run(main, dataset={"name": "minesweeper"}, levels="[3]", seeds=1)
    (folder,) = runs_under(Path("runs"))
    m = measured(of_run(folder))
    assert m.track == "inductive" and rules.track(m).status == "ok"
    files = files_of(folder, place)
    good, _ = verify(zipped(files, "good.zip"))
    assert good.track == "inductive" and len(good.points) == 2
    said = {"test": 0.99}
    liar = edited(files, header=lambda h: h["metrics"].update(said), records=lambda r: r.update(said))
    with pytest.raises(NotVerified, match=r"says test = 0\.99"):
        verify(zipped(liar, "liar.zip"))

    def transductive(header):
        del header["config"]["train"]["inductive"]
        del header["config"]["config_id"]

    with pytest.raises(NotVerified, match="belongs to another graph"):
        verify(zipped(edited(files, header=transductive), "other.zip"))


def test_the_report_tells_it_from_the_others(main, place):
    from glt.report.describe import describe, experiment_of

    later, now = run(main, seeds=1, name="later"), run(main, seeds=1, name="now", inductive=False)
    keys = [{experiment_of(r) for r in records} for records in (later, now)]
    assert not keys[0] & keys[1], "dense models neither"
    about = describe(later[1])
    assert (
        about["track"] == "inductive" and "inductive true" in about["options"] and "distil held_out" in about["options"]
    )


def test_a_picture_is_of_the_ticket_s_own_graph(main, place):
    from glt.report.collect import collect
    from glt.report.pictures import pictures

    run(main, dataset={"name": "minesweeper"}, levels="[1]", seeds=1)
    made, missing = pictures(collect([Path("runs")]).records)
    assert len(made) == 1 and not missing


def test_a_graph_with_splits_of_every_seed_can_be_a_user_s_own():
    data = small_sbm()
    several = copy.copy(data)
    for name in ("train_mask", "val_mask", "test_mask"):
        several[name] = torch.stack([data[name], data[name].roll(5)], 1)
    one, other = (found(several, "teddy", seed=seed) for seed in (0, 1))
    assert one.fingerprint != other.fingerprint
    assert one.verify(several, model()).ok and other.verify(several, model()).ok
    for ticket, column in ((one, 0), (other, 1)):
        mine = ticket.apply(several)
        assert mine.test_mask.tolist() == several.test_mask[:, column].tolist()
        assert pairs_of(mine) == pairs_of(judged_on(ticket, several)[1])
    assert glt.Ticket is Ticket
