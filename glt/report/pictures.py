"""What tickets look like: degrees before and after, and a small neighbourhood with its lost edges."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

from glt.datasets.files import cache_dir
from glt.edges import PrunableEdges
from glt.errors import DataUnavailable, GltError
from glt.inductive import searched_on
from glt.registry import build
from glt.report.describe import describe, experiment_of
from glt.report.latency import ticket_file
from glt.results import Record
from glt.ticket import Ticket

MOST_NODES = 150
"""A drawing holds no more."""
MOST_EDGES = 5_000_000
"""Graphs with more are not loaded for a picture."""
MOST_LEVELS = 10
"""Of a longer path, as many levels from its first to its last are shown."""
BINS = (0, 1, 2, 3, 4, 5, 7, 10, 15, 20, 30, 50, 100, 200, 500, 1000)
"""Where the bins of a degree distribution begin."""


def pictures(
    records: Iterable[tuple[Path, Record]], root: Path | None = None
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """A picture of every experiment whose tickets lie beside its records, and why others have none, by experiment.

    Nothing is downloaded: graphs come from ``root``, ``$GLT_DATA`` or what was downloaded before.

    Args:
        records: finished ones with their folders; see :attr:`glt.report.collect.Collected.records`.
        root: where dataset files are.

    Returns:
        JSON-able mappings: what :func:`~glt.report.describe.describe` says, ``experiment``, ``seed``, ``bins``,
        ``before`` (percent of nodes in each bin), ``after`` (by level), ``isolated`` (nodes, by level; 0 is before) and
        ``graph``: ``x``, ``y``, ``label``, ``edges`` (pairs of places) and ``kept`` (by level, 0 or 1 for each edge).
    """
    made, missing = [], {}
    graphs: dict[str, Any] = {}
    for about, seed, paths in _tickets(records):
        try:
            made.append({**about, "seed": seed, **_picture(paths, root, graphs)})
        except GltError as error:
            missing[about["experiment"]] = str(error)
    return made, missing


def _tickets(records: Iterable[tuple[Path, Record]]) -> list[tuple[dict[str, Any], int, dict[int, Path]]]:
    """(what it is, seed, file by level) per experiment: the first seed of those with most levels."""
    found: dict[str, dict[int, dict[int, Path]]] = defaultdict(lambda: defaultdict(dict))
    about: dict[str, dict[str, Any]] = {}
    for folder, record in records:
        name = record.get("config_id")
        if record.get("control") or not record["level"] or not isinstance(name, str) or not re.fullmatch(r"\w+", name):
            continue
        path = ticket_file(folder, record)
        if path.is_file():
            key = experiment_of(record)
            found[key][record["seed"]][record["level"]] = path
            about[key] = {"experiment": key, **describe(record)}
    chosen = []
    for key, seeds in found.items():
        seed = min(seeds, key=lambda seed: (-len(seeds[seed]), seed))
        levels = sorted(seeds[seed])
        places = np.unique(np.linspace(0, len(levels) - 1, MOST_LEVELS).round().astype(int))
        chosen.append((about[key], seed, {levels[i]: seeds[seed][levels[i]] for i in places}))
    return chosen


def _picture(paths: Mapping[int, Path], root: Path | None, graphs: dict[str, Any]) -> dict[str, Any]:
    tickets = {level: Ticket.load(path) for level, path in paths.items()}
    first = next(iter(tickets.values()))
    if first.edge_keep.numel() > MOST_EDGES:
        raise GltError(f"a graph of {first.edge_keep.numel():,} edges is not loaded for a picture")
    if first.fingerprint not in graphs:
        graphs[first.fingerprint] = _Graph(first, root)
    graph: _Graph = graphs[first.fingerprint]
    if any(ticket.fingerprint != graph.fingerprint for ticket in tickets.values()):
        raise GltError("its tickets belong to another graph than the one found here")
    keep = {level: ticket.edge_keep.numpy() for level, ticket in tickets.items()}
    before = graph.degrees(None)
    after = {level: graph.degrees(kept) for level, kept in keep.items()}
    bins = [start for start in BINS if start <= before.max(initial=0)]
    return {
        "bins": [_bin(bins, i) for i in range(len(bins))],
        "before": _shares(before, bins),
        "after": {level: _shares(degrees, bins) for level, degrees in after.items()},
        "isolated": {level: int((d == 0).sum()) for level, d in {0: before, **after}.items()},
        "graph": {**graph.drawn, "kept": {n: kept[graph.drawn_edges].astype(int).tolist() for n, kept in keep.items()}},
    }


class _Graph:
    """A ticket's graph, its small neighbourhood and where its nodes are drawn."""

    def __init__(self, ticket: Ticket, root: Path | None) -> None:
        data = _offline(ticket, root)
        edges = PrunableEdges.of(data.edge_index, int(data.num_nodes), ticket.undirected)
        self.fingerprint, self.nodes = edges.fingerprint(), edges.num_nodes
        if self.fingerprint != ticket.fingerprint:
            raise GltError("its tickets belong to another graph than the one found here")
        self.pairs = edges.pairs.numpy()
        nodes = neighbourhood(self.pairs, self.nodes)
        place = np.full(self.nodes, -1)
        place[nodes] = np.arange(len(nodes))
        inside = (place[self.pairs] >= 0).all(axis=0)
        self.drawn_edges = inside.nonzero()[0]
        drawn = place[self.pairs[:, inside]]
        x, y = layout(drawn, len(nodes))
        label = data.y[nodes].tolist() if data.get("y") is not None and data.y.dim() == 1 else [0] * len(nodes)
        self.drawn = {"x": x, "y": y, "label": label, "edges": drawn.T.tolist()}

    def degrees(self, keep: np.ndarray | None) -> np.ndarray:
        """Edges of each node, int [nodes]."""
        pairs = self.pairs if keep is None else self.pairs[:, keep]
        return np.bincount(pairs.ravel(), minlength=self.nodes)


