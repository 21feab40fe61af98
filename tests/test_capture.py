"""Epochs as CUDA graphs; what needs a device is marked gpu, and the loop around it runs on CPU with a stand-in."""

from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch
from reference.backbones import small as few_layers
from reference.waits import DRAWS, Waits
from torch_geometric.data import Data

import glt
from glt import capture, soft, train
from glt.backbones import deepergcn
from glt.best import Best, DeviceBest
from glt.capture import SMALL, WARM_UP, Captured, why_not
from glt.constraints import freeze_weights, largest_weights, project_weights, prunable_weights
from glt.edges import PrunableEdges
from glt.errors import GltError
from glt.losses import distilled
from glt.masks import SoftMasked, Sparsifying
from glt.registry import build, names
from glt.train import Recipe, fit


class OnCuda:
    """Data that says it is on CUDA."""

    class x:
        is_cuda = True

    num_nodes, num_edges = 100, 400


def gcn(dropout=0.0):
    torch.manual_seed(0)
    return build("backbones", {"name": "gcn", "hidden": 16, "dropout": dropout})(8, 3)


def test_cpu_is_not_captured(sbm):
    assert why_not(sbm, False, False) == "not on CUDA"
    assert fit(gcn(), sbm, Recipe(epochs=2)).captured == "no: not on CUDA"


def test_reasons(monkeypatch):
    assert why_not(OnCuda(), False, False) == ""
    assert "stopped" in why_not(OnCuda(), True, False)
    assert "metric" in why_not(OnCuda(), False, True)
    assert "mini-batches" in why_not(OnCuda(), False, True, whole=False)
    large = OnCuda()
    large.num_nodes = SMALL
    assert f"more than {SMALL}" in why_not(large, False, False)
    monkeypatch.setenv("GLT_CUDA_GRAPH", "on")
    assert why_not(large, False, False) == ""
    monkeypatch.setenv("GLT_CUDA_GRAPH", "off")
    assert why_not(OnCuda(), False, False) == "GLT_CUDA_GRAPH=off"
    monkeypatch.setenv("GLT_CUDA_GRAPH", "")
    assert why_not(OnCuda(), False, False) == ""
    monkeypatch.setenv("GLT_CUDA_GRAPH", "0")
    with pytest.raises(GltError, match="unknown GLT_CUDA_GRAPH '0'; known: auto, off, on"):
        why_not(OnCuda(), False, False)


@pytest.mark.parametrize(
    ("recipe", "whole"),
    [({}, True), ({"eval_every": 2}, False), ({"batches": {"name": "parts", "num_parts": 1}}, False)],
)
def test_the_loop_says_whether_an_epoch_is_one_step_and_one_evaluation(sbm, monkeypatch, recipe, whole):
    monkeypatch.setattr(train, "why_not", lambda *asked: f"whole: {asked[3]}")
    assert fit(gcn(), sbm, Recipe(epochs=2, **recipe)).captured == f"no: whole: {whole}"


def test_the_loop_of_captured_epochs_is_the_same_training(sbm, monkeypatch):
    """The stand-in runs the epoch that would be captured."""

    class Eager:
        said = "yes"

        def __init__(self, epoch, device):
            self.epoch, self.calls = epoch, 0

        def __call__(self):
            self.epoch()

    recipe, told = Recipe(epochs=12, lr=0.05), []
    usual = fit(gcn(0.5), sbm, recipe)
    monkeypatch.setattr(train, "tracker", DeviceBest)
    monkeypatch.setattr(train, "Captured", Eager)
    monkeypatch.setattr(train, "why_not", lambda *_: "")
    again = fit(gcn(0.5), sbm, recipe, on_epoch=lambda *now: told.append(now))
    assert all(torch.equal(value, again.state[name]) for name, value in usual.state.items())
    assert (again.epoch, again.val, again.test, again.last_test) == (
        usual.epoch,
        usual.val,
        usual.test,
        usual.last_test,
    )
    assert (again.captured, len(told), again.epochs) == ("yes", 12, 12)


class Looking:
    """A constraint's ``constrain`` that switches on what looks for waiting, from the third step to the last but one."""

    def __init__(self, waits, last, constrain):
        self.waits, self.last, self.constrain = waits, last, constrain

    def __call__(self, model, optimizer):
        made, steps = self.constrain(model, optimizer), []
        optimizer.register_step_post_hook(lambda *_: self.look(steps))
        return made

    def look(self, steps):
        steps.append(1)
        self.waits.on = 2 <= len(steps) < self.last


CONSTRAINTS = {
    "projected": lambda model, optimizer: project_weights(model, optimizer, 0.5),
    "frozen": lambda model, optimizer: freeze_weights(model, optimizer, largest_weights(prunable_weights(model), 0.5)),
}


