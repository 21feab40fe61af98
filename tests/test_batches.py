"""Batches: what a batch carries, what is trained on it, and that one part is the whole graph."""

import copy
import dataclasses
import json
from importlib.util import find_spec

import pytest
import torch
import torch_geometric.loader
import torch_geometric.typing
from torch_geometric.data import Data
from torch_geometric.nn import GATConv, GCNConv, GINConv, SAGEConv, TransformerConv
from torch_geometric.utils import subgraph

from glt.batches.base import Batch, skeleton
from glt.batches.extra import needed
from glt.config import Config
from glt.edges import PrunableEdges
from glt.errors import GltError, TrainingError
from glt.forward import Forward
from glt.losses import cross_entropy, distilled
from glt.masks import SoftMasked
from glt.problem import Problem
from glt.registry import build, names, spec_of
from glt.schedules.geometric import Geometric
from glt.schedules.level import Level
from glt.select import keep_count
from glt.ticket import Ticket
from glt.train import Recipe, fit

PARTS = {"name": "parts", "num_parts": 4}
EXTRA = any(find_spec(name) for name in ("pyg_lib", "torch_sparse"))
SAMPLED = ["neighbors", "clusters"]
SEARCHING = [name for name in names("strategies") if name != "dense"]
LEVELS = [Level(1, 0.2, 0.3), Level(3, 0.488, 0.657)]


def csbm(**options):
    return build("datasets", {"name": "csbm", "nodes": 120, "classes": 3, "features": 30, "avg_degree": 4, **options})()


@pytest.fixture(scope="module")
def data():
    return csbm()


def backbone(name="gcn", **options):
    return build("backbones", {"name": name, "hidden": 8, **options})


def everything(data):
    return torch.arange(data.num_nodes)


def batches_of(data, epoch=1, seed=0, **options):
    return list(build("batches", {**PARTS, **options})(data, seed, everything(data))(epoch))


def problem_of(data, batches=PARTS, seed=0, kind="gcn", **options):
    recipe = {"epochs": 2, "lr": 0.05, **options}
    return Problem(data, backbone(kind), Recipe(batches=batches, **recipe), seed)


# what a batch carries


def test_the_parts_of_an_epoch_hold_every_node_once(data):
    parts = batches_of(data, num_parts=7)
    assert sorted(p.num_nodes for p in parts) == [17] * 6 + [18]
    assert torch.cat([p.n_id for p in parts]).sort().values.tolist() == list(range(120))
    assert all(p.targets == p.num_nodes and p.whole is data for p in parts)


def test_a_part_is_the_graph_that_its_nodes_induce(data):
    data = data.clone()
    data.edge_weight, data.edge_attr = torch.rand(data.num_edges), torch.rand(data.num_edges, 2)
    data.edge_index[:, 5] = 3  # a self-loop
    for part in batches_of(data):
        want, _, mask = subgraph(part.n_id, data.edge_index, relabel_nodes=True, return_edge_mask=True, num_nodes=120)
        assert torch.equal(part.edge_index, want)
        assert torch.equal(part.e_id, mask.nonzero().squeeze(1))
        assert torch.equal(part.n_id[part.edge_index], data.edge_index[:, part.e_id])
        for key in ("y", "train_mask", "val_mask", "test_mask"):
            assert torch.equal(part[key], data[key][part.n_id])
        for key in ("edge_weight", "edge_attr"):
            assert torch.equal(part[key], data[key][part.e_id])
        assert part.x.layout == torch.sparse_csr
        assert torch.equal(part.x.to_dense(), data.x.to_dense()[part.n_id])
        assert part.split == data.split


@pytest.mark.parametrize("layout", ["strided", "sparse_coo"])
def test_other_layouts_of_features_are_cut_too(data, layout):
    other = data.clone()
    other.x = data.x.to_dense() if layout == "strided" else data.x.to_sparse_coo()
    for part in batches_of(other):
        assert part.x.layout == getattr(torch, layout)
        assert torch.equal(part.x.to_dense(), data.x.to_dense()[part.n_id])


def test_a_graph_with_as_many_arcs_as_nodes_is_cut_rightly():
    ring = torch.arange(6)
    data = Data(x=torch.rand(6, 2), edge_index=torch.stack([ring, ring.roll(1)]), y=torch.arange(6))
    data.edge_weight = torch.rand(6)
    for part in batches_of(data, num_parts=2):
        assert torch.equal(part.y, part.n_id)
        assert torch.equal(part.edge_weight, data.edge_weight[part.e_id])
        assert torch.equal(part.n_id[part.edge_index], data.edge_index[:, part.e_id])


