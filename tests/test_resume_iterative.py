"""Searches whose levels lead one to the next: stopped in any phase, they lose the training that ran, and no other."""

import json
import os
from types import SimpleNamespace

import pytest

from glt import pipeline, problem
from glt.checkpoint import Checkpoint
from glt.config import Config
from glt.errors import TrainingError
from glt.granularities import element
from glt.leaderboard.entry import of_run
from glt.pipeline import Run
from glt.problem import Problem
from glt.registry import get, names
from glt.shared import Shared
from glt.strategies import masked

STRATEGIES = [name for name in names("strategies") if get("strategies", name).iterative]
MASKED = [name for name in STRATEGIES if hasattr(get("strategies", name), "mask_epochs")]
LEVELS, LAST = (1, 3, 4), 4  # round 2 is not asked for
OPTIONS = (
    "name=it",
    "dataset={name: csbm, nodes: 90, classes: 3, features: 12, avg_degree: 4}",
    "backbone={name: gcn, hidden: 6}",
    f"schedule={{name: geometric, graph_rate: 0.2, weight_rate: 0.3, levels: [{', '.join(map(str, LEVELS))}]}}",
    "train={epochs: 4, lr: 0.05}",
)
MEGABYTES = {"masks 2": 9.0, "level 2": 9.0}  # the others take 5: what round 2 took is in the records of 3 and 4


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.fixture(scope="module", autouse=True)
def told():
    """Every training takes a second an epoch, and memory by its phase: records are equal only if nothing is lost."""
    fit, begun = Problem.fit, []

    def fitting(self, *args, phase="fit", **options):
        begun.append(phase)
        result = fit(self, *args, phase=phase, **options)
        result.seconds = float(result.epochs)
        return result

    def peak(device):
        before = len(begun)
        return SimpleNamespace(mb=lambda: max((MEGABYTES.get(phase, 5.0) for phase in begun[before:]), default=1.0))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Problem, "fit", fitting)
        patch.setattr(pipeline, "Peak", peak)
        yield


def experiment(out, strategy, *overrides):
    return Run.under(Config.load(None, [*OPTIONS, f"strategy={strategy}", *overrides]), out)


def trained(run):
    """The trainings that a run does, in order, and its records."""
    seen = []
    records = list(
        pipeline.run(run, on_epoch=lambda seed, phase, epoch, val: seen.append(phase) if epoch == 1 else None)
    )
    return seen, records


def tickets(run):
    return {str(path.relative_to(run.folder)): path.read_bytes() for path in run.folder.rglob("*.safetensors")}


def trainings(strategy):
    """All that a search trains, in order."""
    if strategy not in MASKED:
        return ["dense", *(f"level {i}" for i in range(1, LAST + 1))]
    rounds = ((f"masks {i}", *([f"level {i}"] if i in LEVELS else [])) for i in range(1, LAST + 1))
    return ["dense", *(phase for phases in rounds for phase in phases)]


def finished(strategy, phase):
    """The levels whose tickets are there when a training begins."""
    before = trainings(strategy)[: trainings(strategy).index(phase)]
    return [0, *(level for level in LEVELS if f"level {level}" in before)]


