"""Costs are held to counters of what is really multiplied."""

import copy
import json

import pytest
import torch
from test_backbones import BACKBONES, model_of
from torch.utils.flop_counter import FlopCounterMode
from torch_geometric.nn import MessagePassing, PNAConv

import glt
from glt.compact.graphs import multiply_plainly
from glt.compact.ops.attend_dots import dots
from glt.cost import cost, multiply_adds
from glt.problem import Problem
from glt.registry import build
from glt.ticket import Ticket

CSBM = {"name": "csbm", "nodes": 120, "classes": 4, "features": 20, "avg_degree": 4}


@pytest.fixture(scope="module")
def data():
    data = build("datasets", CSBM)()
    data.x = data.x.to_dense()
    return data


def found(name, data, **options):
    model = model_of(name, **options)
    ticket = glt.find(model, data, 0.4, 0.8, strategy="random", recipe=glt.Recipe(epochs=1))
    return ticket, model


def products(call):
    """Multiply-adds of all dense matrix products that ``call`` does."""
    with FlopCounterMode(display=False) as counter:
        call()
    counts = counter.get_flop_counts().get("Global", {})
    return sum(flops for op, flops in counts.items() if "mm" in str(op)) // 2


def messages(model, data):
    """Numbers in all messages that PyG's layers send: one multiply-add each."""
    total = 0

    def count(module, inputs, output):
        nonlocal total
        total += output.numel()

    model = copy.deepcopy(model).eval()
    for module in model.modules():
        if isinstance(module, MessagePassing):
            module.fuse = False  # else a sum is one fused product
            module.register_message_forward_hook(count)
    with torch.no_grad():
        model(data.x, data.edge_index)
    return total


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("name", BACKBONES)
def test_dense_numbers_are_those_of_pyg(name, layers, data):
    ticket, model = found(name, data, layers=layers)
    result = cost(ticket, model, data, reorder=False)
    attention = sum(entry.dense for entry in result.layers if ".att_" in entry.name)  # a product number by number
    assert result.total("dense", "weights") - attention == products(lambda: model(data.x, data.edge_index))
    besides = 0  # what PyG computes apart from the messages
    if name == "gin":  # (1 + eps) x
        besides = data.num_nodes * (20 + 16 * (layers - 1))
    elif name == "transformer" or name == "deepergcn":  # inner products, as wide as the messages
        besides = messages(model, data)
    assert result.total("dense", "propagation") == messages(model, data) + besides
    assert not result.uncounted


@pytest.mark.parametrize("storage", ["dense", "csr"])
@pytest.mark.parametrize("name", BACKBONES)
def test_compact_numbers_are_what_its_kernels_do(name, storage, data, monkeypatch):
    ticket, model = found(name, data, layers=3)
    made = ticket.compact(model, data, storage=storage, reorder=False)
    spent = 0

    def counting(matrix, dense):
        nonlocal spent
        spent += matrix.entries * dense.size(1)
        return multiply_plainly(matrix, dense)  # which the other counter does not see

    def counting_dots(graph, arcs, query, key):
        nonlocal spent
        spent += arcs.entries * query.size(1)
        return dots(graph, arcs, query, key)

    result = cost(ticket, model, data, storage=storage, reorder=False)
    made.ready.graph.multiply = counting
    monkeypatch.setattr("glt.compact.ops.attend_dots.dots", counting_dots)
    assert products(made) + spent == result.total("compact") > 0


def test_ticket_numbers_follow_the_formula(data):
    ticket, model = found("gcn", data)
    result = cost(ticket, model, data)
    kept = [int(mask.sum()) for mask in ticket.weight_masks.values()]
    arcs = ticket.apply(data).num_edges + data.num_nodes
    assert result.total("ticket", "weights") == sum(kept) * data.num_nodes
    assert result.total("ticket", "propagation") == arcs * (16 + 4)
    assert result.total("dense", "propagation") == (data.num_edges + data.num_nodes) * (16 + 4)
    assert result.sizes["dense"].parameters == sum(p.numel() for p in model.parameters())
    assert result.sizes["ticket"].parameters == sum(kept) + 16 + 4
    assert result.sizes["compact"].parameters <= result.sizes["ticket"].parameters
    assert result.total("compact") <= result.total("dense")
    assert "nnz(W) x nodes" in str(result) and "compact" in str(result).splitlines()[0]
    assert json.loads(json.dumps(result.tree()))["macs"]["ticket"]["weights"] == sum(kept) * data.num_nodes


# --- tickets without initial weights


@pytest.fixture(scope="module")
def seeded(data):
    backbone = build("backbones", {"name": "gcn", "hidden": 16})
    problem = Problem(data, backbone, glt.Recipe(epochs=2), seed=3, config={"backbone": {"name": "gcn", "hidden": 16}})
    return next(iter(build("strategies", "random").tickets(problem, glt.OneShot(graph=0.4, weight=0.8))))


