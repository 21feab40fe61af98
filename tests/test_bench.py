"""glt bench: what is timed side by side, and what is said of it."""

import importlib.util
import json
import logging
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from test_cli import made, one_line, ticket  # noqa: F401 - fixtures
from torch.utils._pytree import tree_leaves

from glt.arrays import csr
from glt.bench import torch_pruning
from glt.bench.exported import reloaded
from glt.bench.measure import held, interleaved, spread, transient
from glt.bench.queries import neighbourhood, some, whole
from glt.bench.run import alone, bench
from glt.bench.variants import Case, Runner, Unsupported, variants
from glt.builtin import data_of, model_of
from glt.errors import GltError
from glt.export import arguments
from glt.ticket import Ticket

pytestmark = pytest.mark.usefixtures("workplace")
CPU = torch.device("cpu")
OURS = ["stock PyG", "dense", "torch prune", "masked", "compact"]


@pytest.fixture
def case(ticket):  # noqa: F811
    loaded = Ticket.load(ticket)
    data = data_of(loaded)
    return Case(loaded, model_of(loaded, data), data, {"storage": "dense", "reorder": False})


def test_rounds_are_in_turns_and_warm_ups_do_not_count():
    seen = []
    calls = {"a": [lambda: seen.append("a0"), lambda: seen.append("a1")], "b": [lambda: seen.append("b")]}
    times = interleaved(calls, warm_up=1, passes=2, device=CPU)
    assert seen == ["a0", "b", "a1", "b", "a0", "b"]
    assert [len(values) for values in times.values()] == [2, 2]


def test_spread_by_hand():
    assert spread([4.0, 1.0, 2.0, 3.0, 5.0]) == (3.0, [2.0, 4.0])
    assert spread([2.0]) == (2.0, [2.0, 2.0])


def test_what_is_held_is_counted_once_and_what_a_pass_allocates_at_its_peak():
    table = torch.zeros(100, 10)
    assert held([table, table[:5], {"again": table}, 3]) == 4000
    assert held(csr(torch.arange(5), torch.arange(4), torch.ones(4), 4)) == 5 * 8 + 4 * 8 + 4 * 4

    def call():
        one = torch.ones(1000)
        two = one + one
        del one
        return two + two

    assert transient(call, CPU) == 8000, "two of the three at a time"


def test_every_variant_gives_the_logits_it_should(case):
    records = bench(case, [whole(case), some(case, 1, samples=2), some(case, 5, samples=2)], 0, 2, OURS)
    assert [(r["query"], r["variant"]) for r in records] == [
        (query, name) for query in ("full graph", "1 node", "5 nodes") for name in OURS
    ]
    for r in records:
        assert r["ms"] > 0 and r["ms_iqr"][0] <= r["ms"] <= r["ms_iqr"][1]
        assert r["peak_mb"] > r["held_mb"] > 0 and r["passes"] == 2
        assert r["ratio"] == 1 or r["variant"] != "stock PyG"
    assert {r["hops"] for r in records} == {None, 3}, "GCN's degrees at the rim need one hop more than layers"


def test_a_variant_with_other_logits_is_a_fault(case):
    case.compact.steps[-1]._buffers["shift"] += 1.0
    with pytest.raises(GltError, match="compact and torch prune give different logits"):
        bench(case, [whole(case)], 0, 1, ["torch prune", "compact"])


def test_a_file_of_another_ticket_is_refused(main, case, ticket, workplace):  # noqa: F811
    dense = ticket.with_name("level00.safetensors")
    options = ("--only", "compact", "--passes", "1", "--warm-up", "0")
    for suffix in ("safetensors", "pt2"):
        main("export", dense, "-o", f"dense.{suffix}", "--storage", "dense", "--no-reorder")
        code, out, err = main("bench", ticket, f"dense.{suffix}", *options)
        assert (code, out) == (2, "")
        assert f"dense.{suffix} and the ticket named before it give different logits" in one_line(err)
    assert main("bench", dense, "dense.pt2", *options)[0] == 0


@pytest.mark.parametrize("rows", [119, None])
def test_a_file_that_does_not_fit_the_graph_is_one_line(case, rows):
    def call():
        if rows is None:
            raise RuntimeError("Got invalid dimensions\nfor input")
        return torch.zeros(rows, 3)

    message = r"give different logits" if rows else r"\(RuntimeError: Got invalid dimensions for input\): name it after"
    with pytest.raises(GltError, match=message):
        bench(case, [whole(case)], 0, 1, ["compact"], {"it.onnx": Runner(call, None)})