def masked(model, data):
    """A soft-masked model of all edges and weights, and what is done to its masks; it trains on its own graph."""
    edges = PrunableEdges.of(data.edge_index, data.num_nodes)
    every = torch.ones(edges.num_edges, dtype=torch.bool, device=data.edge_index.device)
    weights = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in prunable_weights(model).items()}
    return SoftMasked(model, data, edges, every, weights), lambda m, o: Sparsifying(m, o, 1e-4, 1e-4)


@pytest.mark.parametrize("how", [*CONSTRAINTS, "masks"])
@pytest.mark.parametrize("name", names("backbones"))
def test_no_epoch_would_wait_for_a_device(name, how, monkeypatch):
    """On CPU with the tracker of a device: nothing that a training does needs a number on the host."""
    monkeypatch.setattr(train, "tracker", DeviceBest)
    for module in (deepergcn, soft):
        monkeypatch.setattr(module, "waits", lambda x: True)
    data = build("datasets", {"name": "csbm", "nodes": 60, "features": 20})()
    model, run = few_layers(name, hidden=8)(20, data.num_classes), Recipe(epochs=5)
    constrain = CONSTRAINTS.get(how)
    loss = distilled(data, torch.rand(60, data.num_classes), 2.0, 1.0, "all")
    if how == "masks":
        model, constrain = masked(model, data)
        data = model.graph
    with Waits() as waits:
        fit(model, data, run, loss=loss, constrain=Looking(waits, run.epochs, constrain))
    assert waits.seen - {DRAWS} == set()


def test_what_waits_is_seen(monkeypatch):
    monkeypatch.setattr(train, "tracker", DeviceBest)
    data = build("datasets", {"name": "csbm", "nodes": 60, "features": 20})()

    def loss(logits):
        return logits[data.train_mask].sum() * float(logits.detach().sum() > 0)

    with Waits() as waits:
        model = build("backbones", {"name": "mlp", "hidden": 8})(20, data.num_classes)
        fit(
            model,
            data,
            Recipe(epochs=5),
            loss=loss,
            constrain=Looking(waits, 5, lambda m, o: project_weights(m, o, 0.5)),
        )
    assert {name for name, _ in waits.seen - {DRAWS}} >= {"_local_scalar_dense", "index"}


class Streams:
    """What :class:`Captured` asks of torch.cuda, without a device; recording fails as torch's does."""

    def __init__(self):
        self.current = "usual"

    @contextmanager
    def stream(self, stream):
        before, self.current = self.current, stream
        try:
            yield
        finally:
            self.current = before

    @contextmanager
    def graph(self, graph, stream):
        self.current = stream
        yield
        self.current = "usual"  # not after an error, since the end of a capture that failed raises


def test_a_capture_that_fails_leaves_its_stream(monkeypatch):
    cuda, seen = Streams(), []
    state, usual = SimpleNamespace(clone_state=int, graphsafe_set_state=int), SimpleNamespace(wait_stream=str)
    for name, stand_in in {
        "Stream": lambda device: SimpleNamespace(wait_stream=str),
        "current_stream": lambda device: usual,
        "stream": cuda.stream,
        "graph": cuda.graph,
        "CUDAGraph": object,
        "default_generators": [state],
        "synchronize": str,
    }.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)

    def epoch():
        seen.append(cuda.current)
        if len(seen) == WARM_UP + 1:
            raise RuntimeError("operation not permitted\nwhen stream is capturing")

    run = Captured(epoch, torch.device("cuda", 0))
    for _ in range(WARM_UP + 2):
        run()
    assert run.said == "no: operation not permitted"
    assert seen[: WARM_UP + 1] == [run._stream] * (WARM_UP + 1), "recorded where it was warmed up"
    assert seen[WARM_UP + 1 :] == ["usual"] * 2
    assert Captured(epoch, torch.device("cuda", 0))._stream is run._stream
    capture._beside.cache_clear()