@pytest.mark.parametrize("name", BACKBONES)
def test_records_have_the_same_sums(name, data):
    ticket, model = found(name, data)
    whole, sparse = cost(ticket, model, data), copy.copy(data)
    sparse.x = data.x.to_sparse_csr()
    for graph in (data, sparse):
        counted = multiply_adds(ticket, model, graph)
        assert counted == {"macs": whole.total("ticket"), "macs_dense": whole.total("dense")}


def test_what_cannot_be_counted_as_a_whole_is_not(data):
    class Odd(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = PNAConv(20, 4, ["max"], ["identity"], torch.tensor([1, 2, 3]))

        def forward(self, x, edge_index):
            return self.conv(x, edge_index)

    torch.manual_seed(0)
    model = Odd()
    ticket = glt.find(model, data, 0.4, 0.5, strategy="random", recipe=glt.Recipe(epochs=1))
    assert cost(ticket, model, data).uncounted
    assert multiply_adds(ticket, model, data) == {}


def test_initial_weights_are_made_again(seeded, tmp_path):
    seeded.save(tmp_path / "full.safetensors")
    seeded.save(tmp_path / "it.safetensors", initial=False)
    state = torch.get_rng_state()
    again = Ticket.load(tmp_path / "it.safetensors")
    assert torch.equal(torch.get_rng_state(), state)
    assert again.initial.keys() == seeded.initial.keys()
    assert all(torch.equal(v, seeded.initial[k]) for k, v in again.initial.items())
    assert all(torch.equal(v, seeded.weight_masks[k]) for k, v in again.weight_masks.items())
    assert all(
        torch.equal(v[m], again.trained[k][m])
        for k, v in seeded.trained.items()
        for m in [again.weight_masks.get(k, ...)]
    )
    assert (tmp_path / "it.safetensors").stat().st_size < (tmp_path / "full.safetensors").stat().st_size
    again.save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "full.safetensors").read_bytes()


def test_weights_that_no_seed_gives_are_refused(seeded, tmp_path):
    other = copy.deepcopy(seeded)
    other.initial["convs.0.bias"] += 1
    with pytest.raises(glt.GltError, match="save the ticket with initial=True"):
        other.save(tmp_path / "it.safetensors", initial=False)
    nameless = copy.deepcopy(seeded)
    del nameless.config["backbone"]
    with pytest.raises(glt.GltError, match="save the ticket with initial=True"):
        nameless.save(tmp_path / "it.safetensors", initial=False)
    assert not list(tmp_path.iterdir())


def test_another_torch_that_draws_otherwise_is_told(seeded, tmp_path, monkeypatch):
    seeded.save(tmp_path / "it.safetensors", initial=False)
    monkeypatch.setattr("glt.initial._made", lambda *_: {k: v + 1 for k, v in seeded.initial.items()})
    with pytest.raises(glt.GltError, match="seed 3 gives other ones here"):
        Ticket.load(tmp_path / "it.safetensors")


@pytest.mark.parametrize(("hidden", "sparsity"), [(256, 0.9), (16, 0.67)])
@pytest.mark.parametrize("words", [0.02, 1.0])
def test_a_compact_file_of_single_weights_is_about_as_small_as_the_ticket(hidden, sparsity, words):
    """Also where they are multiplied as dense ones, as sparse features are."""
    torch.manual_seed(0)
    data = build("datasets", CSBM)()
    data.x = torch.randn(120, 600) * (torch.rand(120, 600) < words)
    model = build("backbones", {"name": "gcn", "hidden": hidden})(600, 4)
    ticket = glt.find(model, data, 0.4, sparsity, strategy="random", recipe=glt.Recipe(epochs=1))
    sizes = cost(ticket, model, data).sizes
    kept = sum(int(mask.sum()) for mask in ticket.weight_masks.values())
    bits = sum(mask.numel() for mask in ticket.weight_masks.values()) / 8
    assert sizes["compact"].disk <= 4 * kept + bits + 7000, "header, biases, and which features are read"
    assert sizes["compact"].disk < 0.5 * sizes["dense"].disk
    assert kept <= sizes["compact"].parameters <= kept + hidden + 4


def test_a_ticket_as_large_as_arxivs_is_small(tmp_path):
    """1,157,799 edges at 60 %, GCN of 128, 256, 256 and 40 at 90 %: under 400 kB on disk."""
    spec = {"name": "gcn", "hidden": 256, "layers": 3}
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng([]):
        torch.manual_seed(1)
        initial = build("backbones", spec)(128, 40).state_dict()
    masks = {k: torch.rand(v.shape, generator=generator) < 0.1 for k, v in initial.items() if v.dim() == 2}
    keep = torch.rand(1_157_799, generator=generator) < 0.4
    config = {"backbone": spec, "seed": 1, "dataset": "ogbn-arxiv", "strategy": "teddy"}
    Ticket(keep, masks, initial, "f" * 64, config=config, trained=initial).save(tmp_path / "it", initial=False)
    size = (tmp_path / "it").stat().st_size
    assert 180_000 < size < 230_000
