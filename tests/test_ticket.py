"""Tickets: what is stored comes back bit by bit, and nothing else is ever read."""

import copy
import errno
import json
import os
import pickle
import re
import stat

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch_geometric import nn as pyg
from torch_geometric.data import Data

from glt import ticket_file
from glt.config import Config
from glt.edges import PrunableEdges
from glt.errors import GltError
from glt.problem import Problem
from glt.registry import build
from glt.ticket import Ticket

OPTIONS = (
    "dataset={name: csbm, nodes: 120, classes: 3, features: 30, avg_degree: 4}",
    "backbone={name: gcn, hidden: 6}",
    "schedule={name: oneshot, graph: 0.3, weight: 0.5}",
    "train.epochs=5",
)


def search(*overrides):
    config = Config.load(None, [*OPTIONS, *overrides])
    problem = Problem(config.dataset(), config.backbone, config.train, config=config.spec())
    return next(iter(config.strategy.tickets(problem, config.schedule)))


@pytest.fixture(scope="module")
def found():
    return search()


@pytest.fixture
def ticket(found):
    return copy.deepcopy(found)


@pytest.fixture(scope="module")
def data(found):
    return build("datasets", found.config["dataset"])()


@pytest.fixture
def path(tmp_path, ticket):
    ticket.save(tmp_path / "it.safetensors")
    return tmp_path / "it.safetensors"


def model(**options):
    return build("backbones", {"name": "gcn", "hidden": 6, **options})(30, 3)


def same(one, two):
    """Bits, types and shapes of two state dicts."""
    return one.keys() == two.keys() and all(
        v.dtype == two[k].dtype and v.shape == two[k].shape and torch.equal(v, two[k]) for k, v in one.items()
    )


def refused(call, *words):
    """The message of the one line that a user is told."""
    with pytest.raises(GltError) as error:
        call()
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value)
    return str(error.value)


# --- save and load


@pytest.mark.parametrize("trained", [True, False])
def test_a_round_trip_keeps_every_bit(ticket, tmp_path, trained):
    ticket.save(tmp_path / "it.safetensors", trained=trained)
    again = Ticket.load(tmp_path / "it.safetensors")
    assert torch.equal(again.edge_keep, ticket.edge_keep)
    assert same(again.weight_masks, ticket.weight_masks)
    assert same(again.initial, ticket.initial)
    assert same(again.trained, ticket.trained) if trained else again.trained is None
    for name in ("fingerprint", "undirected", "config", "metrics", "versions"):
        assert getattr(again, name) == getattr(ticket, name)


def test_saving_what_was_loaded_gives_the_same_bytes(path, tmp_path):
    digest = Ticket.load(path).save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()
    assert digest == ticket_file.read(path)[0]["digest"]


def test_the_same_search_gives_the_same_bytes(path, tmp_path):
    search().save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


def test_the_digest_is_of_the_content(ticket, tmp_path):
    first = ticket.save(tmp_path / "a.safetensors")
    assert ticket.save(tmp_path / "elsewhere" / "b.safetensors") == first
    ticket.seconds += 1
    assert ticket.save(tmp_path / "a.safetensors") == first
    ticket.edge_keep[0] = ~ticket.edge_keep[0]
    assert ticket.save(tmp_path / "a.safetensors") != first


def test_every_kind_of_tensor_survives(tmp_path):
    generator = torch.Generator().manual_seed(1)
    initial = {
        "half": torch.randn(3, 5, generator=generator).half(),
        "brain": torch.randn(7, generator=generator).bfloat16(),
        "double": torch.randn(2, 3, 4, generator=generator, dtype=torch.float64),
        "count": torch.tensor(41),
        "flags": torch.tensor([True, False, True]),
        "none": torch.zeros(0, 4),
        "strange": torch.tensor([float("nan"), float("-inf"), -0.0]),
    }
    masks = {name: torch.rand(initial[name].shape, generator=generator) < 0.5 for name in ("half", "double", "none")}
    trained = {k: v * masks[k] if k in masks else v for k, v in initial.items()}
    ticket = Ticket(torch.tensor([True] * 9 + [False]), masks, initial, "f" * 64, trained=trained)
    ticket.save(tmp_path / "it.safetensors")
    again = Ticket.load(tmp_path / "it.safetensors")
    strange = again.initial.pop("strange"), again.trained.pop("strange")
    assert all(s.view(torch.int32).equal(initial["strange"].view(torch.int32)) for s in strange)
    assert same(again.initial, {k: v for k, v in initial.items() if k != "strange"})
    assert same(again.trained, {k: v for k, v in trained.items() if k != "strange"})
    assert same(again.weight_masks, masks)