def test_parts_are_drawn_by_seed_and_epoch_alone(data):
    def nodes(**options):
        return [part.n_id.tolist() for part in batches_of(data, **options)]

    torch.manual_seed(1)
    one, state = nodes(epoch=3), torch.get_rng_state()
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state)
    assert nodes(epoch=3) == one
    assert nodes(epoch=4) != one
    assert nodes(epoch=3, seed=1) != one


def test_one_part_is_the_graph(data):
    (part,) = batches_of(data, num_parts=1)
    assert torch.equal(part.n_id, torch.arange(120))
    assert torch.equal(part.edge_index, data.edge_index)


def test_more_parts_than_nodes_are_an_error(data):
    with pytest.raises(GltError, match=r"num_parts = 121 for 120 nodes"):
        fit(backbone()(30, 3), data, Recipe(epochs=1, batches={"name": "parts", "num_parts": 121}))


def test_a_batch_of_one_node_has_no_batch_normalisation(data):
    recipe = Recipe(epochs=1, batches={"name": "parts", "num_parts": 120})
    with pytest.raises(GltError, match="one node, too few for batch normalisation"):
        fit(backbone(norm="batch")(30, 3), data, recipe)
    assert fit(backbone(norm="layer")(30, 3), data, recipe).epochs == 1


# training


@pytest.mark.parametrize("weight", [0.0, 3.0])
@pytest.mark.parametrize("name", SEARCHING)
def test_one_part_equals_full_batch(name, weight, data):
    """Dropout is on: the same stream of random numbers."""
    strategy = build("strategies", {"name": name, "weight": weight})
    one, full = (
        next(iter(strategy.tickets(problem_of(data, batches), LEVELS[:1])))
        for batches in ({"name": "parts", "num_parts": 1}, "full")
    )
    assert torch.equal(one.edge_keep, full.edge_keep)
    for key, mask in full.weight_masks.items():
        assert torch.equal(one.weight_masks[key], mask)
    for key, value in full.trained.items():
        torch.testing.assert_close(one.trained[key], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", names("backbones"))
def test_one_part_equals_full_batch_for_every_backbone(kind, data):
    one, full = (problem_of(data, b, kind=kind).dense for b in ({"name": "parts", "num_parts": 1}, "full"))
    for key, value in full.state.items():
        torch.testing.assert_close(one.state[key], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", SEARCHING)
def test_every_strategy_finds_its_tickets_with_parts(name, data):
    strategy, problem = build("strategies", {"name": name, "weight": 2.0}), problem_of(data)
    tickets = list(strategy.tickets(problem, LEVELS))
    assert [ticket.config["level"] for ticket in tickets] == [1, 3]
    for level, ticket in zip(LEVELS, tickets, strict=True):
        weights = sum(mask.numel() for mask in ticket.weight_masks.values())
        assert sum(int(mask.sum()) for mask in ticket.weight_masks.values()) == keep_count(
            weights, level.weight_sparsity
        )
        assert int(ticket.edge_keep.sum()) == keep_count(240, level.graph_sparsity)
        for key, mask in ticket.weight_masks.items():
            assert not ticket.trained[key][~mask].any()
        assert ticket.verify(data, backbone()(30, 3)).ok
    if strategy.iterative or not strategy.soft_masks:
        assert not bool((tickets[1].edge_keep & ~tickets[0].edge_keep).any())


@pytest.mark.parametrize("name", [name for name in SEARCHING if build("strategies", name).iterative])
def test_a_search_with_parts_goes_on_to_the_same_bits(name, data, tmp_path):
    strategy, levels = build("strategies", name), Geometric(levels=2)
    whole = list(strategy.tickets(problem_of(data), levels))
    whole[0].save(tmp_path / "one.safetensors")
    start = Ticket.load(tmp_path / "one.safetensors")
    torch.manual_seed(9)
    (again,) = strategy.tickets(problem_of(data), levels, start)
    assert again.save(tmp_path / "a") == whole[1].save(tmp_path / "b")


def test_parts_are_not_the_full_graph_and_depend_on_the_seed(data):
    model = backbone()(30, 3)
    states = [
        fit(copy.deepcopy(model), data, Recipe(epochs=2, batches=batches), seed=seed).state["convs.0.lin.weight"]
        for batches, seed in ((PARTS, 0), (PARTS, 0), (PARTS, 1), ("full", 0))
    ]
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])
    assert not torch.equal(states[0], states[3])


