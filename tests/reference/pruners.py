"""Scores of weights from their formulas, on a dense two-layer GCN in double."""

import numpy as np
import torch


def operator(data):
    """D^-1/2 (A + I) D^-1/2, dense; entry (target, source)."""
    dense = np.eye(data.num_nodes)
    for u, v in data.edge_index.t().tolist():
        dense[v, u] += 1
    scale = 1 / np.sqrt(dense.sum(axis=1))
    return scale[:, None] * dense * scale[None, :]


def logits(operator, x, first, last, biases=(0.0, 0.0)):
    hidden = np.maximum(operator @ (x @ first.T) + biases[0], 0)
    return operator @ (hidden @ last.T) + biases[1]


def cross_entropy(scores, labels):
    shifted = scores - scores.max(axis=1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return -logs[np.arange(len(labels)), labels].mean()


def slopes(loss, weights, step=1e-6):
    """d loss / d mask of every entry at a mask of ones, by central differences; ``loss`` of a list of arrays."""
    out = [np.zeros_like(w) for w in weights]
    for i, weight in enumerate(weights):
        for index in np.ndindex(weight.shape):
            ends = []
            for factor in (1 + step, 1 - step):
                changed = [w.copy() for w in weights]
                changed[i][index] *= factor
                ends.append(loss(changed))
            out[i][index] = (ends[0] - ends[1]) / (2 * step)
    return out


def grasp(loss, weights):
    """theta * (H g) with the whole Hessian H; ``loss`` of one flat tensor, ``weights`` flat."""
    hessian = torch.autograd.functional.hessian(loss, weights)
    gradient = torch.autograd.functional.jacobian(loss, weights)
    return weights * (hessian @ gradient)


def flow(operator, features, first, last):
    """theta * dR/dtheta of both matrices, R the sum of the outputs of absolute weights on ones."""
    first, last = np.abs(first), np.abs(last)
    reach = operator.sum(axis=0) @ operator  # how much of every node's input arrives, over all outputs
    inputs = np.full(features, reach.sum())
    return first * np.outer(last.sum(axis=0), inputs), last * (first @ inputs)[None, :]


def synflow_masks(operator, first, last, keep, rounds):
    """SynFlow's masks: in round k all but ``n (keep/n)^(k/rounds)`` weights have gone, the lowest first."""
    alive = [np.ones(w.shape, dtype=bool) for w in (first, last)]
    total = first.size + last.size
    for number in range(1, rounds + 1):
        scores = flow(operator, first.shape[1], first * alive[0], last * alive[1])
        ranked = sorted(
            ((-scores[i][at], i, at) for i in (0, 1) for at in np.ndindex(alive[i].shape) if alive[i][at]),
        )
        left = round(total * (keep / total) ** (number / rounds))
        alive = [np.zeros(w.shape, dtype=bool) for w in (first, last)]
        for _, i, at in ranked[:left]:
            alive[i][at] = True
    return alive
