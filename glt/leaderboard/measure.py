"""One ticket, measured anew: what the scorer finds, never what the submitter says."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch_geometric.data import Data
from torch_geometric.utils import degree

from glt.compact.build import compact, difference
from glt.constraints import prunable_weights
from glt.datasets.ogb_evaluator import judged
from glt.datasets.splits import of_seed
from glt.errors import GltError
from glt.evaluate import metric_named
from glt.forward import Forward
from glt.inductive import judged_on
from glt.kernels import recording
from glt.leaderboard.entry import sha256_of
from glt.leaderboard.limits import NotVerified
from glt.leaderboard.setting import Header, Setting
from glt.measured import parameters
from glt.neighbours import without_loops
from glt.number import number
from glt.tasks import default_metric
from glt.ticket import Ticket
from glt.verify import tolerance

MOST_DIFFERENCE = 1e-4
WARM_UP, PASSES = 20, 100


@dataclass(frozen=True)
class Point:
    """One ticket as the scorer finds it.

    Attributes:
        seed, level: which one.
        sha256: content digest of its file.
        graph_sparsity: of undirected edges without self-loops.
        weight_sparsity: over all weight matrices in scope, whether the ticket has a mask for them or not.
        biases: how many parameters outside that scope its masks take out.
        avg_degree, isolated: of what is left of the graph; without its test nodes, where these come later.
        edges, weights: how many are kept; weights with the biases that have a mask, as controls count them.
        val, test: by the official metric, of the compact model on the physically smaller graph; val of the masked one
            on the graph without test nodes, where these come later.
        difference: of the compact model's logits from the masked one's, of the largest logit.
        params, bytes: that are left; of the file.
        weighted: whether its edges have weights.
        file_sha256: of the bytes of its file; the digest is what the file says until it is read.
        weights_id: digest of the trained weights: two seeds cannot have the same.
        macs: multiply-adds of ticket and dense, weights and propagation apart; if they were asked for.
        latency_ms: (median, first quartile, third quartile) of the compact and of the dense model; likewise.
        kernel: of the compact model's sparse products.
    """

    seed: int
    level: int
    sha256: str
    graph_sparsity: float
    weight_sparsity: float
    biases: int
    avg_degree: float
    isolated: int
    edges: int
    weights: int
    val: float
    test: float
    difference: float
    params: int
    bytes: int
    weighted: bool
    file_sha256: str
    weights_id: str
    macs: dict[str, dict[str, int]] = field(default_factory=dict)
    latency_ms: dict[str, tuple[float, float, float]] = field(default_factory=dict)
    kernel: str = ""

    def tree(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def measure(header: Header, setting: Setting, costs: bool = False, latency: bool = False) -> Point:
    """Measure the ticket of a header.

    Args:
        header: of the ticket.
        setting: the experiment of its entry.
        costs: also count multiply-adds.
        latency: also time forward passes, at least 100 after 20 to warm up.

    Raises:
        GltError: a damaged file.
        NotVerified: another graph or model, weights that are not finite, or numbers other than the ticket's own.

    Cost: three forward passes.
    """
    name, data = header.path.name, of_seed(setting.data, header.seed)
    ticket = Ticket.load(header.path)
    if ticket.trained is None:
        raise NotVerified(f"{name} holds no trained weights: what it scores cannot be measured")
    if ticket.undirected != bool(data.get("undirected", True)):
        raise NotVerified(f"{name} counts edges otherwise than its dataset: undirected = {ticket.undirected}")
    tensors = [*ticket.trained.values(), *([] if ticket.edge_weights is None else [ticket.edge_weights])]
    if any(t.is_floating_point() and not bool(torch.isfinite(t).all()) for t in tensors):
        raise NotVerified(f"{name} holds weights that are not finite")
    try:
        seen, sub = judged_on(ticket, data)
        model = ticket.restore(copy.deepcopy(setting.model))
    except GltError as error:  # another graph, another model
        raise NotVerified(f"{name}: {error}") from None
    chunk = setting.config.train.eval_chunk
    logits = Forward(model, sub, chunk=chunk).evaluate()
    small = compact(model, sub, storage="dense", reorder=False)
    with recording() as kernels:
        found = small()
    apart = difference(found, logits)
    if not apart <= MOST_DIFFERENCE:
        raise NotVerified(
            f"{name}: the compact model differs from the masked one by {apart:.1e} of the largest logit, more than "
            f"{MOST_DIFFERENCE:.0e}"
        )
    before = found if seen is sub else Forward(model, seen, chunk=chunk).evaluate()
    metric = default_metric(data)
    if ticket.metrics.get("metric", "accuracy") != metric:
        raise NotVerified(f"{name} is measured by {ticket.metrics.get('metric')!r}; the official metric is {metric!r}")
    score = judged(data, metric) or metric_named(metric)
    scope = prunable_weights(model)
    masks = {k: mask for k, mask in ticket.weight_masks.items() if k in scope}
    total = sum(p.numel() for p in scope.values())
    kept = sum(int(masks[k].sum()) if k in masks else p.numel() for k, p in scope.items())
    outside = [mask for k, mask in ticket.weight_masks.items() if k not in scope]
    degrees = degree(without_loops(seen.edge_index)[0], seen.num_nodes)
    point = Point(
        seed=header.seed,
        level=header.level,
        sha256=header.digest,
        graph_sparsity=ticket.graph_sparsity,
        weight_sparsity=1 - kept / total,
        biases=sum(int((~mask).sum()) for mask in outside),
        avg_degree=round(float(degrees.mean()), 4),
        isolated=int((degrees == 0).sum()),
        edges=int(ticket.edge_keep.sum()),
        weights=kept + sum(int(mask.sum()) for mask in outside),
        val=score(before[seen.val_mask], seen.y[seen.val_mask]),
        test=score(found[data.test_mask], data.y[data.test_mask]),
        difference=apart,
        params=parameters(ticket),
        bytes=header.path.stat().st_size,
        weighted=ticket.edge_weights is not None,
        file_sha256=sha256_of(header.path),
        weights_id=_digest(ticket.trained),
        macs=_macs(ticket, setting, data) if costs else {},
        latency_ms=_latencies(small, setting) if latency else {},
        kernel="+".join(sorted(kernels)),
    )
    hold(ticket.metrics, {**point.tree(), "weight_sparsity": ticket.weight_sparsity}, data, name)
    return point


def hold(said: dict[str, Any], found: dict[str, Any], data: Any, who: str) -> None:
    """Hold what somebody says of a ticket to what is found.

    Raises:
        NotVerified: a sparsity or a metric that is missing or differs.
    """
    for key in ("graph_sparsity", "weight_sparsity", "val", "test"):
        value = number(said.get(key))
        if value is None:
            raise NotVerified(f"{who} does not say {key}")
        allowed = 1e-9 if key.endswith("sparsity") else tolerance(int(data[f"{key}_mask"].sum()))
        if not abs(value - found[key]) <= allowed:
            raise NotVerified(f"{who} says {key} = {value:.6g}, found is {found[key]:.6g}")


def _digest(state: dict[str, torch.Tensor]) -> str:
    from glt.initial import sha256

    return sha256(state)


def _macs(ticket: Ticket, setting: Setting, data: Data) -> dict[str, dict[str, int]]:
    from glt.cost import cost

    counted = cost(ticket, setting.model, data, storage="dense", reorder=False).tree()["macs"]
    return {form: counted[form] for form in ("dense", "ticket", "compact")}


def _latencies(small: Callable[[], Any], setting: Setting) -> dict[str, tuple[float, float, float]]:
    dense = Forward(setting.model, setting.data)
    return {"compact": _timed(small), "dense": _timed(dense.evaluate)}


def _timed(call: Callable[[], Any]) -> tuple[float, float, float]:
    """(median, quartiles) in ms."""
    times = []
    for i in range(WARM_UP + PASSES):
        start = time.perf_counter()
        call()
        if i >= WARM_UP:
            times.append(1000 * (time.perf_counter() - start))
    low, high = np.percentile(times, [25, 75])
    return round(statistics.median(times), 4), round(float(low), 4), round(float(high), 4)
