"""A small heterophilous graph in the files and the layout of the published ones."""

import numpy as np


def write_minesweeper(root, nodes=90, splits=10, seed=0):
    """Write ``<root>/heterophilous/minesweeper/raw/minesweeper.npz``; returns (root, masks bool [3, splits, nodes])."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, nodes)
    features = rng.standard_normal((nodes, 7)).astype(np.float32)
    features[:, 0] += labels
    pairs = np.unique(np.sort(rng.integers(0, nodes, (3 * nodes, 2)), axis=1), axis=0)
    masks = np.zeros((3, splits, nodes), dtype=bool)
    for split in range(splits):
        for part, mine in enumerate(np.array_split(rng.permutation(nodes), [nodes // 2, 3 * nodes // 4])):
            masks[part, split, mine] = True
    raw = root / "heterophilous" / "minesweeper" / "raw"
    raw.mkdir(parents=True)
    np.savez(
        raw / "minesweeper.npz",
        node_features=features,
        node_labels=labels,
        edges=pairs[pairs[:, 0] != pairs[:, 1]],
        train_masks=masks[0],
        val_masks=masks[1],
        test_masks=masks[2],
    )
    return root, masks