def _offline(ticket: Ticket, root: Path | None) -> Any:
    """The ticket's graph from local files alone: a folder that is given is never left for a download."""
    if "dataset" not in ticket.config:
        raise GltError("its graph is no built-in dataset")
    given = root or os.environ.get("GLT_DATA")
    places = [Path(given)] if given else []
    for place in [*places, cache_dir() / "downloads"]:
        try:
            return searched_on(ticket, build("datasets", ticket.config["dataset"])(place))
        except DataUnavailable:
            continue
    raise GltError("its graph is not on this machine, and a report downloads nothing: give --root or set GLT_DATA")


def _bin(starts: list[int], i: int) -> str:
    if i + 1 == len(starts):
        return f"{starts[i]}+"
    last = starts[i + 1] - 1
    return str(starts[i]) if last == starts[i] else f"{starts[i]}-{last}"


def _shares(degrees: np.ndarray, starts: list[int]) -> list[float]:
    """Percent of the nodes in each bin."""
    counts = np.bincount(np.searchsorted(starts, degrees, side="right") - 1, minlength=len(starts))
    return (100 * counts / max(len(degrees), 1)).round(4).tolist()


def neighbourhood(pairs: np.ndarray, num_nodes: int, most: int = MOST_NODES, candidates: int = 300) -> np.ndarray:
    """Nodes, sorted, that show something: all within some hops of a node, without a hub that would hide the rest.

    Of the balls around evenly spaced centres that have ``most`` / 2 to ``most`` nodes, the one whose largest degree is
    least, then the largest; where there are none, the largest smaller one; where one hop is too many, a part of it.
    ``pairs`` is int [2, edges]. O(edges + candidates x most).
    """
    ends = np.concatenate([pairs, pairs[::-1]], axis=1)
    matrix = csr_matrix((np.ones(ends.shape[1], dtype=np.int8), (ends[0], ends[1])), shape=(num_nodes, num_nodes))
    best, rank = np.arange(0), (-1, 0, 0)
    for centre in np.unique(np.linspace(0, num_nodes - 1, candidates).round().astype(int)):
        ball = frontier = np.array([centre])
        while len(frontier) and len(ball) < most:
            near = np.concatenate([matrix.indices[matrix.indptr[n] : matrix.indptr[n + 1]] for n in frontier])
            frontier = np.setdiff1d(near, ball)
            if len(ball) + len(frontier) > most and len(ball) > 1:
                break
            ball = np.concatenate([ball, frontier])[:most]
        hub = int(np.diff(matrix.indptr)[ball].max()) if 2 * len(ball) >= most else num_nodes
        this = (int(2 * len(ball) >= most), -hub, len(ball))
        if this > rank:
            best, rank = ball, this
    return np.sort(best)


def layout(pairs: np.ndarray, num_nodes: int) -> tuple[list[float], list[float]]:
    """Where the nodes of a small graph are drawn: Kamada and Kawai's layout, through networkx (which torch needs)."""
    import networkx

    graph = networkx.Graph()
    graph.add_nodes_from(range(num_nodes))
    graph.add_edges_from(pairs.T.tolist())
    at = networkx.kamada_kawai_layout(graph) if num_nodes > 1 else {n: (0.0, 0.0) for n in range(num_nodes)}
    return [round(float(at[n][0]), 4) for n in range(num_nodes)], [round(float(at[n][1]), 4) for n in range(num_nodes)]
