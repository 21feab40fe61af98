"""Shares of a weight budget, the slow way."""


def erk(shapes, density):
    """Densities of layers [out, in]: eps (in + out) / (in out), those above one set to one, eps solved again."""
    sizes = [a * b for a, b in shapes]
    raw = [(a + b) / (a * b) for a, b in shapes]
    dense = set()
    while True:
        budget = sum(density * n if i not in dense else -(1 - density) * n for i, n in enumerate(sizes))
        eps = budget / sum(raw[i] * sizes[i] for i in range(len(shapes)) if i not in dense)
        above = [i for i in range(len(shapes)) if i not in dense and eps * raw[i] > 1 + 1e-12]
        if not above:
            return [1.0 if i in dense else eps * raw[i] for i in range(len(shapes))]
        dense.add(max(above, key=lambda i: raw[i]))


def shares(total, parts, least, most):
    """``clip(scale * part, least, most)`` at the scale where they add up to ``total``, by bisection."""
    low, high = 0.0, 1.0 + max(b / p for b, p in zip(most, parts, strict=True))
    for _ in range(200):
        scale = (low + high) / 2
        real = [min(max(scale * p, a), b) for p, a, b in zip(parts, least, most, strict=True)]
        low, high = (scale, high) if sum(real) < total else (low, scale)
    return real


def best(scores, keep, least, alive):
    """Kept positions of lists of scores: the best ``least`` of each layer, then the best of all; ties by position."""
    order = sorted((-s, i, j) for i, layer in enumerate(scores) for j, s in enumerate(layer) if alive[i][j])
    kept = {(i, j) for k, least_here in enumerate(least) for _, i, j in [o for o in order if o[1] == k][:least_here]}
    for _, i, j in order:
        if len(kept) < keep:
            kept.add((i, j))
    return kept
