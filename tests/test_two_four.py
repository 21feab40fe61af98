"""Weights with two of four: what has the form, that it is exact, when it is a candidate. The kernel is in test_gpu."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_backbones import graph
from test_compact import masked, reference
from torch import nn

from glt.bench.measure import held
from glt.compact import storage, two_four
from glt.compact.build import compact
from glt.compact.exact import difference, tolerance
from glt.compact.ops import Linear
from glt.compact.two_four import capable, grouped, packed, unpacked
from glt.errors import GltError
from glt.export import export, load

CUDA = torch.device("cuda", 0)


class Wide(nn.Module):
    """A perceptron of 32 and 16 units."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.one, self.two = nn.Linear(20, 32), nn.Linear(32, 16)

    def forward(self, x, edge_index):
        return self.two(self.one(x).relu())


def two_of_four(model):
    """Zero like a chessboard, and column 5, which is dropped: groups no longer start at multiples of four."""
    with torch.no_grad():
        for layer in (model.one, model.two):
            rows, columns = torch.meshgrid(*map(torch.arange, layer.weight.shape), indexing="ij")
            layer.weight[(rows + columns) % 2 == 0] = 0.0
            layer.weight[:, 5] = 0.0
    return model


@given(st.integers(0, 9), st.integers(0, 13), st.sampled_from([0.0, 0.1, 0.4, 1.0]), st.integers(0, 99))
def test_what_is_packed_comes_back(rows, columns, density, seed):
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(rows, columns, generator=generator)
    weight *= torch.rand(rows, columns, generator=generator) < density
    places = grouped(weight)
    if places is None:
        assert density > 0
        return
    assert places.numel() % 4 == 0 and places[places >= 0].tolist() == list(range(columns))
    wide = unpacked(*packed(weight, places))
    assert torch.equal(wide[:, places >= 0], weight) and not wide[:, places < 0].any()
    step = Linear([0], rows, "", {"weight": weight, "bias": None}).stored("2:4")
    assert torch.equal(step.plain().weight, weight)


def test_groups_by_hand():
    fits = torch.tensor([[1.0, 2, 0, 0, 3, 0], [0, 0, 4, 5, 0, 0]])
    assert grouped(fits).tolist() == [0, 1, 2, 3, 4, 5, -1, -1]
    shifted = torch.tensor([[1.0, 0, 2, 3, 0, 0, 4, 0]])  # a third in the first four: its group is closed early
    assert grouped(shifted).tolist() == [0, 1, 2, -1, 3, 4, 5, 6, 7, -1, -1, -1]
    assert grouped(torch.ones(2, 8)) is None, "two columns of every four would be padding"
    values, where = packed(fits, grouped(fits))
    assert values.tolist() == [[1, 2, 3, 0], [4, 5, 0, 0]]
    assert where.tolist() == [[0 + 4 * 1, 0 + 4 * 1], [2 + 4 * 3, 0 + 4 * 1]]


@pytest.mark.parametrize(
    ("device", "dtype", "capability", "able"),
    [
        (CUDA, torch.float16, (8, 0), True),
        (CUDA, torch.bfloat16, (9, 0), True),
        (CUDA, torch.float32, (8, 6), True),
        (CUDA, torch.float64, (9, 0), False),
        (CUDA, torch.float16, (7, 5), False),
        (torch.device("cpu"), torch.float16, (9, 0), False),
    ],
)
def test_which_devices_and_dtypes(device, dtype, capability, able, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda _: capability)
    assert capable(device, dtype) is able


def test_without_cuda_nothing_is_asked_of_it(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda _: pytest.fail("asked"))
    assert not capable(CUDA, torch.float16)


@pytest.mark.parametrize("dtype", two_four.MULTIPLES)
@pytest.mark.parametrize("shape", [(1, 4), (32, 64), (33, 68)])
def test_shapes_are_filled_up_to_what_kernels_take(shape, dtype, monkeypatch):
    taken = []
    monkeypatch.setattr("torch.sparse.to_sparse_semi_structured", lambda full: taken.append(full) or full)
    monkeypatch.setattr(
        "torch.sparse.SparseSemiStructuredTensorCUTLASS.from_dense", lambda full: taken.append(full) or full
    )
    wide = torch.ones(shape, dtype=dtype)
    two_four.accelerated(wide)
    (full,), (rows, columns) = taken, two_four.MULTIPLES[dtype]
    assert full.size(0) % rows == full.size(1) % columns == 0 and full.is_contiguous()
    assert torch.equal(full[: shape[0], : shape[1]], wide) and full.sum() == wide.sum()