def test_every_batch_is_a_step_under_the_constraint(data):
    steps = []

    class Counting:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def holds(self):
            return True

    def constrain(model, optimizer):
        optimizer.register_step_post_hook(lambda *_: steps.append(1))
        return Counting()

    result = fit(backbone()(30, 3), data, Recipe(epochs=3, batches=PARTS), constrain=constrain)
    assert len(steps) == 12
    assert result.epochs == 3
    assert result.logits.shape == (120, 3)


def test_parts_without_training_nodes_are_harmless(data):
    few = data.clone()
    few.train_mask = torch.zeros_like(data.train_mask)
    few.train_mask[data.train_mask.nonzero()[0]] = True
    result = fit(backbone()(30, 3), few, Recipe(epochs=2, batches={"name": "parts", "num_parts": 30}))
    assert all(bool(value.isfinite().all()) for value in result.state.values())


def test_a_users_module_is_trained_on_parts(data):
    model = GCNConv(30, 3)
    before = copy.deepcopy(model.state_dict())
    result = fit(model, data, Recipe(epochs=2, batches=PARTS))
    assert not torch.equal(result.state["lin.weight"], before["lin.weight"])


def test_a_loss_of_a_users_own_is_told_the_nodes(data):
    seen = []

    def loss(logits, nodes):
        seen.append((logits.size(0), nodes))
        return logits.square().mean()

    fit(backbone()(30, 3), data, Recipe(epochs=1, batches=PARTS), loss=loss)
    assert [n for n, _ in seen] == [30] * 4
    assert torch.cat([nodes for _, nodes in seen]).sort().values.tolist() == list(range(120))


def test_nan_on_a_batch_ends_training(data):
    with pytest.raises(TrainingError, match="the loss became nan at epoch 1"):
        fit(backbone()(30, 3), data, Recipe(batches=PARTS), loss=lambda logits, nodes: logits.sum() * torch.nan)


# losses


def test_the_loss_of_a_batch_looks_at_its_own_nodes(data):
    logits = torch.randn(120, 3)
    for part in batches_of(data):
        index = part.n_id[data.train_mask[part.n_id]]
        want = torch.nn.functional.cross_entropy(logits[index], data.y[index])
        assert cross_entropy(data)(logits[part.n_id], part.n_id) == want


def test_a_batch_without_training_nodes_has_no_loss_and_no_gradient(data):
    nodes = (~data.train_mask).nonzero().squeeze(1)
    logits = torch.randn(nodes.numel(), 3, requires_grad=True)
    loss = cross_entropy(data)(logits, nodes)
    loss.backward()
    assert loss == 0
    assert not logits.grad.any()


@pytest.mark.parametrize("which", ["all", "held_out"])
def test_a_batch_is_taught_by_the_teachers_outputs_on_its_nodes(data, which):
    teacher, logits = torch.randn(120, 3), torch.randn(120, 3)
    loss = distilled(data, teacher, 2.0, 1.5, which)
    torch.testing.assert_close(loss(logits, everything(data)), loss(logits))
    for part in batches_of(data):
        of_part = distilled(part, teacher[part.n_id], 2.0, 1.5, which)
        torch.testing.assert_close(loss(logits[part.n_id], part.n_id), of_part(logits[part.n_id]))


def test_what_is_held_out_teaches_no_batch(data):
    held = data.val_mask | data.test_mask
    loss = distilled(data, torch.randn(120, 3), 2.0, 1.0, "held_out")
    for nodes in (everything(data), held.nonzero().squeeze(1)):
        logits = torch.randn(nodes.numel(), 3, requires_grad=True)
        loss(logits, nodes).backward()
        assert not logits.grad[held[nodes]].any()


# soft masks


def gin(i, o):
    return GINConv(torch.nn.Linear(i, o))