@pytest.mark.parametrize("bits", [0, 1, 7, 8, 9, 64, 100])
def test_masks_are_packed_to_the_bit(bits):
    mask = torch.from_numpy(np.random.default_rng(bits).random(bits) < 0.5)
    packed = ticket_file.pack(mask)
    assert (packed.dtype, packed.numel()) == (torch.uint8, (bits + 7) // 8)
    assert torch.equal(ticket_file.unpack(packed, (bits,), "it"), mask)


def test_trained_weights_are_stored_only_where_kept(ticket, path):
    tensors = ticket_file.read(path)[1]
    for name, mask in ticket.weight_masks.items():
        assert tensors[f"trained/{name}"].numel() == int(mask.sum()) < mask.numel()


def test_sparsities_are_counted(ticket):
    ticket.edge_keep = torch.tensor([True, False, True, True])
    ticket.weight_masks = {"a": torch.tensor([[True, False], [False, False]]), "b": torch.tensor([[True]])}
    assert ticket.graph_sparsity == 0.25
    assert ticket.weight_sparsity == pytest.approx(0.6)


# --- writing is all or nothing


def litter(folder):
    return sorted(file.name for file in folder.iterdir())


def test_a_failure_halfway_leaves_the_old_file_and_no_litter(ticket, path, monkeypatch):
    old = path.read_bytes()

    def half(tensors, name, metadata):
        with open(name, "wb") as file:
            file.write(old[: len(old) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(ticket_file, "save_file", half)
    ticket.metrics["val"] = 0.0
    with pytest.raises((OSError, GltError)):
        ticket.save(path)
    assert path.read_bytes() == old
    assert litter(path.parent) == [path.name]
    with pytest.raises((OSError, GltError)):
        ticket.save(path.with_name("new.safetensors"))
    assert litter(path.parent) == [path.name]


def test_saving_makes_folders_and_ordinary_files(ticket, tmp_path):
    target = tmp_path / "a" / "b" / "it.safetensors"
    mask = os.umask(0o027)
    try:
        ticket.save(target)
    finally:
        os.umask(mask)
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


def test_where_nothing_can_be_written_is_said(ticket, path, tmp_path):
    refused(lambda: ticket.save(path / "below" / "it.safetensors"), "cannot write")
    refused(lambda: ticket.save(tmp_path), str(tmp_path))  # a folder
    assert litter(tmp_path) == [path.name]


# --- apply


def arcs(data):
    return [tuple(arc) for arc in data.edge_index.t().tolist()]


def test_dropped_edges_are_gone_in_both_directions(ticket, data):
    sub = ticket.apply(data)
    pairs = PrunableEdges.of(data.edge_index, data.num_nodes).pairs
    kept = {tuple(pair) for pair in pairs[:, ticket.edge_keep].t().tolist()}
    assert len(kept) == 168  # of 240
    assert sorted(arcs(sub)) == sorted([*kept, *((v, u) for u, v in kept)])
    assert arcs(sub) == [arc for arc in arcs(data) if tuple(sorted(arc)) in kept], "in the order they were"


def test_attributes_of_arcs_go_with_them_and_nothing_else_changes(ticket, data):
    data = data.clone()
    data.edge_attr = torch.arange(2.0 * data.num_edges).view(-1, 2)
    data.edge_weight = torch.rand(data.num_edges)
    before = data.clone()
    sub = ticket.apply(data)
    row = {arc: i for i, arc in enumerate(arcs(data))}
    index = torch.tensor([row[arc] for arc in arcs(sub)])
    assert torch.equal(sub.edge_attr, data.edge_attr[index])
    assert torch.equal(sub.edge_weight, data.edge_weight[index])
    assert sub.num_nodes == data.num_nodes
    assert all(sub[key] is data[key] for key in ("x", "y", "train_mask", "val_mask", "test_mask"))
    assert torch.equal(data.edge_index, before.edge_index)
    assert torch.equal(data.edge_attr, before.edge_attr)


def test_loops_stay(ticket, data):
    looped = data.clone()
    looped.edge_index = torch.cat([torch.tensor([[3, 7], [3, 7]]), data.edge_index], dim=1)
    sub = ticket.apply(looped)
    assert arcs(sub)[:2] == [(3, 3), (7, 7)]
    assert arcs(sub)[2:] == arcs(ticket.apply(data))


def test_the_order_of_the_arcs_does_not_matter(ticket, data):
    mixed = data.clone()
    mixed.edge_index = data.edge_index[:, torch.randperm(data.num_edges)]
    assert sorted(arcs(ticket.apply(mixed))) == sorted(arcs(ticket.apply(data)))


@pytest.mark.parametrize("change", ["an edge less", "another edge", "a node more", "another graph"])
def test_another_graph_is_refused_with_both_fingerprints(ticket, data, change):
    other = build("datasets", {**ticket.config["dataset"], "seed": 5})() if change == "another graph" else data.clone()
    if change == "an edge less":
        u, v = data.edge_index[:, 0]
        gone = ((data.edge_index == u) | (data.edge_index == v)).all(0)
        other.edge_index = data.edge_index[:, ~gone]
    elif change == "another edge":
        order = torch.arange(120)
        order[0], order[1] = 1, 0
        other.edge_index = order[data.edge_index]
    elif change == "a node more":
        other = Data(edge_index=data.edge_index, num_nodes=121)
    theirs = PrunableEdges.of(other.edge_index, other.num_nodes).fingerprint()
    said = refused(lambda: ticket.apply(other), "another graph", ticket.fingerprint[:12], theirs[:12])
    assert ticket.fingerprint[:12] != theirs[:12]
    assert "240" in said


def test_a_directed_ticket_drops_arcs_one_by_one(data):
    directed = Data(edge_index=data.edge_index[:, ::3], num_nodes=120)
    edges = PrunableEdges.of(directed.edge_index, 120, undirected=False)
    keep = torch.arange(edges.num_edges) % 2 == 0
    ticket = Ticket(keep, {}, {}, edges.fingerprint(), undirected=False)
    assert arcs(ticket.apply(directed)) == arcs(directed)[::2]  # sorted arcs: ids are places
    ticket.undirected = True
    refused(lambda: ticket.apply(directed))


# --- rewind and restore


def test_rewind_sets_the_initial_weights_and_zeros(ticket):
    net = model()
    assert ticket.rewind(net) is net
    assert_state(net, ticket.initial, ticket.weight_masks)


def test_restore_sets_the_trained_weights_and_zeros(ticket, path):
    net = Ticket.load(path).restore(model())
    assert_state(net, ticket.trained, ticket.weight_masks)
    assert not same(dict(net.state_dict()), dict(ticket.rewind(model()).state_dict()))


def assert_state(net, state, masks):
    for name, value in net.state_dict().items():
        mask = masks.get(name, torch.ones_like(value, dtype=torch.bool))
        assert torch.equal(value[mask], state[name][mask])
        assert not value[~mask].any()


def test_rewinding_leaves_the_ticket_alone(ticket, found):
    net = ticket.rewind(model())
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(1.0)
    assert same(ticket.initial, found.initial)


def test_restore_without_trained_weights_says_why(ticket, tmp_path):
    ticket.save(tmp_path / "it.safetensors", trained=False)
    again = Ticket.load(tmp_path / "it.safetensors")
    refused(lambda: again.restore(model()), "no trained weights")
    again.rewind(model())


@pytest.mark.parametrize("other", [{"hidden": 7}, {"layers": 3}, {"name": "gat", "heads": 2}])
def test_another_model_is_refused_and_left_as_it_was(ticket, other):
    net = model(**other)
    before = copy.deepcopy(net.state_dict())
    for fill in (ticket.rewind, ticket.restore):
        refused(lambda fill=fill: fill(net), type(net).__name__)
        assert same(dict(net.state_dict()), dict(before))


def test_a_model_without_shapes_is_refused(ticket):
    refused(lambda: ticket.rewind(pyg.GCN(-1, 6, 2, 3)), "'convs.0.lin.weight'", "run the model once")


# --- verify


def test_verify_recomputes_everything_from_the_file(path):
    result = Ticket.load(path).verify()
    assert result.ok
    assert {check.name for check in result.checks} >= {"graph_sparsity", "weight_sparsity", "val", "test"}
    assert all(check.stored == check.recomputed for check in result.checks)


@pytest.mark.parametrize("name", ["graph_sparsity", "weight_sparsity", "val", "test"])
def test_verify_believes_nothing(ticket, name):
    ticket.metrics[name] += 0.05
    wrong = [check for check in ticket.verify().checks if not check.ok]
    assert [check.name for check in wrong] == [name]
    assert wrong[0].stored - wrong[0].recomputed == pytest.approx(0.05)
    del ticket.metrics[name]
    assert not ticket.verify().ok, "a number that is missing is not a number that is right"


def test_verify_sees_another_mask(ticket):
    ticket.edge_keep = ticket.edge_keep.clone()
    ticket.edge_keep[ticket.edge_keep.nonzero()[0]] = False
    assert not ticket.verify().ok


def test_verify_without_trained_weights_checks_the_sparsities(ticket):
    ticket.trained = None
    assert [check.name for check in ticket.verify().checks] == ["graph_sparsity", "weight_sparsity"]


def test_verify_takes_a_users_data_and_model_and_leaves_them_alone(ticket, data):
    ticket.config = {}
    refused(ticket.verify, "dataset")
    refused(lambda: ticket.verify(data), "backbone")
    net = model()
    before = copy.deepcopy(net.state_dict())
    assert ticket.verify(data, net).ok
    assert same(dict(net.state_dict()), dict(before))


# --- what is no ticket


def bad(path, **changes):
    """Write a ticket file whose digest is right and whose content is not."""
    header, tensors = ticket_file.read(path)
    tensors |= changes.pop("tensors", {})
    header = {k: v for k, v in {**header, **changes}.items() if k not in ("digest", "format") and v is not ...}
    ticket_file.write(path, header, {k: v for k, v in tensors.items() if v is not None})
    return path


def test_there_has_to_be_a_file(tmp_path):
    refused(lambda: Ticket.load(tmp_path / "nothing.safetensors"), "nothing.safetensors")
    refused(lambda: Ticket.load(tmp_path), str(tmp_path))


@pytest.mark.parametrize("percent", range(0, 100, 5))
def test_a_truncated_file_is_refused(path, percent):
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * percent // 100])
    refused(lambda: Ticket.load(path), path.name)


def test_a_file_that_lacks_its_last_byte_or_has_one_more_is_refused(path):
    whole = path.read_bytes()
    for content in (whole[:-1], whole + b"\0"):
        path.write_bytes(content)
        refused(lambda: Ticket.load(path), path.name)


@pytest.mark.parametrize("part", range(4))
def test_a_changed_byte_is_noticed_wherever_it_is(path, found, part):
    whole = path.read_bytes()
    rng = np.random.default_rng(part)
    start = int.from_bytes(whole[:8], "little") + 8
    places = [2 * part, 2 * part + 1, *rng.integers(8, start, 12), *rng.integers(start, len(whole), 12)]
    for place in places:
        content = bytearray(whole)
        content[place] ^= int(rng.integers(1, 256))
        path.write_bytes(content)
        try:
            again = Ticket.load(path)
        except GltError as error:
            assert "\n" not in str(error)
        else:  # white space of the header
            assert content[place] in b" \t\n\r" and same(again.initial, found.initial)


def test_a_foreign_safetensors_file_is_refused(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file({"weight": torch.zeros(3)}, str(path))
    refused(lambda: Ticket.load(path), "not a glt ticket")
    save_file({"weight": torch.zeros(3)}, str(path), metadata={"format": "pt"})
    refused(lambda: Ticket.load(path), "not a glt ticket")


def test_a_newer_format_says_to_upgrade(path, monkeypatch):
    header, tensors = ticket_file.read(path)
    newer = {**header, "format": ticket_file.FORMAT + 1}
    ticket_file.write(path, {k: v for k, v in newer.items() if k != "digest"}, tensors)
    monkeypatch.setattr(ticket_file, "FORMAT", ticket_file.FORMAT + 1)
    Ticket.load(path)
    monkeypatch.undo()
    refused(lambda: Ticket.load(path), f"format {ticket_file.FORMAT + 1}", "upgrade glt")


@pytest.mark.parametrize(
    "header",
    [
        *("", "nope", "{", "[1]", "5", "null", '"text"', "{}", '{"format": null}', '{"format": "1"}'),
        *('{"format": 1}', '{"format": -1}', '{"format": true}', '{"format": 1, "digest": 5}'),
        '{"format": 1, "x": "\\ud800"}',
        pytest.param('{"format": 1, "x": ' + "[" * 50_000 + "}", id="deep"),
        pytest.param('{"format": 1, "x": ' + "[" * 900 + "]" * 900 + "}", id="nested"),
        pytest.param('{"format": 1, "x": ' + "1" * 5000 + "}", id="huge number"),
    ],
)
def test_a_header_that_is_none_is_refused(tmp_path, header):
    path = tmp_path / "it.safetensors"
    save_file({"edges": torch.zeros(1, dtype=torch.uint8)}, str(path), metadata={"glt": header})
    refused(lambda: Ticket.load(path), path.name)


@pytest.mark.parametrize(
    "changes",
    [
        *({"num_edges": wrong} for wrong in (..., None, "x", -8, 1, 239, 10**12, float("nan"), float("inf"))),
        *({"config": wrong} for wrong in (..., None, 5, [1], "ab")),
        *({"metrics": wrong} for wrong in (..., None, [1])),
        *({name: ...} for name in ("fingerprint", "undirected", "versions")),
    ],
    ids=str,
)
def test_a_wrong_entry_is_refused(path, changes):
    if changes == {"num_edges": 239}:
        changes = {"num_edges": 249}  # 239 bits take as many bytes as 240
    refused(lambda: Ticket.load(bad(path, **changes)))


W = "convs.0.lin.weight"


@pytest.mark.parametrize(
    "tensors",
    [
        {"edges": None},
        {"edges": torch.zeros(29, dtype=torch.uint8)},
        {"edges": torch.zeros(30)},
        {"edges": torch.zeros(30, 1, dtype=torch.uint8)},
        {f"mask/{W}": torch.zeros(3, dtype=torch.uint8)},
        {f"mask/{W}": torch.zeros(180, dtype=torch.bool)},
        {"mask/nothing": torch.zeros(1, dtype=torch.uint8)},
        {f"initial/{W}": None},
        {f"initial/{W}": torch.zeros(3, 3)},
        {f"trained/{W}": torch.zeros(3)},
        {f"trained/{W}": torch.zeros(1)},
        {f"trained/{W}": torch.zeros(2, 2)},
        {"strange": torch.zeros(1)},
        {"strange/thing": torch.zeros(1)},
    ],
    ids=lambda tensors: " ".join(f"{k} {'gone' if v is None else list(v.shape)}" for k, v in tensors.items()),
)
def test_a_wrong_tensor_is_refused(path, tensors):
    refused(lambda: Ticket.load(bad(path, tensors=tensors)))


@pytest.mark.parametrize("metrics", [{"val": None}, {"val": "0.8"}, {"val": [1]}, {"graph_sparsity": {}}], ids=str)
def test_metrics_that_are_no_numbers_never_verify(path, metrics):
    ticket = Ticket.load(bad(path, metrics=metrics))
    try:
        assert not ticket.verify().ok
    except GltError as error:
        assert "\n" not in str(error)


def test_a_ticket_without_weights_shows_no_sparsity_of_them(ticket, data):
    ticket.weight_masks = {}
    assert ticket.weight_sparsity == 0.0
    assert ticket.apply(data).num_edges == 336


class Harmful:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_nothing_is_ever_unpickled(tmp_path):
    harm = tmp_path / "harm"
    pickle.loads(pickle.dumps(Harmful(harm)))
    assert harm.exists(), "it does harm where it is opened"
    harm.rmdir()
    path = tmp_path / "it.safetensors"
    path.write_bytes(pickle.dumps(Harmful(harm)))
    refused(lambda: Ticket.load(path), path.name)
    torch.save(Harmful(harm), path)
    refused(lambda: Ticket.load(path), path.name)
    torch.save({"edges": torch.zeros(3)}, path)
    refused(lambda: Ticket.load(path), path.name)
    assert not harm.exists()


@pytest.mark.parametrize("seed", range(3))
def test_garbage_is_refused(tmp_path, seed):
    path = tmp_path / "it.safetensors"
    path.write_bytes(np.random.default_rng(seed).bytes(100_000))
    refused(lambda: Ticket.load(path), path.name)


def test_the_header_is_readable_json(path):
    whole = path.read_bytes()
    header = json.loads(whole[8 : 8 + int.from_bytes(whole[:8], "little")])
    ours = json.loads(header["__metadata__"]["glt"])
    assert ours["format"] == 1
    assert re.fullmatch("[0-9a-f]{64}", ours["digest"])


def test_any_module_can_be_rewound():
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    initial = {k: v.clone() for k, v in net.state_dict().items()}
    mask = torch.tensor([[True, False], [False, True], [True, True]])
    ticket = Ticket(torch.ones(1, dtype=torch.bool), {"0.weight": mask}, initial, "0" * 64)
    with torch.no_grad():
        net(torch.randn(5, 2))
        net[0].weight.fill_(9.0)
    ticket.rewind(net)
    assert torch.equal(net[0].weight, initial["0.weight"] * mask)
    assert torch.equal(net[1].running_mean, torch.zeros(3)) and int(net[1].num_batches_tracked) == 0
