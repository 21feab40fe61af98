"""Points: the experiments of a sweep, each once, and how many configurations were tried for them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from glt.config import Config


@dataclass(frozen=True)
class Point:
    """One experiment of a sweep.

    Attributes:
        label: what tells it from the others.
        config: it; while it is not chosen yet, the first of its candidates.
        candidates: what it is chosen among, each with a label of its own; none where there is no choice.
        n_configs: how many configurations are tried to find it, see :func:`counted`.
    """

    label: str
    config: Config
    candidates: tuple[Point, ...] = ()
    n_configs: int = 1


def merged(points: Iterable[Point]) -> list[Point]:
    """One point per experiment, or choice of one, in order."""
    found: dict[tuple[str, ...], Point] = {}
    for point in points:
        key = (point.config.id, *(candidate.config.id for candidate in point.candidates))
        config, before = point.config, found.setdefault(key, point)
        both = before.config
        seeds = (*both.seeds, *(seed for seed in config.seeds if seed not in both.seeds))
        controls = (*both.controls, *(piece for piece in config.controls if piece not in both.controls))
        if (seeds, controls) != (both.seeds, both.controls):
            found[key] = replace(before, config=replace(both, seeds=seeds, controls=controls))
    return list(found.values())


def counted(points: Sequence[Point]) -> Iterator[Point]:
    """Points with ``n_configs``: whoever tries ten settings of a method has tried ten, however they are written down.

    Counted is what is tried of the same method, backbone and dataset in the whole sweep, other experiments and their
    candidates too, each configuration once: of the four scorers of one method with five learning rates each, every
    record says 20. Where the backbone is itself chosen, candidates on any of them count.
    """
    tried = [{one.config.id for one in point.candidates or (point,)} for point in points]
    kinds = [{what(one.config) for one in point.candidates or (point,)} for point in points]
    for point, mine in zip(points, kinds, strict=True):
        alike = set[str]().union(*(ids for ids, kind in zip(tried, kinds, strict=True) if kind & mine))
        yield replace(point, n_configs=len(alike))


def what(config: Config) -> tuple[str, str, str]:
    """Method, backbone and dataset: one configuration of each is an entry."""
    return config.strategy.name, config.backbone.name, config.dataset.name
