"""Arcs per second of TEDDY: scores, exact selection and removal of arcs, against the memory bandwidth.

**What is timed.** :func:`glt.sparsify.keep_arcs` and :func:`glt.sparsify.remove_arcs`, end to end, on a PyG
``Data`` whose ``edge_index`` is int64, coalesced and holds both arcs of every edge; 40 % of the edges go, exactly.
That includes the checks on the way: indices in range, sorted, symmetric. Stages: *score* is the scorer alone,
*select* is ``keep_arcs`` less the scorer (checks and selection), *remove* is ``remove_arcs``.

**The graph** has a tenth as many nodes as arcs and degrees that follow a power law with exponent 3: both ends of
an edge are drawn with a probability proportional to rank^-1/2, duplicates and loops are dropped, and the ranks are
shuffled, so that neighbours are far apart in memory. Seeded; making it is not timed.

**The floor.** Whatever the method, the two indices of every arc must be read once (16 bytes) and those of
every kept arc written once (16 bytes): (1 + 0.6) * 16 = 25.6 bytes per arc. Divided by the copy bandwidth measured
in the same run (:func:`machine.bandwidth`), that is the shortest time possible; *of floor* is that time
divided by ours. It ignores that scores depend on neighbours, so 100 % is out of reach: reading the
degree factor of two random nodes per arc alone costs more than the floor once they no longer fit the caches.

**Memory** is what the process needs at its peak beyond the input, in bytes per arc, the result included (9.6
bytes per arc at a sparsity of 0.4). A fresh process reads the graph from a pipe, runs once on a small
graph so that libraries and threads are set up, notes its resident memory, and runs; the kernel's own high-water
mark less the note is the number, so no peak is missed between samples.

**The peers** are networkit's LocalDegree and RandomEdge sparsifiers (optional: ``pip install networkit``) on the
same graph, to the same size, with as many threads. They compute other scores, so this compares what it costs
to thin a graph, not the same numbers. Times are scoring plus ``getSparsifiedGraphOfSize``, which for LocalDegree
searches the threshold by building up to twenty graphs; *filter* is one such build, with the threshold known, so
that *score* plus *filter* is what a faster search would leave. Scores travel through Python lists, as networkit's
interface wants it. Making the networkit graph out of ``edge_index`` is *convert* and is not part of the peer's time.
The sparsity they reach is recorded: LocalDegree's scores have many ties, RandomEdge's is right on average.
Above :data:`PEERS_UP_TO` arcs they are left out.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import median_iqr, resident, timed
from torch_geometric.data import Data

import glt
from glt.errors import GltError
from glt.results import Record
from glt.select import keep_count
from glt.sparsify import keep_arcs, remove_arcs

SPARSITY = 0.4
ARCS = (1_000_000, 10_000_000, 50_000_000)
PEERS_UP_TO = 10_000_000
PEER_BUDGET = 60.0
"""Seconds after which a peer gets no further repetition."""


def run(arcs: int, repetitions: int, speeds: dict[str, float]) -> list[Record]:
    """One record per peer, or one without a peer; what is ours is the same in all of them.

    Args:
        arcs: size of the graph.
        repetitions: of ours, and at most of the peers'.
        speeds: what :func:`machine.bandwidth` measured.
    """
    data = power_law(arcs)
    arcs = data.edge_index.size(1)
    scorer = glt.build("scorers", "teddy")
    _once(data, scorer)  # the first call is slower: threads start, libraries load
    rows = [_once(data, scorer) for _ in range(repetitions)]
    ours, ours_iqr = median_iqr([row["total"] for row in rows])
    floor = arcs * 16 * (2 - SPARSITY) / speeds["copy_gb_s"] / 1e6
    record: Record = {
        "benchmark": "scoring",
        "parameters": {
            "arcs": arcs,
            "nodes": data.num_nodes,
            "graph": "power law, exponent 3",
            "graph_sparsity": SPARSITY,
        },
        "unit": "ms",
        "ours": ours,
        "ours_iqr": ours_iqr,
        "peer_name": None,
        "peer": None,
        "peer_iqr": None,
        "ratio": None,
        "repetitions": repetitions,
        "peer_repetitions": 0,
        "arcs_per_s": round(arcs / ours * 1e3),
        "score_ms": median_iqr([row["score"] for row in rows])[0],
        "select_ms": median_iqr([row["select"] for row in rows])[0],
        "remove_ms": median_iqr([row["remove"] for row in rows])[0],
        **speeds,
        "floor_ms": round(floor, 4),
        "of_floor": round(floor / ours, 4),
        "extra_bytes_per_arc": extra_bytes_per_arc(data),
    }
    peers = list(_networkit(data, repetitions, ours)) if arcs <= PEERS_UP_TO else []
    return [{**record, **peer} for peer in peers or [{}]]


def power_law(arcs: int, seed: int = 0) -> Data:
    """A coalesced undirected graph of ``arcs`` arcs and a tenth as many nodes; see the top of this file."""
    nodes, edges = max(arcs // 10, 2), arcs // 2
    random = np.random.default_rng(seed)
    keys = np.empty(0, dtype=np.int64)
    while keys.size < edges:
        drawn = (random.random((2, (edges - keys.size) * 11 // 10 + 16)) ** 2 * nodes).astype(np.int64)
        low, high = drawn.min(axis=0), drawn.max(axis=0)
        keys = np.unique(np.concatenate([keys, (low * nodes + high)[low != high]]))
    keys = random.permutation(keys)[:edges]
    name = random.permutation(nodes)
    u, v = name[keys // nodes], name[keys % nodes]
    keys = np.sort(np.concatenate([u * nodes + v, v * nodes + u]))
    return Data(edge_index=torch.from_numpy(np.stack([keys // nodes, keys % nodes])), num_nodes=nodes)


def _once(data: Data, scorer: Any) -> dict[str, float]:
    """Milliseconds of every stage of one run, whose result has to have the right size."""
    score, _ = timed(lambda: scorer(data))
    keep_ms, keep = timed(lambda: keep_arcs(data, scorer, SPARSITY))
    remove, sparse = timed(lambda: remove_arcs(data, keep))
    expected = 2 * keep_count(data.edge_index.size(1) // 2, SPARSITY)
    if sparse.edge_index.size(1) != expected:
        raise GltError(f"{sparse.edge_index.size(1)} arcs are left instead of {expected}")
    return {"score": score, "select": keep_ms - score, "remove": remove, "total": keep_ms + remove}


def extra_bytes_per_arc(data: Data) -> float:
    """Peak memory of a run beyond its input, in a fresh process; see the top of this file."""
    arcs = data.edge_index.size(1)
    command = [sys.executable, str(Path(__file__).resolve()), str(data.num_nodes), str(arcs)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin
        assert child.stdout
        with contextlib.suppress(BrokenPipeError):  # its exit status is told below
            child.stdin.write(memoryview(data.edge_index.contiguous().numpy()).cast("B"))
            child.stdin.close()
        answer = child.stdout.read()
    if child.returncode:
        raise GltError(f"the process that measures memory ended with status {child.returncode}")
    return float(json.loads(answer)["extra_bytes_per_arc"])


def _child(nodes: int, arcs: int) -> None:
    """What the process of :func:`extra_bytes_per_arc` does."""
    scorer = glt.build("scorers", "teddy")
    small = power_law(10_000)
    remove_arcs(small, keep_arcs(small, scorer, SPARSITY))
    data = Data(edge_index=torch.empty(2, arcs, dtype=torch.int64), num_nodes=nodes)
    if sys.stdin.buffer.readinto(memoryview(data.edge_index.numpy()).cast("B")) != arcs * 16:
        sys.exit("the graph is incomplete")
    before, _ = resident()
    remove_arcs(data, keep_arcs(data, scorer, SPARSITY))
    _, peak = resident()
    print(json.dumps({"extra_bytes_per_arc": round((peak - before) / arcs, 2)}))


def networkit() -> Any:
    """The module, or None where it is not installed."""
    try:
        import networkit as module
    except ImportError:
        return None
    return module


def _networkit(data: Data, repetitions: int, ours: float) -> Iterator[Record]:
    """What is the peers' in a record."""
    nk = networkit()
    if nk is None:
        return
    nk.setNumberOfThreads(torch.get_num_threads())
    nk.setSeed(0, False)
    convert_ms, graph = timed(lambda: _converted(nk, data))
    common = {
        "peer_version": nk.__version__,
        "peer_threads": nk.getMaxNumberOfThreads(),
        "peer_convert_ms": round(convert_ms, 4),
    }
    # a kept edge scores at least the threshold in LocalDegree, at most the threshold in RandomEdge
    for name, quantile in (("LocalDegree", SPARSITY), ("RandomEdge", 1 - SPARSITY)):
        peer = _peer(getattr(nk.sparsification, f"{name}Sparsifier")(), graph, quantile, repetitions)
        yield {"peer_name": f"networkit {name}", **peer, "ratio": round(peer["peer"] / ours, 3), **common}