@pytest.fixture
def deterministic(monkeypatch):
    """torch's deterministic algorithms."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def small():
    return build("datasets", {"name": "csbm", "nodes": 300, "features": 40})()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
class TestOnADevice:
    def fit(self, data: Data, epochs=40, dropout=0.0, **options):
        model = build("backbones", {"name": "gcn", "hidden": 16, "dropout": dropout})
        torch.manual_seed(0)
        made = model(data.x.size(1), data.num_classes).cuda()
        return fit(made, data.clone().to("cuda"), Recipe(epochs=epochs, lr=0.05), **options)

    @pytest.mark.parametrize("name", names("backbones"))
    def test_every_backbone_is_captured(self, small, name):
        data = small.to("cuda")
        model = few_layers(name, hidden=16)(data.x.size(1), data.num_classes).cuda()
        assert fit(model, data, Recipe(epochs=WARM_UP + 3)).captured == "yes"

    def test_trainings_of_soft_masks_are_captured(self, small):
        data = small.to("cuda")
        model = few_layers("gcn", hidden=16)(data.x.size(1), data.num_classes).cuda()
        soft, constrain = masked(model, data)
        assert fit(soft, soft.graph, Recipe(epochs=WARM_UP + 3), constrain=constrain).captured == "yes"

    def test_captured_epochs_are_the_same_training(self, small, monkeypatch):
        project = {"constrain": lambda m, o: project_weights(m, o, 0.5)}
        captured = self.fit(small, **project)
        monkeypatch.setenv("GLT_CUDA_GRAPH", "off")
        eager = self.fit(small, **project)
        assert (captured.captured, eager.captured) == ("yes", "no: GLT_CUDA_GRAPH=off")
        assert captured.last_val == pytest.approx(eager.last_val, abs=0.05)
        assert captured.val == pytest.approx(eager.val, abs=0.05)

    def test_dropout_differs_from_epoch_to_epoch(self, small):
        assert self.fit(small, dropout=0.5, epochs=60).val > 0.5

    def test_what_cannot_be_captured_goes_on_with_the_reason(self, small):
        def loss(logits):
            return logits.sum() * float(logits.detach().abs().sum() > 0)  # waits for the device

        result = self.fit(small, epochs=10, loss=loss)
        assert result.captured.startswith("no: ") and result.epochs == 10
        assert torch.rand(3, device="cuda").isfinite().all()

    @pytest.mark.parametrize("how", [*CONSTRAINTS, "masks"])
    @pytest.mark.parametrize("name", names("backbones"))
    def test_nothing_waits_for_the_device(self, small, monkeypatch, name, how):
        monkeypatch.setenv("GLT_CUDA_GRAPH", "off")
        data = small.to("cuda")
        model, constrain = few_layers(name, hidden=16)(data.x.size(1), data.num_classes).cuda(), CONSTRAINTS.get(how)
        if how == "masks":
            model, constrain = masked(model, data)
            data = model.graph

        class Mode:
            """The switch that :class:`Looking` turns."""

            def __setattr__(self, _, on):
                torch.cuda.set_sync_debug_mode("error" if on else "default")

        try:
            assert fit(model, data, Recipe(epochs=20), constrain=Looking(Mode(), 15, constrain)).epochs == 20
        finally:
            torch.cuda.set_sync_debug_mode("default")

    @pytest.mark.parametrize("batches", ["full", {"name": "parts", "num_parts": 3}])
    @pytest.mark.parametrize("name", names("backbones"))
    def test_deterministic_mode_gives_the_same_bits(self, small, deterministic, name, batches):
        data, found = small.to("cuda"), []
        for _ in range(2):
            torch.manual_seed(0)
            model = few_layers(name, hidden=16, dropout=0.5)(data.x.size(1), data.num_classes).cuda()
            found.append(fit(model, data, Recipe(epochs=20, lr=0.05, batches=batches)))
        one, two = found
        assert all(torch.equal(value, two.state[name]) for name, value in one.state.items())
        assert one.kernels in ("segment_csr", "segment_reduce", "")

    def test_the_epoch_that_the_device_finds_is_the_hosts(self, small, monkeypatch, deterministic):
        monkeypatch.setenv("GLT_CUDA_GRAPH", "off")
        on_device = self.fit(small, dropout=0.5)
        monkeypatch.setattr(train, "tracker", Best)
        on_host = self.fit(small, dropout=0.5)
        assert (on_device.epoch, on_device.last_val) == (on_host.epoch, pytest.approx(on_host.last_val))
        assert (on_device.val, on_device.test) == (pytest.approx(on_host.val), pytest.approx(on_host.test))
        assert all(torch.equal(value, on_device.state[name]) for name, value in on_host.state.items())
        assert torch.equal(on_device.logits, on_host.logits)

    def test_a_function_that_counts(self):
        counter = torch.zeros(1, device="cuda")
        run = Captured(lambda: counter.add_(1) and None, torch.device("cuda"))
        for _ in range(WARM_UP + 4):
            run()
        assert run.said == "yes" and float(counter) == WARM_UP + 4


def test_a_ticket_found_on_cpu_names_its_kernels(sbm):
    ticket = glt.find("gcn", sbm, 0.2, 0.5, recipe=Recipe(epochs=2))
    assert ticket.versions["kernel"] == "matmul+reduce"
    assert "cuda_graph" not in ticket.metrics
