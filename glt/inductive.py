"""The inductive setting: test nodes, and every edge that touches one, are not there until the test.

Scores, masks, weights, the teacher and the best epoch come from the graph without them; validation nodes are part of
it, their labels for choosing an epoch alone. Then the test nodes arrive: edges among the others stay as the ticket
says, and of the new ones those with the highest scores, by the strategy's own scorer on the whole graph, exactly as
many as bring the whole graph to the ticket's sparsity.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from glt.batches.base import attributes, skeleton
from glt.datasets.splits import of_seed
from glt.edges import PrunableEdges
from glt.errors import GltError
from glt.registry import build
from glt.select import keep_count, keep_top
from glt.sparsify import remove_arcs
from glt.tasks import outputs

if TYPE_CHECKING:
    from glt.ticket import Ticket

TRACK = "inductive"


def is_inductive(config: Mapping[str, Any]) -> bool:
    """Whether a config, of a ticket or of a problem, says that test nodes come later."""
    recipe = config.get("train")
    return isinstance(recipe, Mapping) and recipe.get("inductive") is True


def without_test_nodes(data: Data) -> Data:
    """The graph that all nodes but those of ``data.test_mask`` induce, in their order; O(nodes + arcs).

    Of the others there is nothing left in it but ``num_classes``.
    """
    part = skeleton(data).subgraph(~data.test_mask)
    smaller = Data(edge_index=part.edge_index)
    for key, value in attributes(data, part):
        smaller[key] = value
    smaller.num_nodes, smaller.num_classes = part.n_id.numel(), outputs(data)
    return smaller


def arrived(data: Data, edges: PrunableEdges, keep: Tensor, scorer: Callable[[], Any]) -> Data:
    """The whole graph, sparsified again now that its test nodes are there.

    Args:
        data: with them.
        edges: of ``data``.
        keep: bool [edges of the graph without test nodes], which of these stay.
        scorer: makes the scorer that decides about the others; called only where some of them stay and some do not.

    Returns:
        ``data`` with as many edges as :func:`glt.select.keep_count` says of the sparsity of ``keep``; none where
        ``keep`` has none.

    Raises:
        GltError: what ``scorer`` raises, or scores that hold NaN.
    """
    keep = keep.to(data.edge_index.device)
    new = data.test_mask[edges.pairs].any(0)
    kept = int(keep.sum())
    # the same number as Ticket.graph_sparsity, to the last bit: halves are rounded by it
    wanted = keep_count(edges.num_edges, 1.0 - float(keep.double().mean()), "edges") - kept if kept else 0
    mask = torch.empty_like(new)
    mask[~new] = keep
    mask[new] = wanted > 0
    if 0 < wanted < int(new.sum()):
        mask[new] = keep_top(edges.pool(scorer()(data).detach())[new], wanted)
    return remove_arcs(data, edges.to_arcs(mask))


def scorer_of(config: Mapping[str, Any], seed: int) -> Any:
    """The scorer that decides about the edges of nodes that come later; see ``Taught.arrivals``.

    Raises:
        GltError: the config names no strategy, or one that cannot say.
    """
    if "strategy" not in config:
        raise GltError("train.inductive: only a registered strategy says how the edges of new nodes are scored")
    strategy = build("strategies", config["strategy"])
    if not hasattr(strategy, "arrivals"):
        raise GltError(
            f"train.inductive: strategy {strategy.name!r} does not say how the edges of new nodes are scored"
        )
    return strategy.arrivals(seed)


def applied(ticket: Ticket, data: Data, edges: PrunableEdges) -> Data:
    """An inductive ticket on the whole graph; see :func:`arrived`. ``edges``: of ``data``.

    Raises:
        GltError: the ticket's edges have weights, which say nothing of new ones.
    """
    if ticket.edge_weights is not None:
        raise GltError("train.inductive: the ticket's edges have weights, and new ones would have none")
    seed = int(ticket.config.get("seed", 0))
    return arrived(data, edges, ticket.edge_keep, lambda: scorer_of(ticket.config, seed))


def searched_on(ticket: Ticket, data: Data) -> Data:
    """The graph that the ticket was found on, whose edges its mask is of.

    Args:
        ticket: the ticket.
        data: the whole graph, with the splits of every seed or of the ticket's own.
    """
    data = of_seed(data, int(ticket.config.get("seed", 0)))
    return without_test_nodes(data) if is_inductive(ticket.config) else data


def judged_on(ticket: Ticket, data: Data) -> tuple[Data, Data]:
    """The graphs on which validation and test nodes are read, as the ticket leaves them; one graph, if not inductive.

    Args:
        ticket: the ticket.
        data: as of :func:`searched_on`.

    Raises:
        GltError: it is another graph.
    """
    seen = ticket.apply(searched_on(ticket, data))
    if not is_inductive(ticket.config):
        return seen, seen
    return seen, ticket.apply(of_seed(data, int(ticket.config.get("seed", 0))))


def track_of(config: Mapping[str, Any], taught: str) -> str:
    """A record's ``track``: ``inductive``, else which nodes a teacher's outputs are used on."""
    return TRACK if is_inductive(config) else taught
