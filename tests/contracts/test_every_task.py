"""Every strategy, control, pruner and scorer works on every kind of task, and edge attributes come along."""

import inspect

import pytest
import torch
from reference.graphs import small_sbm
from torch import nn
from torch_geometric.nn import GINEConv, TransformerConv

from glt.controlled import controls
from glt.errors import GltError
from glt.evaluate import METRICS
from glt.find import find
from glt.losses import cross_entropy
from glt.problem import Problem
from glt.pruners.base import Pruning
from glt.registry import build, names
from glt.strategies.base import Taught
from glt.train import Recipe

QUICK = Recipe(epochs=3, lr=0.05)
TASKS = ("multilabel", "binary")
searching = pytest.mark.parametrize("name", [name for name in names("strategies") if name != "dense"])
tasks = pytest.mark.parametrize("task", TASKS)


def graph(task):
    """A small graph; its labels of three tasks with some missing, or of two classes measured by ROC-AUC."""
    data = small_sbm()
    if task == "multilabel":
        y = nn.functional.one_hot(data.y, 3).float()
        y[:, 2] = (data.y != 0).float()  # nodes with no label, with one and with two
        y[::7, 1] = torch.nan
        data.y, data.metric = y, "roc_auc"
    else:
        data.y, data.metric = (data.y > 0).long(), "roc_auc"
    data.pop("num_classes", None)
    return data


def with_edges(data):
    """Attributes by which every arc can be told; both arcs of an edge have the same."""
    low, high = data.edge_index.sort(dim=0).values
    data.edge_attr = torch.stack([low, high], dim=1).float() / 60
    data.edge_weight = (1 + low * 60 + high).float() / 3600
    return data


def backbone():
    return build("backbones", {"name": "gcn", "hidden": 6})


class Edges(nn.Module):
    """A user's model that reads edge attributes."""

    def __init__(self, layer, inputs, outputs):
        super().__init__()
        if layer == "gine":
            self.first = GINEConv(nn.Linear(inputs, 6), edge_dim=2)
            self.last = GINEConv(nn.Linear(6, outputs), edge_dim=2)
        else:
            self.first = TransformerConv(inputs, 6, edge_dim=2)
            self.last = TransformerConv(6, outputs, edge_dim=2)

    def forward(self, x, edge_index, edge_attr):
        return self.last(self.first(x, edge_index, edge_attr).relu(), edge_index, edge_attr)


@searching
@tasks
def test_every_strategy_finds_what_verifies(name, task):
    data = graph(task)
    ticket = find(backbone(), data, 0.25, 0.5, strategy={"name": name, "weight": 1.0}, recipe=QUICK)
    outputs = 3 if task == "multilabel" else 2
    assert ticket.metrics["metric"] == "roc_auc"
    assert 0 <= ticket.metrics["test"] <= 1
    result = ticket.verify(data, backbone()(data.x.size(1), outputs))
    assert result.ok and all(check.stored == check.recomputed for check in result.checks)
    logits = backbone()(data.x.size(1), outputs)
    assert ticket.restore(logits).convs[-1].bias.shape == (outputs,)


@tasks
def test_every_control_runs_beside_a_ticket(task):
    data = graph(task)
    ticket = find(backbone(), data, 0.25, 0.5, strategy={"name": "teddy", "weight": 1.0}, recipe=QUICK)
    compared = controls(ticket, data, backbone(), which="all")
    assert compared.left_out.keys() <= {"width_matched"}  # of a backbone that the ticket's config does not name
    done = {row.name for row in compared.controls}
    assert done >= set(names("controls")) - {"width_matched"}
    assert all(row.low is None for row in compared.controls), "ROC-AUC is no mean over nodes"


@pytest.mark.parametrize("metric", sorted(METRICS))
@tasks
def test_every_metric_reads_every_task(metric, task):
    data = graph(task)
    problem = Problem(data, backbone(), QUICK, metric=metric)
    result = problem.dense
    want = METRICS[metric](result.logits[data.test_mask], data.y[data.test_mask])
    assert problem.metric == metric and result.test == want and 0 <= want <= 1


@pytest.mark.parametrize("name", names("pruners"))
@tasks
def test_every_pruner_gives_finite_numbers(name, task):
    data = graph(task)
    problem = Problem(data, backbone(), QUICK)
    pruning = Pruning(problem.model(), data, cross_entropy(data), initial=problem.initial, sparsity=0.5)
    scores = build("pruners", name)(pruning)
    assert all(bool(torch.isfinite(score).all()) for score in scores.values())


@pytest.mark.parametrize("name", names("scorers"))
@tasks
def test_every_scorer_gives_a_number_per_arc(name, task):
    data = graph(task)
    piece = build("scorers", name)
    model = Problem(data, build("backbones", {"name": "gat", "hidden": 8}), QUICK).model()
    scores = piece(data, model) if "model" in inspect.signature(piece.__call__).parameters else piece(data)
    assert scores.shape == (data.num_edges,) and bool(torch.isfinite(scores).all())


@searching
def test_every_subgraph_has_the_right_rows_of_edge_attributes(name):
    data = with_edges(graph("multilabel"))
    ticket = find(backbone(), data, 0.4, 0.5, strategy=name, recipe=QUICK)
    sub = ticket.apply(data)
    again = with_edges(sub.clone())
    assert sub.edge_attr.shape == (sub.num_edges, 2) and sub.num_edges == 2 * int(ticket.edge_keep.sum())
    assert torch.equal(sub.edge_attr, again.edge_attr) and torch.equal(sub.edge_weight, again.edge_weight)
    assert ticket.verify(data, backbone()(data.x.size(1), 3)).ok


@pytest.mark.parametrize("layer", ["gine", "transformer"])
@searching
def test_a_users_model_reads_the_edge_attributes_of_the_subgraph(name, layer):
    data = with_edges(graph("multilabel"))
    model = Edges(layer, data.x.size(1), 3)
    ticket = find(model, data, 0.25, 0.5, strategy=name, recipe=QUICK)
    assert ticket.verify(data, model).ok
    sub = ticket.apply(data)
    trained = ticket.restore(Edges(layer, data.x.size(1), 3)).eval()
    moved = trained(sub.x, sub.edge_index, sub.edge_attr + 1)
    assert not torch.allclose(trained(sub.x, sub.edge_index, sub.edge_attr), moved)


def test_the_loss_of_a_problem_has_as_many_logits_as_tasks():
    data = graph("multilabel")
    with pytest.raises(GltError, match=r"the model gives 4 logits, the labels are of 3 tasks"):
        Problem(data, build("backbones", "gcn")(data.x.size(1), 4))


def test_levels_of_a_multilabel_search_are_distilled():
    data = graph("multilabel")
    problem = Problem(data, backbone(), QUICK)
    loss, spent = Taught(weight=1.0).taught(problem)
    assert spent and float(loss(problem.dense.logits)) == pytest.approx(
        float(cross_entropy(data)(problem.dense.logits)), rel=1e-5
    )
