"""Tickets beside what could make them look trivial: run the controls, record them, compare."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch_geometric.data import Data

from glt.allocate import densities
from glt.builtin import named
from glt.config import controls_of
from glt.controls.base import Control, Outcome, fine_tuned, shared_key
from glt.errors import GltError, TrainingError, in_a_line
from glt.evaluate import metric_named
from glt.inductive import track_of
from glt.measured import measured
from glt.memory import Peak
from glt.paired import Comparison, compare, pack
from glt.problem import OnEpoch, Problem
from glt.provenance import provenance
from glt.registry import build, spec_of
from glt.results import Record
from glt.shared import Shared
from glt.strategies.base import Taught
from glt.subject import Subject, check_same
from glt.tasks import right
from glt.ticket import Ticket
from glt.train import Recipe

Progress = Callable[[int, str, int, float], None]
"""Called with (seed, phase, epoch, validation metric)."""


def controls(
    tickets: Ticket | str | Path | Sequence[Ticket | str | Path],
    data: Data | None = None,
    model: nn.Module | Callable[[int, int], nn.Module] | str | None = None,
    *,
    which: Any = "all",
    root: Path | None = None,
    on_epoch: Progress | None = None,
) -> Comparison:
    """What a ticket's controls score at its own sparsities, trained as it was: its recipe, seed and distillation.

    Args:
        tickets: a ticket or its file; or the tickets of several seeds, of one experiment and level. Controls of files
            are recorded beside them (``controls.jsonl``) and not repeated.
        data: the graph; built from the ticket's config by default.
        model: a module of the ticket's architecture (whatever its weights: every training, the dense one too, starts
            from those the ticket is rewound to; of a ticket that does not rewind, from the module's own, so give it
            untrained), or a backbone; built from the config by default. Of a user's own
            module the width is not known, so ``width_matched`` is left out.
        which: ``"all"``, or a list of names and specs of the family ``controls``.
        root: where dataset files are.
        on_epoch: see :data:`Progress`.

    Returns:
        rows, intervals and a sentence; see :mod:`glt.paired`.

    Raises:
        GltError: tickets of different experiments or levels, of another graph or model, without trained weights, or
            whose config says too little; an unknown control.

    Cost: about one training per control and ticket, and one of the dense model.
    """
    several = [tickets] if isinstance(tickets, (Ticket, str, Path)) else tickets
    subjects = [Subject.of(ticket) for ticket in several]
    return compare(run_controls(subjects, controls_of(which), data, model, root, on_epoch=on_epoch))


def run_controls(
    subjects: Sequence[Subject],
    wanted: Sequence[Control],
    data: Data | None = None,
    model: nn.Module | Callable[[int, int], nn.Module] | str | None = None,
    root: Path | None = None,
    device: str = "cpu",
    on_epoch: Progress | None = None,
) -> Iterator[Record]:
    """Yield the record of every ticket's every control; compute those that are not there yet. See :func:`controls`."""
    check_same(subjects)
    first = subjects[0].ticket
    recipe, teaching = recipe_of(first), teaching_of(build("strategies", _said(first, "strategy")))
    if data is None:
        data = build("datasets", _said(first, "dataset"))(root)
    made: Any = model
    if model is None or isinstance(model, str):
        made = build("backbones", model or _said(first, "backbone"))
    data = copy.copy(data).to(device)
    for subject in subjects:
        watch = partial(on_epoch, subject.seed) if on_epoch else None
        problem = problem_of(subject.ticket, data, made, recipe, watch)
        yield from control(problem, subject, wanted, teaching)


def recipe_of(ticket: Ticket) -> Recipe:
    """How the ticket was trained."""
    return Recipe(**_said(ticket, "train"))


def _said(ticket: Ticket, part: str) -> Any:
    if part not in ticket.config and part in ("train", "strategy"):
        raise GltError(
            f"the ticket does not say by what {part} it was found, and its controls need the same: glt run and "
            "glt.find record it"
        )
    return named(ticket, part, "control it in Python with glt.controls(ticket, data, model)")


def problem_of(
    ticket: Ticket,
    data: Data,
    model: nn.Module | Callable[[int, int], nn.Module],
    recipe: Recipe,
    on_epoch: OnEpoch | None = None,
) -> Problem:
    """The problem that a ticket was found on.

    Raises:
        GltError: the graph or the model is not the ticket's.
    """
    config = {k: v for k, v in ticket.config.items() if k not in ("seed", "level")}
    if isinstance(model, nn.Module):
        model = copy.deepcopy(model)
        begun = model.state_dict() if fine_tuned(ticket) else ticket.initial
        begun = {k: v.clone() for k, v in begun.items()}
        ticket.rewind(model).load_state_dict(begun)
    elif hasattr(model, "name"):  # a registered backbone
        config["backbone"] = spec_of(model)
    seed, metric = int(ticket.config.get("seed", 0)), ticket.metrics.get("metric")
    problem = Problem(data, model, recipe, seed, metric, ticket.undirected, config, on_epoch)
    ticket.apply(problem.data)  # it is of this very graph
    ticket.rewind(problem.model())
    return problem


def teaching_of(strategy: Any) -> Taught:
    """A strategy's distillation; none where it has no such option."""
    return strategy if isinstance(strategy, Taught) else Taught()


