"""TEDDY's edge score from its formula, on a dense adjacency matrix."""

import numpy as np


def teddy_scores(edge_index, nodes, undirected=True):
    """float64 [arcs]; g_v is the mean of d^-1/2 over neighbours, the score is (g_u / d_u) (g_v / d_v)."""
    adjacency = np.zeros((nodes, nodes))
    for u, v in edge_index.T:
        if u != v:
            adjacency[u, v] += 1
    if not undirected:
        adjacency = adjacency + adjacency.T
    degree = adjacency.sum(axis=1)
    scores = []
    for u, v in edge_index.T:
        score = 1.0
        for node in (u, v):
            around = adjacency[node] > 0
            total = (adjacency[node, around] / np.sqrt(degree[around])).sum()
            score *= total / degree[node] / degree[node] if degree[node] else 0.0
        scores.append(score)
    return np.array(scores)
