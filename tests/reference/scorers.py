"""Edge scores from their formulas, slowly, on dense matrices or pair by pair; and which scorers need a model."""

import math

import numpy as np

from glt.registry import get, names

NEEDS_MODEL = [name for name in names("scorers") if getattr(get("scorers", name), "needs_model", False)]
MODEL_FREE = [name for name in names("scorers") if name not in NEEDS_MODEL]


def neighbourhoods(edge_index, nodes):
    """Set of neighbours of every node, directions and loops aside."""
    around = [set() for _ in range(nodes)]
    for u, v in edge_index.t().tolist():
        if u != v:
            around[u].add(v)
            around[v].add(u)
    return around


def per_arc(edge_index, score):
    """float64 [arcs]: ``score(u, v)``, 0 for loops."""
    return np.array([score(u, v) if u != v else 0.0 for u, v in edge_index.t().tolist()])


def jaccard(edge_index, nodes):
    around = neighbourhoods(edge_index, nodes)
    return per_arc(edge_index, lambda u, v: len(around[u] & around[v]) / len(around[u] | around[v]))


def local_degree(edge_index, nodes):
    around = neighbourhoods(edge_index, nodes)

    def one_way(u, v):
        ranked = sorted(around[u], key=lambda w: (-len(around[w]), w))
        return 1 - math.log(ranked.index(v) + 1) / math.log(len(ranked)) if len(ranked) > 1 else 1.0

    return per_arc(edge_index, lambda u, v: max(one_way(u, v), one_way(v, u)))


def feature_cosine(edge_index, x):
    def score(u, v):
        norms = np.linalg.norm(x[u]) * np.linalg.norm(x[v])
        return float(x[u] @ x[v] / norms) if norms else 0.0

    return per_arc(edge_index, score)


def effective_resistance(edge_index, nodes):
    """By the pseudo-inverse of the Laplacian."""
    laplacian = np.zeros((nodes, nodes))
    for u, around in enumerate(neighbourhoods(edge_index, nodes)):
        laplacian[u, u] = len(around)
        laplacian[u, list(around)] = -1
    inverse = np.linalg.pinv(laplacian, hermitian=True)
    return per_arc(edge_index, lambda u, v: inverse[u, u] + inverse[v, v] - 2 * inverse[u, v])


def forest_order(edge_index, nodes, base, forests):
    """Pairs from the most worth keeping to the least: Kruskal, forest after forest, then by base score, then by id.

    ``base`` is a score per pair (u < v).
    """
    left = sorted({(min(a), max(a)) for a in edge_index.t().tolist() if a[0] != a[1]})
    left.sort(key=lambda pair: -base[pair])
    out = []
    for _ in range(forests):
        root = list(range(nodes))

        def find(v, root=root):
            while root[v] != v:
                v = root[v]
            return v

        forest = []
        for u, v in left:
            if find(u) != find(v):
                root[find(u)] = find(v)
                forest.append((u, v))
        out += forest
        left = [pair for pair in left if pair not in forest]
    return out + left


def gcn_loss(adjacency, x, weights, biases, y, train):
    """Cross-entropy of a GCN with ReLU on a dense weighted adjacency matrix without loops, float64."""
    with_loops = adjacency + np.eye(len(adjacency))
    scale = 1 / np.sqrt(with_loops.sum(0))
    operator = scale[:, None] * with_loops.T * scale
    for layer, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        x = operator @ (x @ weight.T) + bias
        if layer < len(weights) - 1:
            x = np.maximum(x, 0)
    logits = x[train]
    shifted = logits - logits.max(1, keepdims=True)
    log_softmax = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    return -log_softmax[np.arange(len(logits)), y[train]].mean()


def gat_attention(adjacency, x, weight, source, target, slope=0.2):
    """Coefficients [nodes, nodes, heads] (target, source) of a GAT layer with self-loops, and its output, float64.

    ``weight`` [heads * width, inputs]; ``source`` and ``target`` [heads, width].
    """
    heads, width = source.shape
    h = (x @ weight.T).reshape(len(x), heads, width)
    logits = (h * target).sum(-1)[:, None, :] + (h * source).sum(-1)[None, :, :]
    logits = np.where(logits > 0, logits, slope * logits)
    mask = (adjacency + np.eye(len(adjacency)) > 0).T[:, :, None]
    weights = np.exp(np.where(mask, logits, -np.inf) - logits.max())
    alpha = weights / weights.sum(1, keepdims=True)
    return alpha, np.einsum("tsh,shw->thw", alpha, h).reshape(len(x), -1)