class Two(torch.nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.first, self.last = layer(30, 8), layer(8, 3)

    def forward(self, x, edge_index):
        return self.last(self.first(x, edge_index).relu(), edge_index)


LAYERS = {"gcn": GCNConv, "sage": SAGEConv, "gat": GATConv, "gin": gin, "transformer": TransformerConv}
MODELS = {f"own {n}": lambda n=n: backbone(n)(30, 3) for n in names("backbones")}
MODELS |= {f"pyg {n}": lambda layer=layer: Two(layer) for n, layer in LAYERS.items()}


@pytest.mark.parametrize("which", MODELS)
def test_soft_masks_of_a_batch_are_those_of_its_arcs(which, data):
    """Against masks made for the batch's graph alone; with self-loops in the middle, and edges that are gone."""
    data = data.clone()
    loops = torch.arange(0, 120, 3).expand(2, -1)
    data.edge_index = torch.cat([data.edge_index[:, :200], loops, data.edge_index[:, 200:]], dim=1)
    edges, keep = PrunableEdges.of(data.edge_index, 120), torch.arange(240) % 5 > 0
    model = MODELS[which]()
    soft = SoftMasked(model, data, edges, keep, {}).eval()
    with torch.no_grad():
        soft.edges.uniform_(0, 2)
    mask = dict(zip(keep.nonzero().squeeze(1).tolist(), soft.edges.tolist(), strict=True))
    edge_of_pair = {
        tuple(sorted(pair)): edge
        for pair, edge in zip(data.edge_index.t().tolist(), edges.edge_of_arc.tolist(), strict=True)
    }
    for part in batches_of(soft.graph, num_parts=3):
        alone = PrunableEdges.of(part.edge_index, part.num_nodes)
        graph = Data(x=part.x, edge_index=part.edge_index)
        want = SoftMasked(model, graph, alone, torch.ones(alone.num_edges, dtype=torch.bool), {}).eval()
        with torch.no_grad():
            for arc, edge in zip(part.n_id[part.edge_index].t().tolist(), alone.edge_of_arc.tolist(), strict=True):
                if edge >= 0:
                    want.edges[edge] = mask[edge_of_pair[tuple(sorted(arc))]]
        torch.testing.assert_close(Forward(soft, part)(), Forward(want, want.graph)(), rtol=1e-4, atol=1e-5)


def test_a_batch_of_another_graph_is_refused(data):
    edges, keep = PrunableEdges.of(data.edge_index, 120), torch.arange(240) % 5 > 0
    soft = SoftMasked(backbone()(30, 3), data, edges, keep, {})
    with pytest.raises(GltError, match="batch of another graph"):
        fit(soft, data, Recipe(epochs=1, batches=PARTS))


# evaluation


def test_evaluation_now_and_then(data):
    seen = []
    model, recipe = backbone()(30, 3), Recipe(epochs=8, lr=0.05, eval_every=3)
    result = fit(model, data, recipe, on_epoch=lambda epoch, val: seen.append((epoch, val)))
    assert [epoch for epoch, _ in seen] == [3, 6, 8]
    best = max(val for _, val in seen)
    assert (result.val, result.epoch) == (best, max(epoch for epoch, val in seen if val == best))
    assert result.epochs == 8
    each = fit(backbone()(30, 3), data, dataclasses.replace(recipe, eval_every=1))
    assert each.epochs == 8


@pytest.mark.parametrize("batches", ["full", PARTS])
def test_evaluations_do_not_change_what_is_trained(data, batches):
    torch.manual_seed(0)
    model = backbone()(30, 3)
    models = [copy.deepcopy(model), copy.deepcopy(model)]
    for one, every in zip(models, (1, 3), strict=True):
        fit(one, data, Recipe(epochs=5, lr=0.05, batches=batches, eval_every=every))
    for key, value in models[0].state_dict().items():
        torch.testing.assert_close(models[1].state_dict()[key], value)


# PyG's samplers


@pytest.mark.skipif(EXTRA, reason="the extra is installed")
@pytest.mark.parametrize("name", SAMPLED)
def test_what_a_sampler_needs_is_said_before_anything_is_trained(name, data):
    seen = []
    with pytest.raises(GltError) as error:
        fit(backbone()(30, 3), data, Recipe(batches=name), on_epoch=lambda *_: seen.append(1))
    said = str(error.value)
    assert repr(name) in said and "pip install pyg-lib -f https://data.pyg.org/whl/torch-" in said and "parts" in said
    assert "\n" not in said and not seen


def test_any_of_the_extras_will_do(monkeypatch):
    for extra in ("WITH_PYG_LIB", "WITH_METIS", "WITH_TORCH_SPARSE"):
        for name in ("WITH_PYG_LIB", "WITH_METIS", "WITH_TORCH_SPARSE"):
            monkeypatch.setattr(torch_geometric.typing, name, name == extra)
        if extra != "WITH_METIS":
            needed("neighbors")
        if extra != "WITH_PYG_LIB":
            needed("clusters", metis=True)


def test_torch_sparse_without_metis_is_no_help_for_clusters(data, monkeypatch):
    def without(*_, **__):
        raise ImportError("'ClusterData' requires either 'pyg-lib' or 'torch-sparse'")  # as PyG says it

    monkeypatch.setattr(torch_geometric.typing, "WITH_TORCH_SPARSE", True)
    monkeypatch.setattr(torch_geometric.loader, "ClusterData", without)
    with pytest.raises(GltError, match=r"batches 'clusters': PyG needs pyg-lib .*pip install pyg-lib -f https"):
        build("batches", "clusters")(csbm(), 0, everything(data))


class StubNeighbors:
    """Yields what PyG's loader does: the seeds first, then their neighbours, arcs towards the sampled."""

    def __init__(self, data, num_neighbors, input_nodes, batch_size, shuffle, generator):
        assert shuffle
        self.data, self.seeds, self.size, self.generator = data, input_nodes, batch_size, generator

    def __iter__(self):
        source, target = self.data.edge_index
        for seeds in self.seeds[torch.randperm(self.seeds.numel(), generator=self.generator)].split(self.size):
            arcs = torch.isin(target, seeds).nonzero().squeeze(1)
            others = source[arcs][~torch.isin(source[arcs], seeds)].unique()
            nodes = torch.cat([seeds, others])
            place = torch.full((self.data.num_nodes,), -1)
            place[nodes] = torch.arange(nodes.numel())
            arcs = arcs[torch.randperm(arcs.numel())]  # PyG keeps no order either, and its samplers draw globally
            yield Data(
                edge_index=place[self.data.edge_index[:, arcs]],
                n_id=self.data.n_id[nodes],
                edge_id=self.data.edge_id[arcs],
                num_nodes=nodes.numel(),
                batch_size=seeds.numel(),
            )


class StubClusters:
    """Yields what PyG's loader does: the graph that some of the clusters induce."""

    def __init__(self, parts, batch_size, shuffle, generator):
        assert shuffle
        self.parts, self.size, self.generator = parts, batch_size, generator

    def __iter__(self):
        data, count = self.parts
        nodes = torch.arange(data.num_nodes)
        for some in torch.randperm(count, generator=self.generator).split(self.size):
            yield data.subgraph(torch.cat([nodes[nodes % count == part] for part in some.tolist()]))


@pytest.fixture
def stubs(monkeypatch):
    for module in ("neighbors", "clusters"):
        monkeypatch.setattr(f"glt.batches.{module}.needed", lambda *_, **__: None)
    monkeypatch.setattr(torch_geometric.loader, "NeighborLoader", StubNeighbors)
    monkeypatch.setattr(torch_geometric.loader, "ClusterLoader", StubClusters)
    monkeypatch.setattr(torch_geometric.loader, "ClusterData", lambda data, count, log: (data, count))


SMALL = {
    "neighbors": {"name": "neighbors", "fanout": [3, 2], "size": 50},
    "clusters": {"name": "clusters", "num_parts": 6, "per_batch": 3},
}


def sampled_rightly(name, data):
    nodes = data.train_mask.nonzero().squeeze(1)
    epochs = build("batches", {**SMALL[name], **({"size": 4} if name == "neighbors" else {})})(data, 0, nodes)
    state = torch.get_rng_state()
    one, other = ([(batch.n_id.tolist(), batch.e_id.tolist()) for batch in epochs(number)] for number in (1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(9)
    assert one == [(batch.n_id.tolist(), batch.e_id.tolist()) for batch in epochs(1)], "whenever it is asked"
    assert one != other
    looked = []
    for batch in epochs(1):
        assert isinstance(batch, Batch) and batch.whole is data
        assert torch.equal(batch.n_id[batch.edge_index], data.edge_index[:, batch.e_id])
        assert torch.equal(batch.y, data.y[batch.n_id])
        looked += batch.n_id[: batch.targets].tolist()
    assert sorted(looked) == (nodes.tolist() if name == "neighbors" else list(range(data.num_nodes)))


@pytest.mark.parametrize("name", SAMPLED)
def test_batches_are_made_of_what_a_sampler_yields(name, data, stubs):
    sampled_rightly(name, data)


@pytest.mark.skipif(not EXTRA, reason="needs pyg-lib or torch-sparse")
@pytest.mark.parametrize("name", SAMPLED)
def test_batches_are_made_of_what_pygs_sampler_yields(name, data):
    sampled_rightly(name, data)


@pytest.mark.parametrize("strategy", SEARCHING)
@pytest.mark.parametrize("name", SAMPLED)
def test_every_strategy_finds_its_tickets_with_what_a_sampler_yields(name, strategy, data, stubs):
    made = build("strategies", {"name": strategy, "weight": 1.0})
    (ticket,) = made.tickets(problem_of(data, SMALL[name], epochs=1), LEVELS[:1])
    assert int(ticket.edge_keep.sum()) == keep_count(240, 0.2)
    assert ticket.verify(data, backbone()(30, 3)).ok


@pytest.mark.skipif(not EXTRA, reason="needs pyg-lib or torch-sparse")
@pytest.mark.parametrize("strategy", SEARCHING)
@pytest.mark.parametrize("name", SAMPLED)
def test_every_strategy_finds_its_tickets_with_pygs_samplers(name, strategy, data):
    (ticket,) = build("strategies", strategy).tickets(problem_of(data, SMALL[name], epochs=1), LEVELS[:1])
    assert int(ticket.edge_keep.sum()) == keep_count(240, 0.2)


def test_seeds_of_neighbourhoods_are_what_the_loss_looks_at(data, stubs):
    def sizes(loss):
        seen = []

        class Spy(StubNeighbors):
            def __init__(self, *args, **options):
                super().__init__(*args, **options)
                seen.append(self.seeds.numel())

        torch_geometric.loader.NeighborLoader = Spy
        fit(backbone()(30, 3), data, Recipe(epochs=1, batches=SMALL["neighbors"]), loss=loss)
        return seen

    assert sizes(None) == [int(data.train_mask.sum())]
    assert sizes(distilled(data, torch.zeros(120, 3), 1.0, 1.0, "all")) == [120]


def test_clusters_are_made_on_the_cpu_and_batches_are_where_the_graph_is(data, stubs, monkeypatch):
    moved = []
    monkeypatch.setattr(Data, "cpu", lambda self: moved.append("cpu") or self)
    monkeypatch.setattr(Data, "to", lambda self, device: moved.append(device) or self)
    epochs = build("batches", SMALL["clusters"])(data, 0, everything(data))
    assert moved == ["cpu"]
    assert len(list(epochs(1))) == 2
    assert moved == ["cpu", data.edge_index.device, data.edge_index.device]


def test_the_skeleton_is_the_arcs_and_numbers(data):
    bones = skeleton(data)
    assert set(bones.keys()) == {"edge_index", "num_nodes", "n_id", "edge_id"}


# configs


def test_new_options_rename_no_old_result():
    assert spec_of(Recipe()) == spec_of(Recipe(batches={"name": "full"}, eval_chunk=0, eval_every=1)) == {}
    assert Config().id == Config(train={"batches": "full"}).id
    assert Config.load("configs/demo.yaml").id == "3b052aaaf30d"


def test_batches_are_options_of_the_command_line():
    config = Config.load(None, ["train.batches.name=parts", "train.batches.num_parts=3", "train.eval_chunk=50"])
    assert config.spec()["train"] == {"batches": {"name": "parts", "num_parts": 3}, "eval_chunk": 50}
    assert Config(train=json.loads(json.dumps(config.spec()["train"]))).id == config.id
    assert Config.load(None, ["train.batches=parts"]).spec()["train"] == {"batches": {"name": "parts"}}
    with pytest.raises(GltError, match=r"train: unknown batches 'prats'; did you mean 'parts'"):
        Config.load(None, ["train.batches=prats"])
    with pytest.raises(GltError, match=r"train: batches 'parts': option 'num_parts' = 0"):
        Config.load(None, ["train.batches.name=parts", "train.batches.num_parts=0"])


def test_a_run_with_parts_is_finished_and_verified(main, workplace):
    options = ["--dataset", "csbm", "--strategy", "teddy", "--graph-sparsity", "0.2", "-q", "--json"]
    for option in ("dataset.nodes=90", "train.epochs=2", "train.batches.name=parts", "train.eval_chunk=20"):
        options += ["-o", option]
    code, out, _ = main("run", *options)
    records = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and [record["status"] for record in records] == ["ok", "ok"]
    assert records[1]["config"]["train"]["batches"] == {"name": "parts"}
    assert main("run", *options)[:2] == (0, out)
    ticket = next(workplace.rglob("level01.safetensors"))
    before = ticket.read_bytes()
    ticket.unlink()  # and is found again from the dense ticket, whose outputs teach
    assert main("run", *options)[0] == 0
    assert ticket.read_bytes() == before
    assert main("verify", ticket)[0] == 0
    assert main("verify", ticket, "--rerun")[0] == 0
