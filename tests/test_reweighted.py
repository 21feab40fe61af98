"""Edges that weigh more because others went: in a search, its tickets, their controls and their files."""

import pytest
import torch
from cli_runs import CSBM

from glt import pipeline, ticket_file
from glt.config import Config
from glt.controlled import problem_of
from glt.errors import GltError
from glt.find import find
from glt.forward import Forward
from glt.pipeline import Run
from glt.problem import Problem
from glt.registry import build
from glt.strategies.base import Taught
from glt.ticket import Ticket
from glt.train import Recipe
from glt.transforms import Sparsify
from glt.verify import search_again

DSPAR = {"name": "dspar", "variant": "priority"}
QUICK = Recipe(epochs=3, lr=0.05)
STRATEGIES = ("teddy", "imp", "oneshot")


def found_by(strategy, data, scorer=DSPAR, model=None, **options):
    model = model or build("backbones", {"name": "gcn", "hidden": 8})
    return find(model, data, 0.4, 0.5, strategy={"name": strategy, "scorer": scorer, **options}, recipe=QUICK)


def loaded(ticket, folder):
    ticket.save(folder / "it.safetensors")
    return Ticket.load(folder / "it.safetensors")


@pytest.mark.parametrize("variant", ["priority", "unique"])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_graph_is_the_transforms_and_the_numbers_come_again(strategy, variant, sbm, tmp_path):
    scorer = {"name": "dspar", "variant": variant}
    ticket = found_by(strategy, sbm, scorer, reweight=True)
    again = loaded(ticket, tmp_path)
    want = Sparsify(0.4, scorer, reweight=True)(sbm)
    for one in (ticket, again):
        sub = one.apply(sbm)
        assert torch.equal(sub.edge_index, want.edge_index) and torch.equal(sub.edge_weight, want.edge_weight)
    assert float(want.edge_weight.max()) > 1
    model = again.restore(build("backbones", {"name": "gcn", "hidden": 8})(8, 3))
    checks = again.verify(sbm, model).checks
    assert all(check.stored == check.recomputed for check in checks) and len(checks) == 4
    problem = problem_of(again, sbm, build("backbones", {"name": "gcn", "hidden": 8}), QUICK)
    graph = problem.subgraph(again.edge_keep, again.edge_weights)
    assert torch.equal(Forward(model, graph).evaluate(), Forward(model, again.apply(sbm)).evaluate())
    bare = again.apply(sbm)
    del bare.edge_weight
    assert not torch.equal(Forward(model, graph).evaluate(), Forward(model, bare).evaluate()), "weights matter"


def test_weights_of_the_data_are_multiplied_and_loops_weigh_what_they_did(sbm):
    loops = torch.tensor([[3, 5], [3, 5]])
    sbm.edge_index = torch.cat([sbm.edge_index, loops], 1)
    sbm.edge_weight = torch.full((sbm.edge_index.size(1),), 2.0)
    ticket = found_by("oneshot", sbm, reweight=True)
    sub = ticket.apply(sbm)
    assert torch.equal(sub.edge_weight, Sparsify(0.4, DSPAR, reweight=True)(sbm).edge_weight)
    assert sub.edge_weight[-2:].tolist() == [2.0, 2.0]


def test_a_ticket_without_weights_is_a_file_of_the_old_format(sbm, tmp_path):
    plain = loaded(found_by("oneshot", sbm), tmp_path)
    assert plain.edge_weights is None and plain.apply(sbm).get("edge_weight") is None
    assert ticket_file.read(tmp_path / "it.safetensors")[0]["format"] == 1
    loaded(found_by("oneshot", sbm, reweight=True), tmp_path)
    header, tensors = ticket_file.read(tmp_path / "it.safetensors")
    assert header["format"] == 2
    tensors["edge_weights"] = tensors["edge_weights"][1:]
    ticket_file.write(tmp_path / "it.safetensors", header, tensors)
    with pytest.raises(GltError, match="edge weights for"):
        Ticket.load(tmp_path / "it.safetensors")


@pytest.mark.parametrize("name", ["same_edges", "shuffled", "reinitialised", "random", "same_weights"])
def test_controls_on_the_tickets_edges_weigh_them_as_it_does(name, sbm):
    ticket = found_by("oneshot", sbm, reweight=True)
    problem = problem_of(ticket, sbm, build("backbones", {"name": "gcn", "hidden": 8}), QUICK)
    made = build("controls", name)(problem, ticket, Taught())
    if name in ("random", "same_weights"):
        assert made.ticket.edge_weights is None
    else:
        assert torch.equal(made.ticket.edge_weights, ticket.edge_weights)
    model = made.ticket.restore(problem.model())
    assert torch.equal(Forward(model, made.ticket.apply(sbm)).evaluate(), made.logits)


@pytest.mark.parametrize("strategy", ["teddy", "imp"])
def test_a_run_records_repeats_and_goes_on(strategy, tmp_path):
    options = {"name": strategy, "scorer": DSPAR, "reweight": True}
    sections = {
        "dataset": CSBM,
        "backbone": {"name": "gcn", "hidden": 8},
        "strategy": options,
        "schedule": {"name": "geometric", "graph_rate": 0.2, "weight_rate": 0.2, "levels": [1, 2]},
        "train": {"epochs": 2},
        "seeds": (3,),
        "controls": ["same_edges"],
    }
    run = Run.under(Config.load(None, (), sections), tmp_path)
    records = list(pipeline.run(run))
    assert [(r["level"], r["status"]) for r in records] == [(0, "ok"), (1, "ok"), (2, "ok"), (1, "ok"), (2, "ok")]
    assert all(record["ticket_test"] == records[record["level"]]["test"] for record in records[3:])
    path = run.path(3, 2)
    checks = search_again(Ticket.load(path)).checks
    assert "edge weights that differ" in {check.name for check in checks} and all(check.ok for check in checks)
    before = path.read_bytes()
    path.unlink()
    list(pipeline.run(run))
    assert path.read_bytes() == before


def test_what_cannot_be_weighted_is_refused_before_anything_is_trained(sbm, monkeypatch):
    monkeypatch.setattr(Problem, "fit", lambda *args, **options: pytest.fail("trained"))
    for name in ("gin", "sage", "gat"):
        with pytest.raises(GltError, match="does not heed edge weights"):
            found_by("oneshot", sbm, model=build("backbones", {"name": name, "hidden": 8}), reweight=True)
    with pytest.raises(GltError, match="'gumbel' defines no weights"):
        found_by("oneshot", sbm, "dspar", reweight=True)
    with pytest.raises(GltError, match="defines no weights for the edges that stay"):
        found_by("teddy", sbm, "teddy", reweight=True)
    with pytest.raises(GltError, match="leave out selection"):
        found_by("teddy", sbm, reweight=True, selection={"inverse": True})
