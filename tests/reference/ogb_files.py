"""Small node sets in OGB's own layout, by hand: what its archives hold, with random contents."""

import gzip

import numpy as np

NODES, EDGES = 40, 90


def csv(path, rows):
    """A csv.gz without a header, one line per row; NaN is an empty cell."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = np.asarray(rows)
    rows = rows[:, None] if rows.ndim == 1 else rows
    lines = (",".join("" if value != value else str(value) for value in row) for row in rows.tolist())
    with gzip.open(path, "wt") as file:
        file.write("".join(line + "\n" for line in lines))


def splits(folder, name, parts):
    """The three files of a split."""
    for part, index in zip(("train", "valid", "test"), parts, strict=True):
        csv(folder / "split" / name / f"{part}.csv.gz", index)


def some_edges(rng):
    """Arcs without loops, no pair twice: [EDGES, 2]."""
    u, v = np.triu_indices(NODES, 1)
    chosen = rng.choice(u.size, EDGES, replace=False)
    arcs = np.stack([u[chosen], v[chosen]], axis=1)
    return np.where(rng.random((EDGES, 1)) < 0.5, arcs, arcs[:, ::-1])


def thirds(rng):
    """A split of all nodes."""
    return np.split(rng.permutation(NODES), [14, 27])


def common(folder, edges, labels):
    """Files that every csv set has."""
    raw = folder / "raw"
    csv(raw / "edge.csv.gz", edges)
    csv(raw / "num-node-list.csv.gz", [NODES])
    csv(raw / "num-edge-list.csv.gz", [len(edges)])
    csv(raw / "node-label.csv.gz", labels)
    (folder / "mapping").mkdir()
    (folder / "RELEASE_v1.txt").touch()


def arxiv(root, seed=0):
    """Like ogbn-arxiv; (arcs, features, labels, split)."""
    rng, folder = np.random.default_rng(seed), root / "ogb" / "ogbn_arxiv"
    edges, x, y, parts = (
        some_edges(rng),
        rng.normal(size=(NODES, 128)).round(4),
        rng.integers(40, size=NODES),
        thirds(rng),
    )
    common(folder, edges, y)
    csv(folder / "raw" / "node-feat.csv.gz", x)
    csv(folder / "raw" / "node_year.csv.gz", rng.integers(2010, 2020, size=NODES))
    splits(folder, "time", parts)
    return edges, x, y, parts


def products(root, seed=1):
    """Like ogbn-products."""
    rng, folder = np.random.default_rng(seed), root / "ogb" / "ogbn_products"
    edges, x, y, parts = (
        some_edges(rng),
        rng.normal(size=(NODES, 100)).round(4),
        rng.integers(47, size=NODES),
        thirds(rng),
    )
    common(folder, edges, y)
    csv(folder / "raw" / "node-feat.csv.gz", x)
    splits(folder, "sales_ranking", parts)
    return edges, x, y, parts


def proteins(root, seed=2, species="node_species"):
    """Like ogbn-proteins: no node features, 8 per edge, 112 tasks; one task has no positive test node."""
    rng, folder = np.random.default_rng(seed), root / "ogb" / "ogbn_proteins"
    edges, e, y, parts = (
        some_edges(rng),
        rng.random((EDGES, 8)).round(3),
        rng.integers(2, size=(NODES, 112)),
        thirds(rng),
    )
    y[parts[2], 5] = 0
    common(folder, edges, y)
    csv(folder / "raw" / "edge-feat.csv.gz", e)
    csv(folder / "raw" / f"{species}.csv.gz", rng.integers(3000, 9999, size=NODES))
    splits(folder, "species", parts)
    return edges, e, y, parts


def papers(root, seed=3):
    """Like ogbn-papers100M: npz, and labels of a few nodes only."""
    rng, folder = np.random.default_rng(seed), root / "ogb" / "ogbn_papers100M"
    edges, x, parts = some_edges(rng), rng.normal(size=(NODES, 128)).astype(np.float32), thirds(rng)
    parts = [part[:9] for part in parts]
    y = np.full((NODES, 1), np.nan, dtype=np.float32)
    labelled = np.concatenate(parts)
    y[labelled, 0] = rng.integers(172, size=labelled.size)
    raw = folder / "raw"
    raw.mkdir(parents=True)
    np.savez(
        raw / "data.npz",
        edge_index=edges.T.astype(np.int64),
        node_feat=x,
        node_year=np.full((NODES, 1), 2015),
        num_nodes_list=np.array([NODES]),
        num_edges_list=np.array([EDGES]),
    )
    np.savez(raw / "node-label.npz", node_label=y)
    splits(folder, "time", parts)
    (folder / "RELEASE_v1.txt").touch()
    return edges, x, y[:, 0], parts


MAKERS = {"ogbn-arxiv": arxiv, "ogbn-products": products, "ogbn-proteins": proteins, "ogbn-papers100M": papers}
