"""How the benchmark's tables put things: names, means, paired differences, where numbers come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from glt.intervals import bootstrap
from glt.provenance import made_by
from glt.results import Record
from glt.summary import Row

DATASETS = {"cora": "Cora", "citeseer": "CiteSeer", "pubmed": "PubMed"}
BACKBONES = {
    "gcn": "GCN",
    "gcn-16": "GCN-16",
    "gin": "GIN",
    "gin-64": "GIN-64",
    "gin-1": "GIN, 1-layer MLP",
    "gat": "GAT",
    "gat-64": "GAT-64",
    "sage": "SAGE",
}
SEEDS = 5
"""What has fewer seeds is not shown."""


def percent(row: Row) -> str:
    """Mean and spread of the test metric."""
    return f"{100 * row.test:.1f} ± {100 * row.spread:.1f}"


def against_dense(row: Row) -> str:
    """Mean difference from dense in points, with its interval."""
    return f"{100 * row.difference:+.1f} [{100 * row.low:+.1f}, {100 * row.high:+.1f}]"


def gap(one: Mapping[int, float], other: Mapping[int, float]) -> str:
    """Mean of one - other in points over the seeds that both have, with its interval; empty for too few seeds."""
    seeds = sorted(set(one) & set(other))
    if len(seeds) < SEEDS:
        return ""
    gaps = 100 * np.array([one[seed] - other[seed] for seed in seeds])
    low, high = bootstrap(gaps)
    return f"{gaps.mean():+.1f} [{low:+.1f}, {high:+.1f}]"


def provenance(records: Sequence[Record]) -> str:
    """One line: seeds, hardware, versions, commits."""
    seeds = {r["seed"] for r in records if "seed" in r}
    head = f"{len(seeds)} seeds, mean ± standard deviation; " if seeds else ""
    return f"<sub>{head}{made_by(records)}.</sub>"
