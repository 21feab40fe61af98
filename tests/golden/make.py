"""Make ``ticket-v1.safetensors``: a ticket of format 1 that every later glt must read.

    python tests/golden/make.py

It was run once. A file of format 1 is never made again: when the format rises, ``ticket-v2.safetensors`` is made
beside it and both stay. ``tests/test_golden.py`` says what the file holds.
"""

from __future__ import annotations

from pathlib import Path

import torch

from glt.config import Config
from glt.forward import Forward
from glt.problem import Problem
from glt.ticket import Ticket
from glt.ticket_file import FORMAT

FILE = Path(__file__).with_name("ticket-v1.safetensors")
OPTIONS = (
    "dataset={name: csbm, nodes: 60, classes: 3, features: 24, avg_degree: 4, signal: 0.5}",
    "backbone={name: gcn, hidden: 4}",
    "strategy={name: teddy, weight: 1}",
    "schedule={name: geometric, graph_rate: 0.1, weight_rate: 0.2, levels: [3]}",
    "train={epochs: 60, lr: 0.05}",
)


def ticket() -> Ticket:
    """The ticket of the only level, as ``glt run`` would find it."""
    config = Config.load(None, OPTIONS)
    problem = Problem(config.dataset(), config.backbone, config.train, config=config.spec())
    found = next(iter(config.strategy.tickets(problem, config.schedule)))
    found.metrics |= {"dense_val": problem.dense.val, "dense_test": problem.dense.test}
    return found


def margin(found: Ticket) -> float:
    """How far the nearest decision of any node is from going the other way, in logits."""
    config = Config.load(None, OPTIONS)
    data = found.apply(config.dataset())
    model = found.restore(config.backbone(data.x.size(1), data.num_classes))
    best = Forward(model, data).evaluate().topk(2).values
    return float((best[:, 0] - best[:, 1]).min())


if __name__ == "__main__":
    torch.set_num_threads(1)
    made = ticket()
    assert FORMAT <= 2, "leave ticket-v1.safetensors alone and make a file of the new format"
    assert margin(made) > 1e-3, "a processor that rounds otherwise would give another metric"
    print(f"{made.save(FILE)}  {FILE.name}, {FILE.stat().st_size} bytes")
    print(f"fingerprint {made.fingerprint}\nmetrics {made.metrics}\nmargin {margin(made):.4f}")
