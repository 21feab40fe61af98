"""run(config): load the graph, find the tickets, record them; finished work is never repeated."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice, takewhile
from pathlib import Path

from torch_geometric.data import Data

from glt.controlled import control, teaching_of
from glt.errors import TrainingError
from glt.layout import Run
from glt.memory import Peak, larger
from glt.outcomes import fail, save
from glt.problem import Problem
from glt.results import Record
from glt.schedules.level import Level
from glt.shared import restored
from glt.strategies.base import LevelByLevel
from glt.subject import Subject
from glt.ticket import Ticket
from glt.training import Training, at_once, train_together

OnPoint = Callable[[int, str, int, float], None]
"""Called with (seed, phase, epoch, validation metric)."""


def run(
    run: Run,
    root: Path | None = None,
    device: str = "cpu",
    on_epoch: OnPoint | None = None,
) -> Iterator[Record]:
    """Yield the records of every seed and level, dense (level 0) first; compute those not there yet.

    The controls that the config asks for come after the levels of each seed, level by level.

    Where models are trained at once (``together`` of the config), records come as trainings end: the dense models of
    all seeds, their levels, their controls. They are the same to rounding, and have ``together``.

    A training that fails (a loss that becomes NaN, say) yields a record with status ``failed`` and its error;
    the other points go on, and the next run tries it again.

    Args:
        run: the config and where its results live.
        root: where dataset files are.
        device: ``"cpu"`` or ``"cuda"``.
        on_epoch: called with (seed, phase, epoch, validation metric).

    Raises:
        GltError: bad data, or a level that is not possible on it, before anything is trained or written.
    """
    config = run.config
    levels = config.levels
    data: Data = config.dataset(root).to(device)
    most = 1 if run.shared else at_once(config.together, data)  # what is shared is trained one by one
    if most > 1:
        for i in range(0, len(config.seeds), most):
            yield from _together(run, data, levels, config.seeds[i : i + most], most, on_epoch)
        return
    for seed in config.seeds:
        done = _done(run, seed, levels)
        if there := _complete(run, seed, done):
            yield from there
            continue
        problem = _problem(run, data, levels, seed, on_epoch)
        try:
            yield done[0] or _dense(run, problem)
        except TrainingError as error:
            yield fail(run, problem, Level(0, 0.0, 0.0), error)
            continue
        if done[0]:
            problem.dense = restored(problem, Ticket.load(run.path(seed, 0)), done[0]["search_s"])
        yield from _levels(run, problem, levels, done)
        yield from _controls(run, problem, levels)


def _dense(run: Run, problem: Problem) -> Record:
    """The record of the dense training; where another experiment trained it, its peak memory is not known."""
    peak, own = Peak(problem.data.x.device), True
    if run.shared:
        result = run.shared.dense(problem)
        own = "dense" in vars(problem)
        problem.dense = result
    ticket = problem.dense_ticket()
    return save(run, problem, Level(0, 0.0, 0.0), ticket, peak.mb() if own else None)


def _done(run: Run, seed: int, levels: list[Level]) -> dict[int, Record | None]:
    """What is there of a seed's points, the dense one first."""
    there = run.records(seed)
    return {number: there.get(number) for number in (0, *(level.number for level in levels))}


def _complete(run: Run, seed: int, done: dict[int, Record | None]) -> list[Record]:
    """The records of a seed of which nothing is left to do, else none; a checkpoint that a kill spared goes then."""
    there = [record for record in done.values() if record]
    if run.config.controls or len(there) < len(done):
        return []
    run.checkpoint(seed).clear()
    return there


def _problem(run: Run, data: Data, levels: list[Level], seed: int, on_epoch: OnPoint | None) -> Problem:
    """One seed's problem; its levels are checked."""
    config, watch = run.config, partial(on_epoch, seed) if on_epoch else None
    setting = {**config.spec(), "config_id": config.id}
    problem = Problem(data, config.backbone, config.train, seed, config=setting, on_epoch=watch)
    if run.shared:
        problem.remembered = partial(run.shared.scores, problem)
    config.strategy.check(problem, levels)
    return problem


def _together(
    run: Run, data: Data, levels: list[Level], seeds: Sequence[int], most: int, on_epoch: OnPoint | None
) -> Iterator[Record]:
    """The records of several seeds, ``most`` models trained at once; a strategy of rounds searches seed by seed."""
    strategy = run.config.strategy
    open_: list[tuple[Problem, dict[int, Record | None]]] = []
    for seed in seeds:
        done = _done(run, seed, levels)
        if there := _complete(run, seed, done):
            yield from there
        else:
            open_.append((_problem(run, data, levels, seed, on_epoch), done))
    yield from _trained(run, (Training.dense(problem) for problem, done in open_ if not done[0]), most)
    for problem, done in open_:
        if record := done[0]:
            yield record
            problem.dense = restored(problem, Ticket.load(run.path(problem.seed, 0)), record["search_s"])
    open_ = [(problem, done) for problem, done in open_ if "dense" in vars(problem)]  # the others failed
    if isinstance(strategy, LevelByLevel) and type(strategy).tickets is LevelByLevel.tickets:
        for _, done in open_:
            yield from (record for level in levels if (record := done[level.number]))
        missing = ((problem, [level for level in levels if not done[level.number]]) for problem, done in open_)
        yield from _trained(run, (one for each in missing for one in _trainings(strategy, *each)), most)
    else:
        for problem, done in open_:
            yield from _levels(run, problem, levels, done)
    for problem, _ in open_:
        yield from _controls(run, problem, levels)


