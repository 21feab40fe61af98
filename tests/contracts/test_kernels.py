"""Every kernel is the same product: values, gradients, corners, and what is asked for is what computes."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from glt.arrays import csr
from glt.errors import GltError
from glt.forward import Forward
from glt.kernels import choice, chosen, recording, use
from glt.kernels.choice import DETERMINISTIC, RULES
from glt.registry import build, get, names
from glt.sparse import Pattern, SparseMatrix, WeightedArcs, linear

KERNELS = [name for name in names("kernels") if build("kernels", name).available()]
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.fixture(params=DEVICES)
def device(request):
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    return request.param


@pytest.fixture(params=KERNELS)
def kernel(request, device):
    made = build("kernels", request.param)
    if device not in made.devices:
        pytest.skip(f"{made.name} does not run on {device}")
    return made


@st.composite
def products(draw):
    """(dense [n, m] with empty rows and columns, dense [m, k])."""
    n, m, k = draw(st.integers(1, 9)), draw(st.integers(1, 9)), draw(st.sampled_from([1, 2, 31, 32, 40]))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    a = torch.randn(n, m, generator=generator, dtype=torch.float64)
    a = a * (torch.rand(n, m, generator=generator) < draw(st.sampled_from([0.0, 0.2, 0.7, 1.0])))
    a[draw(st.integers(0, n - 1))] = 0
    b = torch.randn(k, m, generator=generator, dtype=torch.float64).t()  # not contiguous
    return a, b


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@given(case=products())
def test_it_is_the_product(name, dtype, case):
    a, b = (t.to(dtype) for t in case)
    kernel = build("kernels", name)
    if "cpu" not in kernel.devices:
        pytest.skip(f"{name} does not run on cpu")
    out = kernel(a.to_sparse_csr(), b)
    torch.testing.assert_close(out, a @ b, rtol=1e-5, atol=1e-5 if dtype == torch.float32 else 1e-12)
    assert out.dtype == dtype
    if dtype == torch.float32:
        again = kernel(a.to_sparse_csr(), b)
        assert torch.equal(out, again)


def test_corners_and_larger_matrices(kernel, device):
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(300, 200, generator=generator) * (torch.rand(300, 200, generator=generator) < 0.05)
    b = torch.randn(200, 33, generator=generator)
    nothing = csr(torch.zeros(5, dtype=torch.long), torch.zeros(0, dtype=torch.long), torch.zeros(0), 3).to(device)
    torch.testing.assert_close(kernel(a.to_sparse_csr().to(device), b.to(device)).cpu(), a @ b, rtol=1e-4, atol=1e-4)
    assert torch.equal(kernel(nothing, torch.ones(3, 2, device=device)), torch.zeros(4, 2, device=device))


def test_the_operands_are_left_alone(kernel, device):
    a, b = torch.rand(6, 6, device=device).to_sparse_csr(), torch.rand(6, 40, device=device)
    values, dense = a.values().clone(), b.clone()
    kernel(a, b)
    assert torch.equal(a.values(), values) and torch.equal(b, dense)


def test_gradients_are_those_of_the_dense_product(kernel, device):
    generator = torch.Generator().manual_seed(1)
    arcs = torch.randint(20, (2, 60), generator=generator).unique(dim=1)
    weights = torch.rand(arcs.size(1), generator=generator, dtype=torch.float64)
    x = torch.rand(20, 33, generator=generator, dtype=torch.float64)
    w = torch.rand(4, 33, generator=generator, dtype=torch.float64)

    def gradients(product):
        leaves = [t.clone().to(device).requires_grad_() for t in (weights, x, w)]
        (product(*leaves) ** 2).sum().backward()
        return [leaf.grad for leaf in leaves if leaf.grad is not None]

    def dense(weights, x, w):
        a = torch.zeros(20, 20, dtype=torch.float64, device=device).index_put((arcs[1], arcs[0]), weights)
        return a @ x @ w.t()

    pattern = Pattern.of_arcs(arcs.to(device), 20)
    constant = SparseMatrix.of_arcs(arcs.to(device), weights.to(device), 20)
    features = SparseMatrix.of(x.to(device))
    with use(kernel.name), recording() as seen:
        ours = gradients(lambda weights, x, w: linear(WeightedArcs(pattern, weights) @ x, w))
        fixed = gradients(lambda weights, x, w: linear(constant @ x, w))
        sparse = gradients(lambda weights, x, w: constant @ linear(features, w))
    wanted = gradients(dense)
    for got, expected in ((ours, wanted), (fixed, wanted[1:]), (sparse, wanted[2:])):
        assert len(got) == len(expected)
        for one, other in zip(got, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)
    assert seen == {kernel.name}


@pytest.mark.parametrize("backbone", ["gcn", "gin", "sage", "gat"])
def test_models_agree(kernel, device, backbone, sbm):
    model = build("backbones", {"name": backbone, "hidden": 32, "dropout": 0.0})(sbm.x.size(1), 3).to(device)
    forward = Forward(model, sbm.clone().to(device))

    def run():
        model.zero_grad()
        out = forward()
        out.square().sum().backward()
        return out.detach(), [p.grad.clone() for p in model.parameters()]

    out, gradients = run()
    with use(kernel.name), recording() as seen:
        again, theirs = run()
    assert seen == {kernel.name}
    torch.testing.assert_close(again, out, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(theirs, gradients, rtol=1e-3, atol=1e-3)


def test_a_gradient_outside_the_block_uses_the_kernel_of_its_forward(monkeypatch):
    called = []
    kernel = type(build("kernels", "index_add"))
    multiply = kernel.__call__
    monkeypatch.setattr(kernel, "__call__", lambda self, a, b: called.append(1) or multiply(self, a, b))
    x = torch.rand(4, 40, requires_grad=True)
    with use("index_add"):
        out = SparseMatrix.of(torch.eye(4)) @ x
    out.sum().backward()
    assert len(called) == 2


def matrix(n=4):
    return torch.eye(n).to_sparse_csr()


def test_the_default_on_cpu_is_what_was_measured():
    assert [chosen(matrix(), width).name for width in (1, 31, 32, 512)] == ["matmul"] * 2 + ["reduce"] * 2


@pytest.mark.parametrize("rules", [RULES, DETERMINISTIC])
def test_the_tables_end_with_a_kernel_that_runs_everywhere(rules):
    assert rules[-1] == choice.Rule(rules[-1].kernel)
    last = get("kernels", rules[-1].kernel)
    assert not last.requires and set(last.devices) == {"cpu", "cuda"}
    for rule in rules:
        assert not rule.device or rule.device in get("kernels", rule.kernel).devices


def test_rules_look_at_device_width_degree_and_nodes(monkeypatch):
    monkeypatch.setattr(
        choice,
        "RULES",
        (
            choice.Rule("scatter", device="cuda"),
            choice.Rule("index_add", width=100),
            choice.Rule("segment_reduce", degree=1.5),
            choice.Rule("reduce", nodes=5),
            choice.Rule("matmul"),
        ),
    )
    assert chosen(matrix(), 100).name == "index_add"
    assert chosen(torch.ones(4, 4).to_sparse_csr(), 99).name == "segment_reduce"
    assert chosen(matrix(5), 99).name == "reduce"
    assert chosen(matrix(4), 99).name == "matmul"


def test_the_nearest_request_wins(monkeypatch):
    monkeypatch.setenv("GLT_KERNEL", "index_add")
    assert chosen(matrix(), 2).name == "index_add"
    with use("segment_reduce"):
        assert chosen(matrix(), 2).name == "segment_reduce"
        with use("auto"):
            assert chosen(matrix(), 2).name == "matmul"
        with use(None):
            assert chosen(matrix(), 2).name == "segment_reduce"
    assert chosen(matrix(), 2).name == "index_add"


def test_an_unknown_kernel_is_refused(monkeypatch):
    with pytest.raises(GltError, match="unknown kernel 'reduec'"), use("reduec"):
        pass
    monkeypatch.setenv("GLT_KERNEL", "mkl")
    with pytest.raises(GltError, match="unknown kernel 'mkl'"):
        chosen(matrix(), 2)


def test_a_kernel_that_is_not_installed_is_an_error_when_asked_for_and_never_the_default(monkeypatch):
    real = choice._kernel
    monkeypatch.setattr(choice, "_kernel", lambda name: (real(name)[0], not real(name)[0].requires))
    with (
        pytest.raises(GltError, match=r"needs torch-scatter: pip install --no-build-isolation torch-scatter, or use"),
        use("segment_csr"),
    ):
        pass
    monkeypatch.setattr(choice, "RULES", (choice.Rule("scatter"), choice.Rule("matmul")))
    assert chosen(matrix(), 2).name == "matmul"


def test_a_kernel_for_another_device_is_an_error():
    class Elsewhere:
        device = torch.device("cuda")

    with use("reduce"), pytest.raises(GltError, match=r"kernel 'reduce' does not run on cuda; use one of auto, edge"):
        chosen(Elsewhere(), 2)


def test_deterministic_mode_has_deterministic_kernels_alone(monkeypatch):
    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: True)
    for rule in DETERMINISTIC[:-1]:  # the last one is for devices that no other is for
        assert rule.device in get("kernels", rule.kernel).deterministic

    class Elsewhere:
        device = torch.device("cuda")

    with use("matmul"), pytest.raises(GltError, match=r"'matmul' does not give the same bits .* on cuda.*; use one of"):
        chosen(Elsewhere(), 2)
    with use("segment_reduce"):
        assert chosen(Elsewhere(), 2).name == "segment_reduce"
    with use("matmul"):
        assert chosen(matrix(), 2).name == "matmul"


def test_blocks_of_recording_nest():
    with recording() as outer:
        with recording() as inner:
            chosen(matrix(), 2)
        chosen(matrix(), 40)
    assert (inner, outer) == ({"matmul"}, {"matmul", "reduce"})


def test_deterministic_mode_on_cpu_changes_nothing():
    torch.use_deterministic_algorithms(True)
    try:
        assert [chosen(matrix(), width).name for width in (31, 32)] == ["matmul", "reduce"]
    finally:
        torch.use_deterministic_algorithms(False)
