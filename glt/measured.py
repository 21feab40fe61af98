"""What a record says of a ticket's object."""

from __future__ import annotations

from torch_geometric.utils import degree

from glt.allocate import densities
from glt.neighbours import without_loops
from glt.problem import Problem
from glt.results import Record
from glt.ticket import Ticket


def measured(problem: Problem, ticket: Ticket, peak_mb: float | None = None) -> Record:
    """Metrics, sparsities, what is left, and what it cost; ``peak_mb`` as of :class:`glt.memory.Peak`, if known."""
    degrees = degree(without_loops(problem.subgraph(ticket.edge_keep).edge_index)[0], problem.data.num_nodes)
    return {
        **{k: v for k, v in ticket.metrics.items() if k != "search_epochs"},
        "avg_degree": round(float(degrees.mean()), 4),
        "isolated": int((degrees == 0).sum()),
        "params": parameters(ticket),
        "densities": densities(ticket.weight_masks),
        "search_s": round(ticket.seconds, 3),
        "search_epochs": ticket.metrics["search_epochs"],
        "peak_mb": peak_mb,
        "kernel": ticket.versions.get("kernel"),
    }


def parameters(ticket: Ticket) -> int:
    """Parameters that are left: kept weights, and everything without a mask."""
    return sum(
        int(ticket.weight_masks[k].sum()) if k in ticket.weight_masks else v.numel() for k, v in ticket.initial.items()
    )
