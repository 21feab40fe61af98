"""Exact selection by sorting all items."""


def keep_top(scores, keep):
    """List of bools: the ``keep`` largest, among equals those that come first."""
    best = sorted(range(len(scores)), key=lambda i: (-scores[i], i))[:keep]
    return [i in best for i in range(len(scores))]
