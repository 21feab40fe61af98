"""Files of compact models: read again bit by bit, by plain torch as well, and never unpickled."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from test_backbones import BACKBONES, FEATURES, graph, model_of
from test_compact import Custom, masked
from torch import nn
from torch_geometric.nn import GATv2Conv, GCN2Conv, GCNConv, GENConv, TransformerConv

from glt.compact.build import compact, difference
from glt.errors import GltError
from glt.export import arguments, export, load

HERE = Path(__file__).parent
MODELS = (*BACKBONES, "custom")


class Every(nn.Module):
    """What no other model here has: attention by inner products with a gate, a mean by softmax, shares in a sum, and a
    function without a rule."""

    def __init__(self):
        super().__init__()
        self.attend = TransformerConv(FEATURES, 4, heads=2, beta=True)
        self.soft = GENConv(8, 8, "softmax", t=0.5, norm="layer", num_layers=1)
        self.first = GCN2Conv(8, 0.1, 0.5, 1)

    def forward(self, x, edge_index):
        x = self.attend(x, edge_index).relu()
        return F.normalize(self.first(self.soft(x, edge_index), x, edge_index))


def of(name, words=0.1, dtype=torch.float32, **options):
    if name == "attention":
        model = model_of("gat", layers=1, hidden=4, heads=1)
    elif name == "every":
        torch.manual_seed(0)
        model = Every()
    else:
        model = Custom(GCNConv) if name == "custom" else model_of(name, layers=3, residual=True)
    data = graph(words)
    data.x = data.x.to(dtype)
    return compact(masked(model, 0.2).to(dtype), data, **options)


@pytest.mark.parametrize(("words", "storage", "reorder"), [(0.1, "csr", True), (1.0, "dense", False)])
@pytest.mark.parametrize("name", MODELS)
def test_safetensors_come_back(name, words, storage, reorder, tmp_path):
    made = of(name, words, storage=storage, reorder=reorder)
    path = export(made, tmp_path / "it.safetensors")
    again = load(path)
    assert torch.equal(again(), made())
    other = graph(words, seed=3)
    assert torch.equal(again(other), made(other))
    assert export(again, tmp_path / "again.safetensors").read_bytes() == path.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["again.safetensors", "it.safetensors"]


def test_without_its_graph_a_file_is_smaller_and_needs_one(tmp_path):
    made = of("gcn")
    full = export(made, tmp_path / "full.safetensors").stat().st_size
    path = export(made, tmp_path / "it.safetensors", graph=False)
    assert path.stat().st_size < full
    with pytest.raises(GltError, match="has no graph"):
        load(path)()
    assert difference(load(path)(graph()), made()) <= 1e-6


def test_plain_torch_reads_them_where_there_is_no_glt(tmp_path):
    """As the README says: the reference in a process of its own, which cannot import glt or PyG."""
    for name in MODELS:
        words, storage = (0.1, "csr") if name in ("gcn", "sage", "mlp", "gcnii") else (1.0, "dense")
        for dtype in (torch.float32, torch.float64):
            made = of(name, words, dtype, storage=storage, reorder=words < 1)
            export(made, tmp_path / f"{name}-{dtype}.safetensors")
            torch.save(made(), tmp_path / f"{name}-{dtype}.logits")
    code = (
        "import sys, glob; sys.modules['glt'] = sys.modules['torch_geometric'] = None\n"
        "import torch\nfrom compact_model import logits\n"
        "for path in glob.glob('*.safetensors'):\n"
        "    want = torch.load(path.replace('safetensors', 'logits'), weights_only=True)\n"
        "    assert logits(path).dtype == want.dtype, path\n"
        "    assert float((logits(path) - want).abs().max()) <= 1e-5 * float(want.abs().max()), path\n"
        "print('fine')"
    )
    environment = {**os.environ, "PYTHONPATH": str(HERE / "reference")}
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert run.stdout == "fine\n", run.stderr


@pytest.mark.parametrize(("name", "words"), [("gcn", 0.1), ("attention", 1.0), ("every", 1.0)])
def test_a_torch_export_runs_on_its_graph_and_on_others(name, words, tmp_path):
    made = of(name, words, storage="dense", reorder=True)
    program = torch.export.load(export(made, tmp_path / "it.pt2"))
    run = program.module()
    assert difference(run(*program.example_inputs[0]), made()) <= 1e-5
    other = made.on(graph(words, seed=3).subgraph(torch.arange(22)))
    assert difference(run(*arguments(other)), other()) <= 1e-5


def others(words):
    """Graphs of any size: one node, nodes without an arc, one arc, features of the other density."""
    for nodes in (1, 2, 22):
        yield graph(words, seed=3).subgraph(torch.arange(nodes))
    for arcs in (0, 1):
        data = graph(words, seed=3)
        data.edge_index = data.edge_index[:, :arcs]
        yield data
    yield graph(1.1 - words, seed=4)


@pytest.mark.parametrize("arcs", [131, 0])
@pytest.mark.parametrize(
    ("name", "words"), [("sage", 0.1), ("sage", 1.0), ("attention", 0.1), ("every", 1.0), ("gcn", 0.1)]
)
def test_a_program_runs_on_graphs_of_any_size(name, words, arcs, tmp_path):
    data = graph(words)
    data.edge_index = data.edge_index[:, :arcs]
    made = of(name, words).on(data)
    program = torch.export.load(export(made, tmp_path / "it.pt2"))
    run = program.module()
    assert difference(run(*program.example_inputs[0]), made()) <= 1e-5
    for other in others(words):
        on = made.on(other)
        assert difference(run(*arguments(on)), on()) <= 1e-5, str(other)


@pytest.mark.parametrize("name", ["sage", "attention"])
def test_an_onnx_file_runs_on_graphs_of_any_size(name, tmp_path):
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    made = of(name)
    session = runtime.InferenceSession(str(export(made, tmp_path / "it.onnx")))
    for other in others(0.1):
        on = made.on(other)
        given = [t for t in torch.utils._pytree.tree_leaves(arguments(on, renumbered=False)) if t is not None]
        inputs = {slot.name: tensor.numpy() for slot, tensor in zip(session.get_inputs(), given, strict=True)}
        assert difference(torch.from_numpy(session.run(None, inputs)[0]), on()) <= 1e-5, str(other)


@pytest.mark.parametrize("name", ["gcn", "gat", "every"])
def test_onnx(name, tmp_path):
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    made = of(name, storage="dense", reorder=True)
    session = runtime.InferenceSession(str(export(made, tmp_path / "it.onnx")))
    given = [t for t in torch.utils._pytree.tree_leaves(arguments(made, renumbered=False)) if t is not None]
    inputs = {slot.name: tensor.numpy() for slot, tensor in zip(session.get_inputs(), given, strict=True)}
    assert difference(torch.from_numpy(session.run(None, inputs)[0]), made()) <= 1e-5


def test_onnx_without_its_packages_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(GltError, match="ONNX files need onnx and onnxscript: pip install onnx onnxscript"):
        export(of("mlp"), tmp_path / "it.onnx")
    assert not list(tmp_path.iterdir())


def test_what_was_left_alone_is_not_tensors(tmp_path):
    made = compact(Custom(GATv2Conv), graph())
    with pytest.raises(GltError, match="one was left alone and is not tensors"):
        export(made, tmp_path / "it.safetensors")
    assert not list(tmp_path.iterdir())


def test_other_suffixes_and_files_are_refused(tmp_path):
    with pytest.raises(GltError, match=r"suffix '.pkl'; known: .safetensors, .pt2, .onnx"):
        export(of("mlp"), tmp_path / "it.pkl")
    with pytest.raises(GltError, match="there is no file"):
        load(tmp_path / "it.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"nope")
    with pytest.raises(GltError, match="not a readable compact model"):
        load(tmp_path / "bad.safetensors")
    save_file({"x": torch.zeros(2)}, tmp_path / "bad.safetensors", metadata={"a": "b"})
    with pytest.raises(GltError, match="not a compact model of glt"):
        load(tmp_path / "bad.safetensors")


@pytest.mark.parametrize(
    "header",
    ["{}", "[]", "nope", '{"format": "x"}', '{"format": 3, "steps": [{"kind": "eval"}]}', '{"format": 3, "steps": 5}'],
)
def test_bad_headers_are_one_line(header, tmp_path):
    save_file({"x": torch.zeros(2)}, tmp_path / "bad.safetensors", metadata={"glt-compact": header})
    with pytest.raises(GltError) as error:
        load(tmp_path / "bad.safetensors")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("format", "hint"), [(2, "export the ticket again"), (9, "upgrade glt")])
def test_another_format_says_what_to_do(format, hint, tmp_path):
    save_file({"x": torch.zeros(2)}, tmp_path / "it.safetensors", metadata={"glt-compact": f'{{"format": {format}}}'})
    with pytest.raises(GltError, match=f"has format {format}, this glt reads 3: {hint}"):
        load(tmp_path / "it.safetensors")


class Sized(nn.Module):
    """Uses the number of nodes, and so belongs to the graph that it was recorded on."""

    def __init__(self):
        super().__init__()
        self.conv = GCNConv(FEATURES, 4)

    def forward(self, x, edge_index):
        return self.conv(x, edge_index) / x.size(0)


def test_what_belongs_to_one_graph_says_so_from_its_file_as_well(tmp_path):
    made = compact(Sized(), graph())
    assert made.bound
    with pytest.raises(GltError, match="write the graph as well"):
        export(made, tmp_path / "it.safetensors", graph=False)
    again = load(export(made, tmp_path / "it.safetensors"))
    assert again.bound == made.bound and torch.equal(again(), made())
    for call in (again, again.on):
        with pytest.raises(GltError, match="was recorded for one graph"):
            call(graph(seed=3).subgraph(torch.arange(20)))


def test_a_program_of_what_belongs_to_one_graph_takes_no_other(tmp_path):
    made = compact(Sized(), graph(), reorder=False)
    mark = {"glt-compact": ""}
    program = torch.export.load(export(made, tmp_path / "it.pt2"), extra_files=mark)
    assert json.loads(mark["glt-compact"])["bound"] == made.bound != ""
    run = program.module()
    assert difference(run(*program.example_inputs[0]), made()) <= 1e-5
    other = made.prepare(graph(seed=3).subgraph(torch.arange(20)))
    made.ready = other
    with pytest.raises(AssertionError, match="Guard failed"):
        run(*arguments(made))


def test_an_onnx_file_of_what_belongs_to_one_graph_says_so(tmp_path):
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    made = compact(Sized(), graph(), reorder=False)
    session = runtime.InferenceSession(str(export(made, tmp_path / "it.onnx")))
    assert json.loads(session.get_modelmeta().custom_metadata_map["glt-compact"])["bound"] == made.bound
    assert all(type(size) is int for slot in session.get_inputs() for size in slot.shape)


def test_a_step_reads_only_what_came_before(tmp_path):
    made = of("gcn")
    made.steps[1].inputs = (5,)
    with pytest.raises(GltError, match="does not come before it"):
        load(export(made, tmp_path / "it.safetensors"))
    assert FEATURES