@pytest.fixture
def gpu(monkeypatch):
    """A CPU that says that it can, and whose kernel is the dense one; what is fastest is said by the test."""
    monkeypatch.setattr(two_four, "capable", lambda *_: True)
    monkeypatch.setattr(storage, "capable", lambda *_: True)
    monkeypatch.setattr(two_four, "accelerated", lambda wide: nn.functional.pad(wide, (0, 8, 0, 8)))
    times = {"dense": 3.0, "csr": 2.0, "2:4": 1.0}
    monkeypatch.setattr(storage, "milliseconds", lambda call, *_: times[call.func.__self__.form])
    return times


def test_the_fastest_form_is_chosen_and_named(gpu):
    model, data = two_of_four(Wide()), graph(1.0)
    made = compact(model, data, reorder=False)
    assert difference(made(), reference(model, data)) <= 1e-5
    assert {line.storage for line in made.report.lines} == {"2:4"}
    assert "2:4 (dense 3 ms; csr 2 ms; 2:4 1 ms)" in str(made.report)
    gpu["2:4"] = 2.5
    assert {line.storage for line in compact(model, data, reorder=False).report.lines} == {"csr"}
    asked = copy.deepcopy(compact(model, data, reorder=False, storage="2:4"))
    assert difference(asked(), reference(model, data)) <= 1e-5
    assert {line.storage for line in asked.report.lines} == {"2:4"}
    made = [tensor for step in asked.steps for tensor in step.derived]
    assert len(made) == 2 and held(asked) == held(list(asked.buffers())) + held(made)


def test_weights_without_the_form_are_not_tried(gpu):
    model = masked(Wide(), 1.0)
    assert {line.storage for line in compact(model, graph(1.0)).report.lines} == {"dense"}


@pytest.mark.parametrize("fault", ["rounds", "raises"])
def test_a_kernel_that_rounds_or_fails_is_passed_over_and_said_so(gpu, fault, monkeypatch):
    def faulty(wide):
        if fault == "raises":
            raise RuntimeError("no such kernel")
        return nn.functional.pad(wide, (0, 8, 0, 8)) * (1 + 1e-3)

    monkeypatch.setattr(two_four, "accelerated", faulty)
    made = compact(two_of_four(Wide()), graph(1.0))
    assert {line.storage for line in made.report.lines} == {"csr"}
    assert ("2:4 failed (no such kernel)" if fault == "raises" else "2:4 differs by 1e-03") in str(made.report)


def test_on_a_cpu_it_is_never_a_candidate_and_cannot_be_asked_for():
    model, data = two_of_four(Wide()), graph(1.0)
    assert "2:4" not in str(compact(model, data).report)
    with pytest.raises(GltError, match=r"'2:4' needs a CUDA device .* here are float32 on cpu: take 'auto'"):
        compact(model, data, storage="2:4")


def test_a_file_from_a_gpu_is_small_and_runs_where_there_is_none(gpu, tmp_path, monkeypatch):
    model, data = two_of_four(Wide()), graph(1.0)
    made = compact(model, data, reorder=False)
    small = export(made, tmp_path / "it.safetensors", graph=False).stat().st_size
    export(made, tmp_path / "it.pt2")
    monkeypatch.undo()
    dense = compact(model, data, storage="dense", reorder=False)
    assert small < export(dense, tmp_path / "dense.safetensors", graph=False).stat().st_size
    again = load(tmp_path / "it.safetensors")
    assert difference(again(data), dense()) <= 1e-6
    assert [step.form for step in again.steps if step.kind == "linear"] == ["2:4", "2:4"]
    program = torch.export.load(tmp_path / "it.pt2")
    assert difference(program.module()(*program.example_inputs[0]), dense()) <= 1e-6


def test_plain_torch_reads_them(gpu, tmp_path):
    from reference.compact_model import logits

    made = compact(two_of_four(Wide()), graph(1.0), reorder=False)
    export(made, tmp_path / "it.safetensors")
    assert difference(logits(tmp_path / "it.safetensors"), made()) <= 1e-5


def test_tolerances_by_dtype():
    assert tolerance(torch.float64) == tolerance(torch.float32) == 1e-5
    assert tolerance(torch.float16) == 8 * 2**-10 and tolerance(torch.bfloat16) == 8 * 2**-7
