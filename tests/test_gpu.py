"""CUDA does what the CPU does; skipped without a device."""

import pytest
import torch
from reference.backbones import small
from reference.scorers import MODEL_FREE

import glt
from glt.compact.build import compact
from glt.compact.exact import difference, tolerance
from glt.compact.graphs import Prepared
from glt.compact.ops import Linear
from glt.compact.storage import choose
from glt.compact.two_four import capable
from glt.forward import Forward
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


@pytest.mark.parametrize("name", names("backbones"))
def test_compact_models_agree(data, name):
    model = small(name, hidden=64)(data.x.size(1), data.num_classes).cuda()
    data = data.clone().to("cuda")
    made = compact(model, data)
    assert not [line for line in made.report.lines if line.storage == "left alone"], str(made.report)
    assert difference(made(), Forward(model, data, plain=True).evaluate()) <= 1e-4


@pytest.mark.skipif(not capable(torch.device("cuda"), torch.float16), reason="needs compute capability 8.0")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize(("rows", "columns"), [(32, 64), (500, 437), (40, 500)])
def test_products_with_two_of_four(dtype, rows, columns):
    """As dense ones, whatever the shape; float32 may be rounded to ten bits, and is then passed over."""
    torch.manual_seed(0)
    weight = torch.randn(rows, columns, device="cuda", dtype=dtype)
    weight *= (torch.arange(columns, device="cuda") + torch.arange(rows, device="cuda").unsqueeze(1)) % 2
    x, bias = torch.randn(300, columns, device="cuda", dtype=dtype), torch.randn(rows, device="cuda", dtype=dtype)
    dense = Linear([0], rows, "weight", {"weight": weight, "bias": bias})
    made, graph = dense.stored("2:4"), Prepared(300, [])
    if dtype != torch.float32:
        assert difference(made.run(graph, x), dense.run(graph, x)) <= tolerance(dtype)
    stored, note = choose(dense, x, graph, "auto")
    assert stored.form in ("dense", "csr", "2:4") and "2:4" in note
    assert difference(stored.run(graph, x), dense.run(graph, x)) <= tolerance(dtype)
    assert choose(dense, x, graph, "2:4")[0].form == "2:4" or dtype == torch.float32


def test_find_runs_and_the_sparsities_are_exact(data):
    recipe = glt.Recipe(epochs=5)
    ticket = glt.find("gcn", data.clone().to("cuda"), 0.4, 0.65, recipe=recipe)
    cpu = glt.find("gcn", data, 0.4, 0.65, recipe=recipe)
    assert torch.equal(ticket.edge_keep, cpu.edge_keep)
    assert ticket.weight_sparsity == cpu.weight_sparsity
