"""Searches whose levels lead one to the next: stopped in any phase, they go on to the same bits and repeat no work."""

import os

import pytest

from glt import pipeline, problem
from glt.config import Config
from glt.granularities import element
from glt.pipeline import Run
from glt.problem import Problem
from glt.registry import get, names
from glt.strategies import masked

STRATEGIES = [name for name in names("strategies") if get("strategies", name).iterative]
MASKED = [name for name in STRATEGIES if hasattr(get("strategies", name), "mask_epochs")]
OPTIONS = (
    "name=it",
    "dataset={name: csbm, nodes: 90, classes: 3, features: 12, avg_degree: 4}",
    "backbone={name: gcn, hidden: 6}",
    "schedule={name: geometric, graph_rate: 0.2, weight_rate: 0.3, levels: [1, 3, 4]}",
    "train={epochs: 4, lr: 0.05}",
)
VOLATILE = {"search_s", "peak_mb", "commit", "dirty", "device", "threads"}


class Killed(BaseException):
    """Stands for the end of the process."""


def experiment(out, strategy):
    return Run.under(Config.load(None, [*OPTIONS, f"strategy={strategy}"]), out)


def trained(run):
    """The trainings that a run does, in order, and its records."""
    seen = []
    records = list(
        pipeline.run(run, on_epoch=lambda seed, phase, epoch, val: seen.append(phase) if epoch == 1 else None)
    )
    return seen, records


def steady(records):
    return [{k: v for k, v in record.items() if k not in VOLATILE} for record in records]


def tickets(run):
    return {path.name: path.read_bytes() for path in sorted(run.folder.rglob("*.safetensors"))}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Finished runs that nothing stopped, by strategy: (trainings, records, ticket files)."""
    runs = {name: experiment(tmp_path_factory.mktemp(name), name) for name in STRATEGIES}
    return {name: (*trained(run), tickets(run)) for name, run in runs.items()}


def stopped_at(run, phase, epoch):
    """Run until an epoch of a phase, and be killed there."""

    def watch(seed, now, at, val):
        if (now, at) == (phase, epoch):
            raise Killed

    with pytest.raises(Killed):
        list(pipeline.run(run, on_epoch=watch))


def ends_the_same(run, whole, strategy, finished):
    """The next run does what comes after the last finished level, and ends as if nothing had happened."""
    trainings, records, files = whole[strategy]
    done = [f"level{number:02d}.safetensors" for number in finished]
    assert [record["level"] for record in run.results] == finished
    assert {name: files[name] for name in done} == {k: v for k, v in tickets(run).items() if k in done}
    last = f"level {finished[-1]}" if finished[-1] else "dense"
    seen, found = trained(run)
    assert seen == trainings[trainings.index(last) + 1 :]
    assert steady(found) == steady(records)
    assert tickets(run) == files
    assert trained(run)[0] == []


def rounds_of(strategy):
    """Which rounds the search passes through, as phases."""
    return [f"masks {i}" for i in (1, 2, 3, 4)] if strategy in MASKED else [f"level {i}" for i in (1, 2, 3, 4)]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_search_passes_every_round_once(strategy, whole):
    seen = [phase for phase in whole[strategy][0] if phase in rounds_of(strategy)]
    assert seen == rounds_of(strategy)


@pytest.mark.parametrize("strategy", MASKED)
@pytest.mark.parametrize(
    ("phase", "finished"), [("masks 1", [0]), ("masks 2", [0, 1]), ("masks 3", [0, 1]), ("masks 4", [0, 1, 3])]
)
def test_killed_while_masks_are_trained(tmp_path, whole, strategy, phase, finished):
    run = experiment(tmp_path, strategy)
    stopped_at(run, phase, 2)
    ends_the_same(run, whole, strategy, finished)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize(("level", "finished"), [(1, [0]), (3, [0, 1]), (4, [0, 1, 3])])
def test_killed_while_a_ticket_is_trained(tmp_path, whole, strategy, level, finished):
    run = experiment(tmp_path, strategy)
    stopped_at(run, f"level {level}", 4)
    ends_the_same(run, whole, strategy, finished)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize(("number", "finished"), [(1, [0]), (2, [0, 1]), (3, [0, 1]), (4, [0, 1, 3])])
def test_killed_between_pruning_and_rewinding(tmp_path, whole, strategy, number, finished, monkeypatch):
    """New masks are known, and no model has been set back to the weights they start from."""
    run = experiment(tmp_path, strategy)
    pruned = []
    choices = ((masked, "largest_weights"), (element, "allocate"))  # where strategies have their weight masks from

    def noting(choose):
        return lambda *args, **options: pruned.append(choose(*args, **options)) or pruned[-1]

    def dying(self, state, at=Problem.model_at):
        if len(pruned) == number:
            raise Killed
        return at(self, state)

    with monkeypatch.context() as patch:
        for module, name in choices:
            patch.setattr(module, name, noting(getattr(module, name)))
        patch.setattr(Problem, "model_at", dying)
        with pytest.raises(Killed):
            list(pipeline.run(run))
    left = [sum(int(mask.sum()) for mask in masks.values()) for masks in pruned]
    assert len(left) == number and left == sorted(left, reverse=True), "every round has pruned, up to this one"
    ends_the_same(run, whole, strategy, finished)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize(("number", "finished"), [(2, [0]), (3, [0, 1]), (4, [0, 1, 3])])
def test_killed_while_a_ticket_is_written(tmp_path, whole, strategy, number, finished, monkeypatch):
    run = experiment(tmp_path, strategy)
    replace, left = os.replace, [number]

    def dying(*args, **options):
        left[0] -= 1
        if not left[0]:
            raise Killed
        return replace(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", dying)
        with pytest.raises(Killed):
            list(pipeline.run(run))
    ends_the_same(run, whole, strategy, finished)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_killed_again_and_again(tmp_path, whole, strategy):
    run = experiment(tmp_path, strategy)
    for phase in rounds_of(strategy)[2:]:
        stopped_at(run, phase, 1)
    ends_the_same(run, whole, strategy, [0, 1, 3])


@pytest.mark.parametrize("strategy", MASKED)
def test_soft_masks_are_checked_once_a_seed(tmp_path, strategy, monkeypatch):
    seen = []
    monkeypatch.setattr(problem, "check_soft_masks", lambda *args: seen.append(args))
    run = Run.under(Config.load(None, [*OPTIONS, f"strategy={strategy}", "seeds=2", "train.epochs=1"]), tmp_path)
    assert all(record["status"] == "ok" for record in pipeline.run(run))
    assert len(seen) == 2