def _peer(sparsifier: Any, graph: Any, quantile: float, repetitions: int) -> Record:
    """Times of one sparsifier; ``quantile`` of its scores is the threshold of its filter."""
    rows: list[tuple[float, float]] = []
    started = time.perf_counter()
    while len(rows) < repetitions and (not rows or time.perf_counter() - started < PEER_BUDGET):
        score_ms, scores = timed(partial(sparsifier.scores, graph))
        size_ms, sparse = timed(partial(sparsifier.getSparsifiedGraphOfSize, graph, 1 - SPARSITY, scores))
        rows.append((score_ms, size_ms))
    threshold = float(np.quantile(np.asarray(scores), quantile))
    filter_ms, _ = timed(lambda: sparsifier.getSparsifiedGraph(graph, threshold, scores))
    median, iqr = median_iqr([sum(row) for row in rows])
    return {
        "peer": median,
        "peer_iqr": iqr,
        "peer_repetitions": len(rows),
        "peer_score_ms": median_iqr([row[0] for row in rows])[0],
        "peer_filter_ms": round(filter_ms, 4),
        "peer_graph_sparsity": round(1 - sparse.numberOfEdges() / graph.numberOfEdges(), 6),
    }


def _converted(nk: Any, data: Data) -> Any:
    """The networkit graph of ``data``, with the edge ids that its sparsifiers need."""
    source, target = data.edge_index.numpy()
    once = source < target
    graph = nk.GraphFromCoo((source[once], target[once]), n=data.num_nodes)
    graph.indexEdges()
    return graph


if __name__ == "__main__":
    _child(*(int(argument) for argument in sys.argv[1:]))