def test_neighbourhoods_hold_all_that_logits_depend_on(case):
    model, wanted = case.masked(), torch.tensor([3, 50])
    part, at = neighbourhood(case.sub, wanted, 3)
    assert part.num_nodes < case.sub.num_nodes
    logits = model(part.x.to_dense(), part.edge_index)[at]
    torch.testing.assert_close(logits, model(case.sub.x.to_dense(), case.sub.edge_index)[wanted])


def test_the_same_nodes_are_drawn_by_the_same_seed(case):
    one, two, other = (some(case, 4, seed, samples=1) for seed in (0, 0, 1))
    assert torch.equal(one.graphs["full"][0].x.to_dense(), two.graphs["full"][0].x.to_dense())
    assert one.graphs["full"][0].x.shape != other.graphs["full"][0].x.shape or not torch.equal(
        one.graphs["full"][0].x.to_dense(), other.graphs["full"][0].x.to_dense()
    )


def test_torch_pruning_that_is_missing_is_a_row_that_says_so(case, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_pruning", None)
    (row,) = [r for r in bench(case, [whole(case)], 0, 1, ["Torch-Pruning"]) if r["variant"] == "Torch-Pruning"]
    assert row["note"] == "not installed: pip install torch-pruning" and "ms" not in row


@pytest.mark.skipif(importlib.util.find_spec("torch_pruning") is None, reason="needs torch-pruning")
def test_torch_pruning_keeps_no_more_weights_than_the_ticket(case):
    runner = variants()["Torch-Pruning"].make(case)(case.sub)
    model = runner.held[0]
    kept = sum(int(mask.sum()) for mask in case.ticket.weight_masks.values())
    assert sum(p.numel() for p in model.parameters() if p.dim() == 2) <= kept
    assert runner.call().shape == (120, 3)


def test_torch_pruning_that_fails_says_why(case, monkeypatch):
    class Broken:
        def __getattr__(self, name):
            raise ValueError("no such thing")

    monkeypatch.setitem(sys.modules, "torch_pruning", Broken())
    with pytest.raises(Unsupported, match=r"does not support GCNModel \(ValueError: no such thing\)"):
        torch_pruning._torch_pruning(case)


def test_runners_alone_are_compared_with_the_first():
    table = torch.zeros(7, 3)
    records = alone({"a": Runner(lambda: table + 1, table), "b": Runner(lambda: table + 1, None)}, 0, 3, "cpu")
    assert [(r["variant"], r["targets"], r["peak_mb"] is None) for r in records] == [("a", 7, False), ("b", 7, True)]
    assert records[0]["ratio"] == 1


# --- the command


def test_bench_prints_tables_and_appends_records(main, ticket, workplace):  # noqa: F811
    options = ("--passes", "2", "--warm-up", "0", "--only", "compact", "--nodes", "1", "--batch", "64")
    code, out, err = main("bench", ticket, *options, "-o", "latency.jsonl", "--storage", "dense")
    assert (code, err) == (0, "")
    assert out.splitlines()[0].split()[:2] == ["full", "graph"]
    assert "median of 2 passes after 0, in turns; 1 thread(s)" in out
    records = [json.loads(line) for line in (workplace / "latency.jsonl").read_text().splitlines()]
    assert [r["query"] for r in records] == ["full graph"] * 2 + ["1 node"] * 2 + ["64 nodes"] * 2
    assert {r["benchmark"] for r in records} == {"latency"} and {r["target"] for r in records} == {str(ticket)}


@pytest.mark.parametrize("suffix", ["safetensors", "pt2"])
def test_bench_reloads_exported_models(main, ticket, suffix):  # noqa: F811
    main("export", ticket, "-o", f"model.{suffix}", "--storage", "dense", "--no-reorder")
    code, out, err = main("bench", f"model.{suffix}", "--passes", "2", "--warm-up", "0", "--json")
    (record,) = map(json.loads, out.splitlines())
    assert (code, err) == (0, "")
    assert (record["target"], record["targets"], record["passes"]) == (f"model.{suffix}", 120, 2)
    code, out, _ = main("bench", ticket, f"model.{suffix}", "--only", "compact", "--passes", "1", "--json")
    assert [json.loads(line)["variant"] for line in out.splitlines()] == ["stock PyG", "compact", f"model.{suffix}"]


def test_bench_runs_an_onnx_file_whose_nodes_were_renumbered_when_it_was_measured(main, ticket):  # noqa: F811
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    main("export", ticket, "-o", "model.onnx", "--storage", "dense", "--reorder")
    code, out, _ = main("bench", ticket, "model.onnx", "--only", "compact", "--passes", "1", "--json")
    assert code == 0 and [json.loads(line)["variant"] for line in out.splitlines()][-1] == "model.onnx"


@pytest.mark.parametrize(
    ("suffix", "message"), [("pt2", "was exported on cpu: export it again with --device cuda"), ("onnx", "cpu alone")]
)
def test_a_file_for_another_device_is_one_line(main, ticket, suffix, message, workplace):  # noqa: F811
    path = workplace / f"model.{suffix}"
    path.touch()
    if suffix == "pt2":
        main("export", ticket, "-o", path, "--storage", "dense", "--no-reorder")
    with pytest.raises(GltError, match=message):
        reloaded(path, device="cuda")


def broken(main, ticket, suffix, how):  # noqa: F811
    """A file of that suffix that is cut off, or nothing of the kind."""
    main("export", ticket, "-o", f"model.{suffix}", "--storage", "dense", "--no-reorder")
    path = Path(f"bad.{suffix}")
    content = Path(f"model.{suffix}").read_bytes()
    path.write_bytes({"cut": content[: len(content) // 2], "empty": b"", "text": b"nope"}[how])
    return path


@pytest.mark.parametrize("how", ["cut", "empty", "text"])
def test_a_broken_program_is_one_line(main, ticket, how, caplog):  # noqa: F811
    path = broken(main, ticket, "pt2", how)
    logging.getLogger("torch.export").addHandler(caplog.handler)
    code, _, err = main("bench", ticket, path, "--passes", "1")
    logging.getLogger("torch.export").removeHandler(caplog.handler)
    assert code == 2 and "bad.pt2 is not a readable torch.export program" in one_line(err)
    assert not [r for r in caplog.records if r.name == "torch.export"], "torch logs tracebacks as warnings"


@pytest.mark.parametrize("how", ["cut", "empty", "text"])
def test_a_broken_onnx_file_is_one_line(main, ticket, how):  # noqa: F811
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    path = broken(main, ticket, "onnx", how)
    code, _, err = main("bench", ticket, path, "--passes", "1")
    assert code == 2 and "bad.onnx is not a readable ONNX model" in one_line(err)


class Broken:
    """onnxruntime where nothing works."""

    def __init__(self, *_, **__):
        if Broken.when == "read":
            raise ValueError("broken\nfile")

    SessionOptions = type("SessionOptions", (), {})
    InferenceSession = property(lambda self: type(self))

    def get_inputs(self):
        return [SimpleNamespace(name=str(i)) for i in range(Broken.inputs)]

    def run(self, *_):
        raise ValueError("another\nshape")


@pytest.mark.parametrize(("when", "message"), [("read", "not a readable ONNX model"), ("run", "another ticket's?")])
def test_an_onnx_file_that_fails_is_one_line(case, when, message, workplace, monkeypatch):
    Broken.when, Broken.inputs = "", len(tree_leaves(arguments(case.compact, renumbered=False)[:2]))
    monkeypatch.setitem(sys.modules, "onnxruntime", Broken())
    Broken.when = when
    (workplace / "it.onnx").touch()
    with pytest.raises(GltError, match=message) as error:
        reloaded(workplace / "it.onnx", case.compact).call()
    assert "\n" not in str(error.value)


def test_mistakes_are_one_line(main, ticket):  # noqa: F811
    code, _, err = main("bench", "nowhere.safetensors")
    assert code == 2 and "there is no file nowhere.safetensors" in one_line(err)
    code, _, err = main("bench", ticket, "--only", "sparse")
    assert code == 2 and "unknown variant 'sparse'; known: Torch-Pruning, compact" in one_line(err)
    main("export", ticket, "-o", "bare.safetensors", "--no-graph", "--storage", "dense")
    code, _, err = main("bench", "bare.safetensors")
    assert code == 2 and "exported without its graph" in one_line(err)