def control(
    problem: Problem, subject: Subject, wanted: Iterable[Control], teaching: Taught, shared: Shared | None = None
) -> Iterator[Record]:
    """Yield a record per control of one ticket; finished ones are read, others run and appended at once.

    A control that is not the ticket's own is looked for in ``shared`` first; its costs are then those of the training
    that was measured, whichever ticket's it was.

    Of a ticket that does not rewind records say where the control started (``start``): from ``initial`` weights, from
    the ``ticket``'s trained ones, or ``anew``. One that does not say so began at trained weights: it is made again.

    A control that is not possible yields a record with status ``left out``, which is not written; one whose training
    fails, ``failed``. Both carry the error. Any other error is recorded as ``failed`` and raised.
    """
    done, trained = finished(subject), fine_tuned(subject.ticket)
    about: Record = {}
    for piece in wanted:
        if (record := done.get(_key(piece))) and (not trained or "start" in record):
            yield record
            continue
        about = about or _about(problem, subject, teaching)
        spec = spec_of(piece)
        record = {**about, "control": spec["name"], "control_spec": spec}
        if trained:
            record["start"] = getattr(piece, "start", "initial")
        record["track"] = track_of(problem.config, teaching.track if piece.taught else "none")
        try:
            record |= _outcome(problem, subject.ticket, piece, teaching, shared)
        except TrainingError as error:
            record |= {**provenance(problem.data.x.device), "status": "failed", "error": str(error)}
        except Exception as error:
            record |= {**provenance(problem.data.x.device), "status": "failed", "error": in_a_line(error)}
            if subject.results:
                subject.results.append(record)
            raise
        if record["status"] == "left out":
            yield record
            continue
        if subject.results:
            subject.results.append(record)
        yield record


def _outcome(problem: Problem, ticket: Ticket, piece: Control, teaching: Taught, shared: Shared | None) -> Record:
    """What a control scores, or why it is not possible: found now, or by whoever needed the same one first."""

    def make() -> Record:
        peak = Peak(problem.data.x.device)
        try:
            made = piece(problem, ticket, teaching)
        except TrainingError:
            raise
        except GltError as error:
            return {"status": "left out", "error": str(error)}
        return _measured(problem, made, peak.mb())

    key = shared_key(piece, problem, ticket, teaching) if shared else None
    return shared.control(problem, key, make) if shared and key else make()


def finished(subject: Subject) -> dict[str, Record]:
    """The finished records of a ticket's controls, by the control's specification."""
    return {
        json.dumps(record["control_spec"]): record
        for record in (subject.results.holding(subject.sha256 or "") if subject.results else ())
        if record.get("control") and record.get("status") == "ok" and record.get("ticket_sha256") == subject.sha256
    }


def _key(piece: Control) -> str:
    return json.dumps(spec_of(piece))


def _about(problem: Problem, subject: Subject, teaching: Taught) -> Record:
    """Which ticket a record is about, and what that ticket scores: measured, not believed."""
    config, ticket = problem.config, subject.ticket
    model, edges = ticket.restore(problem.model()), (ticket.edge_keep, ticket.edge_weights)
    logits = tested = problem.logits(model, problem.subgraph(*edges))
    if problem.recipe.inductive:
        tested = problem.logits(model, problem.tested(*edges))
    data, whole, score = problem.data, problem.whole, metric_named(problem.metric)
    named = {part: (config.get(part) or {}).get("name") for part in ("strategy", "backbone", "dataset")}
    return {
        "config_id": config.get("config_id"),
        "method": named["strategy"],
        "backbone": named["backbone"],
        "dataset": named["dataset"],
        "split": data.get("split"),
        "task": "node",
        "seed": problem.seed,
        "level": subject.level,
        "config": {k: v for k, v in config.items() if k != "config_id"},
        "metric": problem.metric,
        "ticket_sha256": subject.sha256,
        **{f"ticket_{k}": v for k, v in _kept(ticket).items()},
        "ticket_densities": densities(ticket.weight_masks),
        "ticket_val": score(logits[data.val_mask], data.y[data.val_mask]),
        "ticket_test": score(tested[whole.test_mask], whole.y[whole.test_mask]),
        "ticket_right": _right(problem, tested),
        **{k: ticket.metrics[k] for k in ("dense_val", "dense_test") if k in ticket.metrics},
    }


def _measured(problem: Problem, made: Outcome, peak_mb: float | None) -> Record:
    """What a control scored."""
    return {
        "control_backbone": made.ticket.config.get("backbone"),
        **_kept(made.ticket),
        **measured(problem, made.ticket, peak_mb),
        "right": _right(problem, made.logits),
        **provenance(problem.data.x.device),
        "status": "ok",
    }


def _kept(ticket: Ticket) -> dict[str, float]:
    return {
        "graph_sparsity": ticket.graph_sparsity,
        "weight_sparsity": ticket.weight_sparsity,
        "edges": int(ticket.edge_keep.sum()),
        "weights": sum(int(mask.sum()) for mask in ticket.weight_masks.values()),
    }


def _right(problem: Problem, logits: Tensor) -> str | None:
    """Which test nodes are classified rightly; None where the metric is not their mean."""
    test = problem.whole.test_mask
    nodes = right(logits[test], problem.whole.y[test], problem.metric)
    return None if nodes is None else pack(nodes.cpu().numpy())