def _trainings(
    strategy: LevelByLevel, problem: Problem, levels: list[Level]
) -> Iterator[Training | tuple[Problem, Level, TrainingError]]:
    """The trainings of one seed's levels; those that cannot be begun, with the error."""
    trainings = strategy.trainings(problem, levels)
    for i, level in enumerate(levels):
        try:
            yield next(trainings)
        except TrainingError as error:
            yield problem, level, error
            trainings = strategy.trainings(problem, levels[i + 1 :])


def _trained(
    run: Run, trainings: Iterable[Training | tuple[Problem, Level, TrainingError]], most: int
) -> Iterator[Record]:
    """The records of trainings, ``most`` at once; no more than these are held at a time."""
    waiting = iter(trainings)
    while group := list(islice(waiting, most)):
        ready = [one for one in group if isinstance(one, Training)]
        results = iter(train_together(ready) if ready else ())
        for one in group:
            if not isinstance(one, Training):
                yield fail(run, *one)
            elif isinstance(result := next(results), TrainingError):
                yield fail(run, one.problem, one.level, result)
            else:
                yield save(run, one.problem, one.level, one.ticket(result))


def _levels(run: Run, problem: Problem, levels: list[Level], done: dict[int, Record | None]) -> Iterator[Record]:
    """The records of one seed's levels, in order; only missing ones are searched for."""
    if run.config.strategy.iterative:
        yield from _path(run, problem, levels, done)
        return
    missing = [level for level in levels if not done[level.number]]
    tickets = run.config.strategy.tickets(problem, missing)
    for level in levels:
        if record := done[level.number]:
            yield record
            continue
        peak = Peak(problem.data.x.device)
        try:
            ticket = next(tickets)
        except TrainingError as error:
            yield fail(run, problem, level, error)
            tickets = run.config.strategy.tickets(problem, missing[missing.index(level) + 1 :])
            continue
        yield save(run, problem, level, ticket, peak.mb())


def _path(run: Run, problem: Problem, levels: list[Level], done: dict[int, Record | None]) -> Iterator[Record]:
    """The same for levels that are reached one through the other: from the last round before the first that is missing.

    A search that fails leaves no way to the levels after it: they fail with it.
    """
    finished = list(takewhile(lambda level: done[level.number], levels))
    yield from (record for level in finished if (record := done[level.number]))
    left, checkpoint = levels[len(finished) :], run.checkpoint(problem.seed)
    if not left:
        checkpoint.clear()
        return
    start, so_far = checkpoint.read(problem, finished, left) or _last(run, problem.seed, finished, done)
    problem.on_round = lambda ticket: checkpoint.write(ticket, larger(so_far, peak.mb()))
    tickets = run.config.strategy.tickets(problem, levels, start)
    for i, level in enumerate(left):
        peak = Peak(problem.data.x.device)
        try:
            ticket = next(tickets)
        except TrainingError as error:
            yield from (fail(run, problem, lost, error) for lost in left[i:] if not done[lost.number])
            return
        so_far = larger(so_far, peak.mb())
        record = done[level.number] or save(run, problem, level, ticket, so_far)
        checkpoint.clear()
        yield record


def _last(
    run: Run, seed: int, finished: list[Level], done: dict[int, Record | None]
) -> tuple[Ticket | None, float | None]:
    """The ticket of the last level that is there, and the peak memory up to it."""
    if not finished or not (record := done[finished[-1].number]):
        return None, 0.0
    ticket = Ticket.load(run.path(seed, finished[-1].number))
    ticket.seconds = record["search_s"]
    return ticket, record.get("peak_mb")


def _controls(run: Run, problem: Problem, levels: list[Level]) -> Iterator[Record]:
    """The records of the controls of one seed's tickets, in the order of the levels."""
    if not run.config.controls:
        return
    done = _done(run, problem.seed, levels)
    for level in levels:
        if record := done[level.number]:
            path = run.path(problem.seed, level.number)
            subject = Subject(Ticket.load(path), str(path), record["ticket_sha256"], run.results)
            yield from control(problem, subject, run.config.controls, teaching_of(run.config.strategy), run.shared)
