"""CUDA does what the CPU does; skipped without a device."""

import copy

import pytest
import torch
from reference.backbones import small
from reference.scorers import MODEL_FREE

import glt
from glt.forward import Forward
from glt.frozen import fit_frozen
from glt.registry import build, names
from glt.sparsify import keep_arcs

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.fixture
def data():
    return build("datasets", {"name": "csbm", "nodes": 500})()


@pytest.mark.parametrize("name", MODEL_FREE)
def test_scores_and_selection_are_the_same_bits(data, name):
    scorer = build("scorers", name)
    cuda = data.clone().to("cuda")
    assert torch.equal(scorer(data), scorer(cuda).cpu())
    assert torch.equal(keep_arcs(data, scorer, 0.37), keep_arcs(cuda, scorer, 0.37).cpu())


@pytest.mark.parametrize("name", names("backbones"))
def test_prepared_forward_agrees(data, name):
    model = small(name, hidden=64)(data.x.size(1), data.num_classes)
    cpu = Forward(model, data).evaluate()
    cuda = data.clone().to("cuda")
    model = model.cuda()
    torch.testing.assert_close(Forward(model, cuda).evaluate().cpu(), cpu, rtol=1e-4, atol=1e-4)


def test_find_runs_and_the_sparsities_are_exact(data):
    recipe = glt.Recipe(epochs=5)
    ticket = glt.find("gcn", data.clone().to("cuda"), 0.4, 0.65, recipe=recipe)
    cpu = glt.find("gcn", data, 0.4, 0.65, recipe=recipe)
    assert torch.equal(ticket.edge_keep, cpu.edge_keep)
    assert ticket.weight_sparsity == cpu.weight_sparsity


def test_a_live_part_is_trained_as_the_whole_is(data):
    data.x = data.x.to_dense().double()
    data = data.clone().to("cuda")
    model = small("gcn", hidden=64)(data.x.size(1), data.num_classes).double().cuda()
    model.dropout = 0.0
    masks = glt.constraints.largest_weights(glt.prunable_weights(model), 0.6, granularity="unit")
    whole, part = (
        fit_frozen(copy.deepcopy(model), data, masks, glt.Recipe(epochs=30, live=live)) for live in (False, "auto")
    )
    assert part.live.startswith("yes") and part.epoch == whole.epoch
    for name, tensor in whole.state.items():
        torch.testing.assert_close(part.state[name], tensor, rtol=1e-6, atol=1e-6)
