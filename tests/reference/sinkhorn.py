"""Optimal transport between classes, one class at a time, as the formulas read."""

import numpy as np
from scipy.optimize import linprog
from scipy.special import logsumexp


def classes(z):
    """(rows of a class, all other rows), for every class that has some of both."""
    predicted = np.argmax(z, axis=1)
    for c in range(z.shape[1]):
        ours, others = z[predicted == c], z[predicted != c]
        if len(ours) and len(others):
            yield ours, others


def distances(a, b):
    return np.sqrt(((a[:, None, :] - b[None, :, :]) ** 2).sum(-1))


def plan(cost, epsilon, iterations):
    """(transport plan, potentials) after so many rounds of both updates."""
    n, m = cost.shape
    f, g = np.zeros(n), np.zeros(m)
    for _ in range(iterations):
        f = epsilon * (-np.log(n) - logsumexp((g[None, :] - cost) / epsilon, axis=1))
        g = epsilon * (-np.log(m) - logsumexp((f[:, None] - cost) / epsilon, axis=0))
    return np.exp((f[:, None] + g[None, :] - cost) / epsilon), f, g


def transported(z, epsilon, iterations):
    """Sum over classes of the cost of the plan."""
    return sum((plan(cost, epsilon, iterations)[0] * cost).sum() for cost in (distances(a, b) for a, b in classes(z)))


def entropic(z, epsilon, iterations):
    """Sum over classes of min <P, C> + epsilon * sum P log P, by its dual; the mass of P is 1."""
    total = 0.0
    for a, b in classes(z):
        _, f, g = plan(distances(a, b), epsilon, iterations)
        total += f.mean() + g.mean() - epsilon
    return total


def exact(z):
    """Sum over classes of the true transport cost, a linear programme."""
    total = 0.0
    for a, b in classes(z):
        cost = distances(a, b)
        n, m = cost.shape
        rows, columns = np.kron(np.eye(n), np.ones(m)), np.kron(np.ones(n), np.eye(m))
        masses = np.concatenate([np.full(n, 1 / n), np.full(m, 1 / m)])
        total += linprog(cost.ravel(), A_eq=np.vstack([rows, columns]), b_eq=masses).fun
    return total
