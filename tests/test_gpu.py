"""CUDA does what the CPU does; skipped without a device."""

import copy
from importlib.util import find_spec
from pathlib import Path

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
from glt.evaluate import DEVICE_METRICS, METRICS
from glt.forward import Forward
from glt.frozen import fit_frozen
from glt.registry import build, names
from glt.select import keep_count
from glt.sparsify import keep_arcs
from glt.train import fit

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"

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


@pytest.mark.parametrize("name", [name for name in names("strategies") if name != "dense"])
def test_every_strategy_finds_a_ticket_that_verifies_on_the_cpu(data, name):
    backbone = small("gcn", hidden=8)
    recipe = glt.Recipe(epochs=5)
    ticket = glt.find(
        backbone, data.clone().to("cuda"), 0.3, 0.5, strategy={"name": name, "weight": 1.0}, recipe=recipe
    )
    assert int(ticket.edge_keep.sum()) == keep_count(ticket.edge_keep.numel(), 0.3)
    assert ticket.edge_keep.device.type == "cpu"
    (*sparsities, val, test) = ticket.verify(data, backbone(data.x.size(1), data.num_classes)).checks
    assert all(check.ok for check in sparsities)
    for check in (val, test):  # a node whose two best classes are level may change sides
        assert check.recomputed == pytest.approx(check.stored, abs=0.02)


SAMPLER = pytest.mark.skipif(
    not any(find_spec(name) for name in ("pyg_lib", "torch_sparse")), reason="needs pyg-lib or torch-sparse"
)


@pytest.mark.parametrize(
    "batches",
    [
        {"name": "parts", "num_parts": 1},
        {"name": "parts", "num_parts": 3},
        pytest.param({"name": "clusters", "num_parts": 8, "per_batch": 4}, marks=SAMPLER),
        pytest.param({"name": "neighbors", "fanout": [-1, -1], "size": 100}, marks=SAMPLER),
    ],
)
def test_parts_and_chunks_are_those_of_the_cpu(data, batches):
    recipe = glt.Recipe(epochs=4, batches=batches, eval_chunk=64)
    states = []
    for device in ("cpu", "cuda"):
        torch.manual_seed(0)
        model = small("sage", hidden=16, dropout=0.0)(data.x.size(1), data.num_classes)
        states.append(fit(model.to(device), data.clone().to(device), recipe).state)
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name].cpu(), value, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("metric", sorted(DEVICE_METRICS))
def test_metrics_on_the_device_are_those_of_the_host(metric):
    logits, y = torch.randn(200, 2).round(decimals=1), torch.randint(2, (200,))
    assert float(DEVICE_METRICS[metric](logits.cuda(), y.cuda())) == pytest.approx(
        METRICS[metric](logits, y), abs=1e-12
    )


def test_multilabel_is_scored_on_the_host(data):
    data.y = torch.nn.functional.one_hot(data.y).float()
    data.metric = "roc_auc"
    result = fit(
        small("gcn")(data.x.size(1), data.y.size(1)).cuda(), data.to("cuda"), glt.Recipe(epochs=4), metric="roc_auc"
    )
    assert 0 <= result.val <= 1 and result.captured == "no: the validation metric is computed on the host"


@pytest.mark.parametrize("benchmark", ["epoch", "together"])
def test_the_benchmarks_of_figures_not_yet_measured_run(benchmark, monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import kernels
    import speed
    import speed_epoch

    monkeypatch.setitem(
        speed_epoch.GENERATED, "csbm-arxiv", {"nodes": 400, "avg_degree": 4, "features": 20, "words": 5}
    )
    where = ["--dataset", "csbm-arxiv"] if benchmark == "epoch" else ["--dataset", "csbm"]
    speed.main([benchmark, "--quick", "--device", "cuda", "--hidden", "16", *where], standalone_mode=False)
    kernels.main(["--quick", "--device", "cuda"], standalone_mode=False)