PHASES = [(strategy, phase) for strategy in STRATEGIES for phase in trainings(strategy)[1:]]
every_phase = pytest.mark.parametrize(("strategy", "phase"), PHASES)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Finished runs that nothing stopped, by strategy: (records, ticket files)."""
    runs = {name: experiment(tmp_path_factory.mktemp(name), name) for name in STRATEGIES}
    found = {name: trained(run) for name, run in runs.items()}
    assert {name: seen for name, (seen, _) in found.items()} == {name: trainings(name) for name in STRATEGIES}
    left = [f"seed0/level{level:02d}.safetensors" for level in (0, *LEVELS)]
    assert all(sorted(tickets(run)) == left for run in runs.values()), "no checkpoint is left"
    return {name: (found[name][1], tickets(run)) for name, run in runs.items()}


def stopped_at(run, phase, epoch):
    """Run until an epoch of a phase, and be killed there."""

    def watch(seed, now, at, val):
        if (now, at) == (phase, epoch):
            raise Killed

    with pytest.raises(Killed):
        list(pipeline.run(run, on_epoch=watch))


def ends_the_same(run, whole, strategy, phase):
    """The next run begins with a training, does all that come after it, and ends as if nothing had happened."""
    records, files = whole[strategy]
    assert [record["level"] for record in run.results] == finished(strategy, phase)
    seen, found = trained(run)
    assert seen == trainings(strategy)[trainings(strategy).index(phase) :]
    assert found == records
    assert tickets(run) == files
    assert trained(run) == ([], records)


@every_phase
def test_killed_while_it_trains(tmp_path, whole, strategy, phase):
    run = experiment(tmp_path, strategy)
    stopped_at(run, phase, 4)
    assert len(tickets(run)) <= len(finished(strategy, phase)) + 1, "one checkpoint at most"
    ends_the_same(run, whole, strategy, phase)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("number", range(1, LAST + 1))
def test_killed_between_pruning_and_rewinding(tmp_path, whole, strategy, number, monkeypatch):
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
    ends_the_same(run, whole, strategy, f"level {number}" if f"level {number}" in trainings(strategy) else "masks 3")


@every_phase
def test_killed_while_what_was_trained_is_written(tmp_path, whole, strategy, phase, monkeypatch):
    """Every training ends in one file: a ticket, or a checkpoint."""
    killed_writing(tmp_path, whole, strategy, phase, monkeypatch, there=False)


@pytest.mark.parametrize(("strategy", "phase"), [(name, phase) for name, phase in PHASES if name in ("imp", "ugs")])
def test_killed_when_what_was_trained_is_written(tmp_path, whole, strategy, phase, monkeypatch):
    """The file is there; the record of a ticket is not."""
    killed_writing(tmp_path, whole, strategy, phase, monkeypatch, there=True)


def killed_writing(tmp_path, whole, strategy, phase, monkeypatch, there):
    run = experiment(tmp_path, strategy)
    all_, replace, files = trainings(strategy), os.replace, []

    def dying(*args, **options):
        files.append(args)
        if there:
            replace(*args, **options)
        if len(files) > all_.index(phase):
            raise Killed
        if not there:
            replace(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", dying)
        with pytest.raises(Killed):
            list(pipeline.run(run))
    asked_for = phase in [f"level {level}" for level in LEVELS]
    ends_the_same(run, whole, strategy, all_[all_.index(phase) + 1] if there and not asked_for else phase)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("level", LEVELS)
def test_killed_before_a_checkpoint_that_is_passed_goes(tmp_path, whole, strategy, level, monkeypatch):
    run = experiment(tmp_path, strategy)
    clear = Checkpoint.clear

    def dying(self):
        if [record["level"] for record in run.results][-1] == level:
            raise Killed
        clear(self)

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "clear", dying)
        with pytest.raises(Killed):
            list(pipeline.run(run))
    assert run.checkpoint(0).path.exists() == (strategy in MASKED or level == 3)
    if level < LAST:
        ends_the_same(run, whole, strategy, trainings(strategy)[trainings(strategy).index(f"level {level}") + 1])
    else:
        assert trained(run) == ([], whole[strategy][0]) and tickets(run) == whole[strategy][1]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_killed_again_and_again(tmp_path, whole, strategy):
    run = experiment(tmp_path, strategy)
    for phase in trainings(strategy)[1:]:
        stopped_at(run, phase, 1)
    ends_the_same(run, whole, strategy, trainings(strategy)[-1])


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_search_that_failed_is_tried_again_from_its_last_round(tmp_path, whole, strategy, monkeypatch):
    run, fit = experiment(tmp_path, strategy), Problem.fit

    def failing(self, *args, phase="fit", **options):
        if phase == "level 3":
            raise TrainingError("the loss became nan")
        return fit(self, *args, phase=phase, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Problem, "fit", failing)
        assert [record["status"] for record in pipeline.run(run)] == ["ok", "ok", "failed", "failed"]
    seen, records = trained(run)
    assert seen == trainings(strategy)[trainings(strategy).index("level 3") :]
    assert (records, tickets(run)) == whole[strategy]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_checkpoint_does_not_lead_past_a_level_that_is_gone(tmp_path, whole, strategy):
    run = experiment(tmp_path, strategy)
    stopped_at(run, "level 3", 2)
    run.path(0, 1).unlink()
    seen, records = trained(run)
    assert seen == trainings(strategy)[1:]
    assert (records, tickets(run)) == whole[strategy]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_checkpoint_is_no_ticket_of_the_run(tmp_path, strategy):
    run = experiment(tmp_path, strategy)
    stopped_at(run, "level 3", 2)
    assert run.checkpoint(0).path.exists()
    assert [path.name for path in of_run(run.folder).tickets] == ["level00.safetensors", "level01.safetensors"]


LATER = ["masks 3", "level 3"]
OTHERS = [
    ("imp", ["strategy.rewind_to=0.5"], ["dense, early", "level 1", "level 2", "level 3"]),
    ("imp", ["strategy.rewind_to=none"], ["level 2", "level 3"]),
    (
        "imp",
        ["strategy.scorer={name: dspar, variant: priority}", "strategy.reweight=true", "strategy.pruner=taylor"],
        ["level 3"],
    ),
    ("imp", ["strategy.pruner.granularity=feature", "schedule.weight_rate=0.1", "strategy.weight=1"], ["level 3"]),
    ("imp", ["train.inductive=true", "initial=false"], ["level 3"]),
    ("ugs", ["train.inductive=true", "initial=false"], LATER),
    ("ugs", ["strategy.granularity=feature", "schedule.weight_rate=0.1", "strategy.mask_epochs=3"], LATER),
    ("wd_glt", ["strategy.weight=1", "strategy.alpha=0.5", "controls=[random]"], LATER),
    ("ugs", ["together=2", "seeds=2"], LATER),
    ("imp", ["together=2", "seeds=2", "strategy.rewind_to=0.5"], ["level 1", "level 3"]),
]


@pytest.mark.parametrize(("strategy", "options", "phases"), OTHERS)
def test_whatever_the_options(tmp_path, strategy, options, phases):
    together = "together=2" in options

    def made(out):
        run = experiment(out, strategy, *options)
        return Run(run.config, run.results, run.folder, None if together else Shared(out / "shared"))

    expected, records = trained(made(tmp_path / "whole"))
    for phase in phases:
        out = tmp_path / phase
        run = made(out)
        stopped_at(run, phase, 2)
        seen, found = trained(run)
        if not together:
            assert seen == expected[expected.index(phase) :]
        assert steady(found, out, together) == steady(records, tmp_path / "whole", together)
        assert tickets(run) == tickets(made(tmp_path / "whole"))


def steady(records, out, together):
    """Without their folder, memory where there are controls, and seconds where dense models were trained at once."""
    texts = [json.dumps(record).replace(str(out), "") for record in records]
    volatile = ["peak_mb"] * any("control" in record for record in records) + ["search_s"] * together
    return [{k: v for k, v in json.loads(text).items() if k not in volatile} for text in texts]


@pytest.mark.parametrize("strategy", MASKED)
def test_soft_masks_are_checked_once_a_seed(tmp_path, strategy, monkeypatch):
    seen = []
    monkeypatch.setattr(problem, "check_soft_masks", lambda *args: seen.append(args))
    run = experiment(tmp_path, strategy, "seeds=2", "train.epochs=1")
    assert all(record["status"] == "ok" for record in pipeline.run(run))
    assert len(seen) == 2
