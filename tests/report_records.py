"""Made-up records for the tests of the report."""

import json


def record(level, seed, test, **changes):
    """A finished point of TEDDY on Cora; dense is at 0.8."""
    return {
        "config_id": "c0ffee000000",
        "method": "teddy" if level else "dense",
        "backbone": "gcn",
        "dataset": "cora",
        "seed": seed,
        "level": level,
        "config": {
            "dataset": {"name": "cora"},
            "backbone": {"name": "gcn"},
            "strategy": {"name": "teddy"},
            "schedule": {"name": "geometric", "levels": [5, 10]},
            "train": {},
        },
        "track": "all" if level else "none",
        "metric": "accuracy",
        "val": 0.81,
        "test": test,
        "last_test": test - 0.01,
        "dense_test": 0.8,
        "graph_sparsity": 1 - 0.95**level,
        "weight_sparsity": 1 - 0.9**level,
        "search_epochs": 200 * (1 + bool(level)),
        "search_s": 4.0 * (1 + level),
        "params": 1000 - 10 * level,
        "densities": {"convs.0.lin.weight": 0.9**level, "convs.1.lin.weight": 0.95**level},
        "status": "ok",
        **changes,
    }


def changed(config, **points):
    """Changes of a record's config, section by section."""
    base = record(1, 0, 0.8)["config"]
    return {"config": {**base, **config}, **points}


def control(name, level, seed, test, **changes):
    """A finished control of such a ticket, which scores 0.82."""
    more = {
        "method": "teddy",
        "control": name,
        "control_spec": {"name": name},
        "edges": 10,
        "weights": 10,
        "ticket_edges": 20,
        "ticket_weights": 20,
        "ticket_graph_sparsity": 0.2,
        "ticket_weight_sparsity": 0.4,
        "ticket_val": 0.81,
        "ticket_test": 0.82,
        "ticket_right": None,
        "right": None,
        "ticket_densities": {},
        **changes,
    }
    return record(level, seed, test, **more)


def board():
    """Two datasets, three methods, a grid, controls, and a name that would like to be HTML."""
    records = [record(level, seed, 0.8 - 0.002 * level + 0.004 * seed) for level in (0, 5, 10) for seed in range(3)]
    ugs = changed({"strategy": {"name": "ugs"}}, method="ugs", track="none", search_epochs=4000)
    records += [record(level, seed, 0.78 - 0.004 * level, **ugs) for level in (5, 10) for seed in range(2)]
    grid = changed({"schedule": {"name": "grid", "graph": [0.2, 0.4], "weight": [0.5, 0.9]}})
    records += [
        record(level, seed, 0.8 - 0.01 * level, **grid, **{"graph_sparsity": g, "weight_sparsity": w})
        for level, (g, w) in enumerate([(0.2, 0.5), (0.2, 0.9), (0.4, 0.5), (0.4, 0.9)], start=1)
        for seed in range(3)
    ]
    records += [control(name, 10, seed, test) for name, test in (("random", 0.79), ("mlp", 0.6)) for seed in range(3)]
    for each in records[3:6]:
        each |= {"latency_ms": 2.5, "latency_dense_ms": 8.0}
    other = changed({"dataset": {"name": "<img src=x onerror=alert(1)>"}}, dataset="<img src=x onerror=alert(1)>")
    return records + [record(level, seed, 0.7, **other) for level in (0, 5) for seed in range(2)]


def write(path, records):
    """A file of records."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path
