"""Ticket: a sub-graph, a sparse sub-network, the weights they start from, and how they were found."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from glt import ticket_file
from glt.constraints import Masks
from glt.datasets.splits import of_seed
from glt.edges import PrunableEdges
from glt.errors import GltError
from glt.inductive import applied, is_inductive, without_test_nodes
from glt.initial import again, recipe
from glt.provenance import versions
from glt.sparsify import remove_arcs, weigh_arcs

State = dict[str, Tensor]


@dataclass(repr=False)
class Ticket:
    """A graph lottery ticket.

    Attributes:
        edge_keep: bool [edges]; which edges stay, in the order of :class:`~glt.edges.PrunableEdges`.
        weight_masks: bool mask by parameter name; True = kept.
        initial: the whole state dict the ticket is rewound to.
        fingerprint: of the graph that ``edge_keep`` indexes.
        undirected: whether both arcs of a pair are one edge.
        config: how it was found; enough to find it again where dataset and backbone are built in.
        metrics: what was measured (val, test, epoch, sparsities, cost, ...).
        trained: the state dict at the best validation epoch, if kept.
        versions: of glt, torch, PyG and Python that made it.
        edge_weights: float [edges], what arcs weigh in the sub-graph (0 where they are gone), if anything but 1.
        seconds: what the search took; not saved, so that the same search gives the same file.
    """

    edge_keep: Tensor
    weight_masks: Masks
    initial: State
    fingerprint: str
    undirected: bool = True
    config: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    trained: State | None = None
    versions: dict[str, str] = field(default_factory=versions)
    edge_weights: Tensor | None = None
    seconds: float = 0.0

    @property
    def graph_sparsity(self) -> float:
        """Fraction of edges removed, counted."""
        return 1.0 - float(self.edge_keep.double().mean())

    @property
    def weight_sparsity(self) -> float:
        """Fraction of the weights under the masks removed, counted."""
        total = sum(mask.numel() for mask in self.weight_masks.values())
        return 1.0 - sum(int(mask.sum()) for mask in self.weight_masks.values()) / total if total else 0.0

    def apply(self, data: Data) -> Data:
        """A copy of ``data`` with the pruned edges' arcs removed, per-arc attributes along with them.

        Of a ticket with :attr:`edge_weights` the others are in ``edge_weight``, times what is there. A ticket that was
        found without the test nodes takes the graph without them, or, by its test_mask, the whole one, where its scorer
        decides about the edges that touch them (:mod:`glt.inductive`).

        Raises:
            GltError: ``data`` is another graph than the ticket's.
        """
        if data.get("edge_index") is None:
            raise GltError("the data has no edge_index to apply the ticket to")
        edges = PrunableEdges.of(data.edge_index, int(data.num_nodes or 0), self.undirected)
        test = data.get("test_mask")
        if is_inductive(self.config) and test is not None and bool(test.any()):
            data = of_seed(data, int(self.config.get("seed", 0)))
            seen = without_test_nodes(data)
            self._check(PrunableEdges.of(seen.edge_index, int(seen.num_nodes or 0), self.undirected))
            return applied(self, data, edges)
        self._check(edges)
        return remove_arcs(weigh_arcs(data, edges, self.edge_weights), edges.to_arcs(self.edge_keep))

    def _check(self, edges: PrunableEdges) -> None:
        """GltError unless these are the edges of the ticket's graph."""
        if edges.fingerprint() != self.fingerprint:
            raise GltError(
                f"this ticket belongs to another graph: it has {self.edge_keep.numel()} edges and fingerprint "
                f"{self.fingerprint[:12]}, the graph given {edges.num_edges} and {edges.fingerprint()[:12]}; "
                "apply it to the data it was found on"
            )

    def rewind(self, model: nn.Module) -> nn.Module:
        """Set ``model`` to the initial weights, pruned ones zero, and return it.

        Raises:
            GltError: the model has other parameters than the ticket.
        """
        return self._set(model, self.initial)

    def restore(self, model: nn.Module) -> nn.Module:
        """Set ``model`` to the trained weights, pruned ones zero, and return it.

        Raises:
            GltError: the ticket was saved without them, or the model has other parameters.
        """
        if self.trained is None:
            raise GltError("this ticket holds no trained weights: it was saved with trained=False")
        return self._set(model, self.trained)

    def _set(self, model: nn.Module, state: State) -> nn.Module:
        own = model.state_dict()
        if lazy := [k for k, v in own.items() if nn.parameter.is_lazy(v)]:
            raise GltError(
                f"parameter {lazy[0]!r} has no shape yet: run the model once before it gets a ticket's weights"
            )
        if wrong := [k for k in own | state if k not in own or k not in state or own[k].shape != state[k].shape]:
            shapes = (list(s[wrong[0]].shape) if wrong[0] in s else "nothing" for s in (own, state))
            raise GltError(
                "this ticket does not fit {}: {} is {} there, {} here".format(type(model).__name__, wrong[0], *shapes)
            )
        model.load_state_dict(state)
        with torch.no_grad():  # on the parameters themselves: one may stand in the state under several names
            for name, parameter in model.named_parameters(remove_duplicate=False):
                if name in self.weight_masks:
                    parameter.masked_fill_(~self.weight_masks[name].to(parameter.device), 0)
        return model

    def __repr__(self) -> str:
        test = self.metrics.get("test")
        score = f", test {test:.4f}" if isinstance(test, float) else ""
        return f"Ticket(graph {self.graph_sparsity:.1%} removed, weights {self.weight_sparsity:.1%} removed{score})"

    def save(self, path: str | Path, trained: bool = True, initial: bool = True) -> str:
        """Write one safetensors file, atomically; returns its content digest (sha256).

        Args:
            path: usually ``*.safetensors``.
            trained: also keep the trained weights, which :meth:`verify` needs.
            initial: also keep the initial weights. Without, seed and sha256 are kept, and loading makes them again.

        Raises:
            NoSeed: ``initial=False``, and they are not what the seed gives a built-in backbone; a GltError.
        """
        how = None if initial else recipe(self.initial, self.config)
        tensors = {"edges": ticket_file.pack(self.edge_keep)}
        if self.edge_weights is not None:
            tensors["edge_weights"] = self.edge_weights[self.edge_keep]
        tensors |= {f"mask/{k}": ticket_file.pack(v) for k, v in self.weight_masks.items()}
        tensors |= {f"initial/{k}": v for k, v in self.initial.items()} if initial else {}
        if trained and self.trained is not None:
            for k, v in self.trained.items():  # only what survives the mask
                tensors[f"trained/{k}"] = v[self.weight_masks[k].to(v.device)] if k in self.weight_masks else v
        header = {
            **({} if self.edge_weights is None else {"format": 2}),
            "num_edges": self.edge_keep.numel(),
            "fingerprint": self.fingerprint,
            "undirected": self.undirected,
            "config": self.config,
            "metrics": self.metrics,
            "versions": self.versions,
            **({} if how is None else {"format": 2, "initial": how}),
        }
        return ticket_file.write(path, header, tensors)

    @classmethod
    def load(cls, path: str | Path) -> Ticket:
        """Read a ticket file. Raises GltError for anything but an intact ticket of a known format."""
        header, tensors = ticket_file.read(path)
        try:
            parts: dict[str, State] = {"mask": {}, "initial": {}, "trained": {}}
            for name, tensor in tensors.items():
                if name not in ("edges", "edge_weights"):
                    kind, key = name.split("/", 1)
                    parts[kind][key] = tensor
            initial = again(header["initial"], header["config"]) if "initial" in header else parts["initial"]
            masks = {k: ticket_file.unpack(v, tuple(initial[k].shape), f"mask {k!r}") for k, v in parts["mask"].items()}
            keep = ticket_file.unpack(tensors["edges"], (int(header["num_edges"]),), "the edge mask")
            return cls(
                edge_keep=keep,
                edge_weights=_weights(tensors["edge_weights"], keep) if "edge_weights" in tensors else None,
                weight_masks=masks,
                initial=initial,
                fingerprint=str(header["fingerprint"]),
                undirected=bool(header["undirected"]),
                config=dict(header["config"]),
                metrics=dict(header["metrics"]),
                trained=_unfold(parts["trained"], masks) if parts["trained"] else None,
                versions=dict(header["versions"]),
            )
        except (KeyError, ValueError, TypeError, RuntimeError, OverflowError) as error:
            if isinstance(error, GltError):
                raise
            raise GltError(f"{path} is not a valid ticket: {type(error).__name__} {error}") from None

    def compact(self, model: nn.Module, data: Data, **options: Any) -> Any:
        """The trained model as it is used: smaller, with the same logits; see :func:`glt.compact.build.compact`.

        Args:
            model: of the ticket's architecture; it is not modified.
            data: the ticket's graph, full.
            options: ``storage``, ``reorder``, ``narrow``.

        Returns:
            a :class:`~glt.compact.model.Compact`; calling it gives logits, its ``report`` says what was done.

        Raises:
            GltError: another graph or model, or a ticket without trained weights.
        """
        from glt.builtin import sparsifier
        from glt.compact.build import compact

        made = compact(self.restore(copy.deepcopy(model).to(data.x.device)), self.apply(data), **options)
        with suppress(GltError):  # what on(sparsify=True) says then
            made.sparsifier = sparsifier(self)
        return made

    def sparsifier(self) -> Callable[[Data], Data]:
        """A function that sparsifies another graph as this one was; see :func:`glt.builtin.sparsifier`."""
        from glt.builtin import sparsifier

        return sparsifier(self)

    def verify(self, data: Data | None = None, model: nn.Module | None = None, root: Path | None = None) -> Any:
        """Recompute sparsities and metrics from the ticket alone; see :func:`glt.verify.verify`."""
        from glt.verify import verify  # verify builds datasets and backbones, which lie above this file

        return verify(self, data, model, root)


def _weights(kept: Tensor, keep: Tensor) -> Tensor:
    """Weights of the kept edges, 0 for the others."""
    if kept.shape != (int(keep.sum()),) or not kept.is_floating_point():
        raise GltError(f"the ticket is inconsistent: {kept.numel()} edge weights for {int(keep.sum())} edges")
    return kept.new_zeros(keep.shape).masked_scatter_(keep, kept)


def _unfold(trained: State, masks: Masks) -> State:
    """Trained tensors with zeros where the mask has taken weights out."""
    full = {}
    for name, value in trained.items():
        if name in masks:
            if value.shape != (int(masks[name].sum()),):
                raise GltError(
                    f"the ticket is inconsistent: trained {name!r} has {value.numel()} values, its mask another number"
                )
            dense = torch.zeros(masks[name].shape, dtype=value.dtype)
            dense[masks[name]] = value
            value = dense
        full[name] = value
    return full
