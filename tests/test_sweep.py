"""``glt sweep``: every point once, whatever happens to workers; the same records whatever their number."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import yaml
from cli_runs import CSBM, by_point, one_line, written
from rich.console import Console

from glt import pipeline, registry, ticket_file
from glt.commands.sweep_progress import _Board, duration
from glt.config import Config
from glt.errors import DataUnavailable, GltError, TrainingError
from glt.pipeline import Run
from glt.problem import Problem
from glt.results import Results
from glt.sweeps import backends, work
from glt.sweeps.backends import run_units
from glt.sweeps.estimate import Estimate, fitting
from glt.sweeps.grid import Grid
from glt.sweeps.status import Status, running
from glt.sweeps.units import finished, in_order, units_of
from glt.sweeps.work import Place, end
from glt.ticket import Ticket

BASE = {
    "dataset": CSBM,
    "backbone": {"name": "gcn", "hidden": 8},
    "schedule": {"name": "geometric", "graph_rate": 0.2, "weight_rate": 0.3, "levels": [1, 3]},
    "train": {"epochs": 4, "lr": 0.05},
    "seeds": 2,
}
TREE = {"name": "it", "base": BASE, "grid": {"strategy": ["teddy", "imp"]}}
TEDDY = registry.get("strategies", "teddy")
VOLATILE = {"search_s", "peak_mb", "commit", "dirty", "n_configs"}
ALONE = ("--backend", "sequential")

pytestmark = pytest.mark.usefixtures("workplace")


def steady(records):
    return by_point(records, VOLATILE)


def results(out="runs"):
    return Results(Path(out) / "it" / "results.jsonl")


def units(tree=TREE, out="runs", **base):
    grid = Grid.load(written({**tree, "base": {**tree["base"], **base}}))
    return in_order(units_of(grid, Path(out).absolute()), lambda unit: unit.epochs)


def place(out="runs", **options):
    return Place(Path(out).absolute() / "it", "now", **options)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The records of the sweep by one worker, in this process."""
    folder = tmp_path_factory.mktemp("alone")
    tree = {**TREE, "base": {**BASE, "train": {"epochs": 300, "lr": 0.05}}}  # long enough to be caught at it
    grid = Grid.load(written(tree, folder / "it.yaml"))
    run_units(units_of(grid, folder / "runs"), Place(folder / "runs" / "it", "now"), "sequential")
    return folder / "it.yaml", steady(results(folder / "runs"))


# --- the grid


def labels(tree):
    return [point.label for point in Grid.load(written(tree)).points]


def test_a_grid_is_every_combination():
    tree = {**TREE, "grid": {"strategy": ["teddy", "random"], "strategy.weight": [0, 10], "train.epochs": [3, 4]}}
    points = Grid.load(written(tree)).points
    assert len({point.config.id for point in points}) == 8
    assert points[1].label == "teddy strategy.weight=0 train.epochs=4"
    assert points[1].config.spec() == Config(**BASE | {"strategy": {"name": "teddy", "weight": 0}}).spec()
    assert {point.config.name for point in points} == {"it"} and {point.config.seeds for point in points} == {(0, 1)}


def test_a_piece_is_chosen_before_its_options():
    tree = {**TREE, "grid": {"strategy.rewind_to": [0.5], "strategy": ["imp"]}}
    assert Grid.load(written(tree)).points[0].config.strategy.rewind_to == 0.5


def test_include_and_exclude():
    tree = {
        **TREE,
        "grid": {"backbone": ["gcn", {"name": "gin", "hidden": 8}], "strategy": ["teddy", "ugs", "imp"]},
        "exclude": [{"backbone": "gin", "strategy": ["ugs", "imp"]}],
        "include": [{"strategy": "dense"}],
    }
    assert labels(tree) == [
        *("gcn teddy", "gcn ugs", "gcn imp", "gin(hidden=8) teddy", "dense"),
    ]
    assert labels({"base": {}}) == ["it"] and labels({"include": [{"backbone": "gin"}]}) == ["gin"]
    same = {"dataset": ["cora"], "seeds": [1], "strategy": ["teddy", "imp"]}
    assert labels({"grid": same}) == ["teddy", "imp"], "what tells them apart"


def test_the_same_experiment_is_one_with_the_seeds_and_controls_of_both():
    tree = {**TREE, "grid": {"seeds": [[0, 1], [1, 2]], "controls": [["mlp"], ["dense"]]}}
    (point,) = Grid.load(written(tree)).points
    assert point.config.seeds == (0, 1, 2)
    assert [piece.name for piece in point.config.controls] == ["mlp", "dense"]


@pytest.mark.parametrize(
    "tree, says",
    [
        ({"datasets": ["cora"]}, "unknown section 'datasets'"),
        ({"grid": ["cora"]}, "grid = ['cora'] is not a mapping"),
        ({"grid": {"dataset": "cora"}}, "grid: dataset = 'cora' is not a list of values"),
        ({"grid": {"dataset": []}}, "grid: dataset = [] is not a list"),
        ({"grid": {"dataset": ["cora", "coar"]}}, "coar: config: unknown dataset 'coar'; did you mean"),
        ({"grid": {"datset": ["cora"]}}, "unknown section 'datset'; did you mean 'dataset'"),
        ({"grid": {"seeds.first": [1]}}, "'seeds' has no options"),
        ({"grid": {"strategy.wieght": [1]}}, "strategy.wieght=1"),
        ({"base": [1]}, "base = [1] is not a mapping"),
        ({"base": {"optimizer": "adam"}}, "unknown option 'optimizer'"),
        ({"include": {"strategy": "ugs"}}, "include = {'strategy': 'ugs'} is not a list of mappings"),
        ({"grid": {"seeds": [1]}, "exclude": [{"seed": 1}]}, "exclude: unknown axis 'seed'; did you mean 'seeds'"),
        ({"grid": {"seeds": [1]}, "exclude": [{"seeds": 1}]}, "exclude leaves nothing"),
    ],
)
def test_a_mistake_in_the_file_is_one_line(main, tree, says):
    code, out, err = main("sweep", written(tree))
    assert (code, out) == (2, "") and says in one_line(err)
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    "options, says",
    [
        (("--backend", "threads"), "unknown backend 'threads'"),
        (("--budget", "2 hours"), "--budget '2 hours' is not a time"),
        (("-o", "seedz=2"), "override 'seedz=2': unknown section 'seedz'"),
        (("--kernel", "fast"), "unknown kernel 'fast'"),
        (("--address", "tcp://head:1"), "add --backend ray or dask"),
    ],
)
def test_a_mistake_in_an_option_is_one_line(main, options, says):
    code, out, err = main("sweep", written(TREE), *options)
    assert (code, out) == (2, "") and says in one_line(err)


@pytest.mark.parametrize("backend, package", [("ray", "ray"), ("dask", "distributed")])
def test_a_cluster_that_is_not_installed_says_what_to_install(main, monkeypatch, backend, package):
    monkeypatch.setitem(sys.modules, package, None)
    code, _, err = main("sweep", "-q", written(TREE), "--backend", backend)
    assert code == 2 and f"graph-lottery-tickets[{backend}]" in one_line(err)


def test_data_that_is_not_there_is_said_before_anything_is_trained(main, monkeypatch):
    def gone(self, root=None):
        raise DataUnavailable("no csbm today")

    monkeypatch.setattr(registry.get("datasets", "csbm"), "__call__", gone)
    code, out, err = main("sweep", written(TREE), *ALONE)
    assert (code, out) == (3, "") and "no csbm today" in one_line(err)
    assert not Path("runs").exists()


# --- what is recorded


def test_records_are_those_of_glt_run(main, alone):
    """Dense trainings and scores are shared, and the tickets have the same bits."""
    tree = yaml.safe_load(alone[0].read_text())
    for strategy in ("teddy", "imp"):
        config = Config(**tree["base"], name="it", strategy=strategy)
        for record in pipeline.run(Run.under(config, Path("own"))):
            key = config.id, record["seed"], record["level"], "null"
            assert alone[1][key] == {k: v for k, v in record.items() if k not in VOLATILE}


def test_records_say_how_many_configurations_were_tried():
    """Of one method, backbone and dataset, in this sweep."""
    tree = {**TREE, "grid": {"strategy": ["imp", {"name": "teddy"}, {"name": "teddy", "weight": 1}]}}
    run_units(units(tree, seeds=1, train={"epochs": 1}), place(), "sequential")
    said = {(r["config"]["strategy"]["name"], r["config_id"]): r["n_configs"] for r in results()}
    assert sorted((name, tried) for (name, _), tried in said.items()) == [("imp", 1), ("teddy", 2), ("teddy", 2)]


def test_what_is_shared_is_made_once(monkeypatch):
    seen, scored = [], Counter()
    teddy = registry.get("scorers", "teddy")
    score = teddy.__call__
    monkeypatch.setattr(teddy, "__call__", lambda *a, **k: scored.update(["teddy"]) or score(*a, **k))
    monkeypatch.setattr(
        Status, "__call__", lambda self, seed, phase, epoch, val: seen.append(phase) if epoch == 1 else None
    )
    todo = units(train={"epochs": 4})
    run_units(todo, place(), "sequential")
    assert Counter(seen)["dense"] == 2 == len({unit.seed for unit in todo})
    assert scored["teddy"] == 1
    assert sum(unit.trains_dense for unit in todo) == 2
    dense = [Ticket.load(path) for path in Path("runs").glob("it/shared/dense/*/seed*.safetensors")]
    assert len(dense) == 2 and all(ticket.verify().ok for ticket in dense)


def test_what_is_shared_by_halves_is_made_anew():
    todo = [unit for unit in units() if unit.seed == 0]
    run_units(todo[:1], place(), "sequential")
    for path in Path("runs").glob("it/shared/*/**/*.safetensors"):
        path.write_bytes(path.read_bytes()[:100])
    run_units(todo[1:], place(), "sequential")
    tests = {r["test"] for r in results() if r["level"] == 0}
    assert len(list(results())) == 6 and len(tests) == 1


def test_a_control_that_is_there_by_halves_is_made_anew():
    (unit,) = units({**TREE, "grid": {"strategy": ["teddy"]}}, seeds=1)
    config = unit.run.config
    problem = Problem(config.dataset(), config.backbone, config.train, 0, config=config.spec())
    shared, made = unit.run.shared, []

    def killed():
        raise KeyboardInterrupt

    def make():
        made.append(1)
        return {"status": "ok", "test": 0.1 + 0.2}

    with pytest.raises(KeyboardInterrupt):
        shared.control(problem, {"control": "mlp"}, killed)
    assert not list(shared.folder.glob("controls/*.json"))
    first = shared.control(problem, {"control": "mlp"}, make)
    assert shared.control(problem, {"control": "mlp"}, make) == first and len(made) == 1
    (path,) = shared.folder.glob("controls/*.json")
    path.write_bytes(path.read_bytes()[:20])
    assert shared.control(problem, {"control": "mlp"}, make) == first and len(made) == 2
    other = Problem(config.dataset(), config.backbone, config.train, 1, config=config.spec())
    assert shared.control(problem, {"control": "random"}, make) and shared.control(other, {"control": "mlp"}, make)
    assert len(made) == 4, "another control, another seed"


def test_nothing_is_repeated(main, monkeypatch):
    assert main("sweep", "-q", written(TREE), *ALONE)[0] == 0
    before = list(results())
    assert len(before) == 2 * 2 * 3
    monkeypatch.setattr(work, "run", None)
    code, out, _ = main("sweep", "-q", "--json", written(TREE), *ALONE)
    assert code == 0 and [json.loads(line) for line in out.splitlines()] == before
    assert list(results()) == before


def test_tickets_are_stored_without_initial_weights(main):
    base = {**BASE, "seeds": 1, "schedule": {"name": "oneshot", "graph": 0.2, "weight": 0.5}}
    tree = {"name": "it", "base": {**base, "initial": False}, "grid": {"strategy": ["teddy"]}}
    assert main("sweep", written(tree), "-q", *ALONE)[0] == 0
    (one,) = Path("runs/it").glob("*/seed0/level01.safetensors")
    header, tensors = ticket_file.read(one)
    assert header["initial"]["seed"] == 0 and not any(name.startswith("initial/") for name in tensors)
    assert main("verify", one, "--rerun")[0] == 0


def test_controls_are_part_of_a_point(main):
    """Also one that is not possible, which has no record."""
    taught = {"controls": ["mlp", "mlp_distilled"], "strategy": {"name": "teddy", "weight": 0}}
    tree = {**TREE, "base": {**BASE, **taught, "seeds": 1}, "grid": {}}
    assert main("sweep", "-q", written(tree), *ALONE)[0] == 0
    said = Counter(record.get("control") for record in results())
    assert said[None] == 3 and said["mlp"] == 2
    todo = units(tree)
    assert finished(todo, place().ends) == {todo[0].name}
    more = {**tree, "base": {**tree["base"], "controls": ["mlp", "dense"]}}
    assert not finished(units(more), place().ends), "a control more is work"


def test_a_new_seed_or_level_is_done_beside_the_old(main):
    assert main("sweep", "-q", written(TREE), *ALONE, "-o", "seeds=1")[0] == 0
    code, _, err = main("sweep", written(TREE), *ALONE)
    assert code == 0 and len(list(results())) == 12
    assert "seed 1 level 3: val" in err and "seed 0" not in err


def test_a_point_that_fails_is_recorded_and_tried_again(main, monkeypatch):
    tickets = TEDDY.tickets

    def bad(self, problem, levels, start=None):
        if problem.seed == 1:
            raise RuntimeError("out of\nmemory")
        return tickets(self, problem, levels, start)

    with monkeypatch.context() as patch:
        patch.setattr(TEDDY, "tickets", bad)
        code, out, err = main("sweep", written(TREE), *ALONE)
    assert code == 1 and "imp" in out
    failed = [record for record in results() if record["status"] != "ok"]
    assert [(r["seed"], r["level"], r["method"], r["status"]) for r in failed] == [
        (1, level, "teddy", "failed") for level in (1, 3)
    ]
    assert failed[0]["error"].startswith("RuntimeError: out of memory (test_sweep.py, line ")
    assert "teddy seed 1 level 1 failed: RuntimeError: out of memory" in err
    assert {"config", "threads", "glt", "dataset"} <= failed[0].keys()
    assert main("sweep", "-q", written(TREE), *ALONE)[0] == 0


def test_a_control_that_fails_is_recorded_and_said(main, monkeypatch):
    """Whatever it raises: its tickets are whole, so nothing else would say so."""
    mlp = registry.get("controls", "mlp")

    def boom(self, *_):
        raise RuntimeError("no such\ndevice")

    tree = {**TREE, "base": {**BASE, "controls": ["mlp"], "seeds": 1}, "grid": {"strategy": ["teddy"]}}
    with monkeypatch.context() as patch:
        patch.setattr(mlp, "__call__", boom)
        code, _, err = main("sweep", written(tree), *ALONE)
    said = "RuntimeError: no such device (test_sweep.py, line "
    assert code == 1 and f"seed 0 failed: {said}" in err and f"level 1 control mlp failed: {said}" in err
    (failed,) = [record for record in results() if record["status"] != "ok"]
    assert (failed["control"], failed["level"], failed["status"]) == ("mlp", 1, "failed")
    assert failed["error"].startswith(said)
    (line,) = place().ends
    assert line["status"] == "failed" and line["error"] == failed["error"]
    assert main("sweep", "-q", written(tree), *ALONE)[0] == 0


def test_a_training_that_fails_makes_the_exit_code(main, monkeypatch):
    def bad(self, problem, levels, start=None):
        raise TrainingError("loss is NaN")

    monkeypatch.setattr(TEDDY, "tickets", bad)
    assert main("sweep", "-q", written(TREE), *ALONE, "-o", "seeds=1")[0] == 1
    assert [r["error"] for r in results() if r["status"] == "failed"] == ["loss is NaN"] * 2


def test_one_sweep_at_a_time_in_a_folder(main):
    from filelock import FileLock

    Path("runs/it").mkdir(parents=True)
    with FileLock("runs/it/sweep.lock"):
        code, _, err = main("sweep", "-q", written(TREE), *ALONE)
    assert code == 2 and "being worked on by another glt sweep" in one_line(err)


# --- deaths of workers


class Pool:
    """Workers that die where they are told to: a stand-in for joblib's, in this process."""

    def __init__(self, deadly, together=2):
        self.deadly, self.together, self.calls = Counter(deadly), together, []

    def __call__(self, backend, units, place, workers, at_once):
        units = list(units)
        self.calls.append((at_once, [unit.name for unit in units]))
        while units:
            batch, units = units[:at_once], units[at_once:]
            if any(self.deadly[unit.name] > 0 for unit in batch):
                self.deadly.subtract(unit.name for unit in batch)
                for unit in batch:  # what a killed worker leaves
                    Status(place.status, unit.name, unit.label, unit.seed).__enter__()
                raise RuntimeError("a worker was terminated")
            for unit in batch:
                end(unit, place, "ok")


def ends():
    return {line["unit"]: line["status"] for line in place().ends}


@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_point_is_killed_only_if_it_dies_alone(monkeypatch, times):
    todo, said = units(), []
    bad = todo[2].name
    monkeypatch.setattr(backends, "_map", pool := Pool({bad: times}))
    run_units(todo, place(), workers=2, say=said.append)
    killed = times == 3
    assert ends() == {unit.name: "killed" if killed and unit.name == bad else "ok" for unit in todo}
    assert len(said) == times and todo[2].label in said[0]
    assert [at_once for at_once, _ in pool.calls] == [2] * min(times + 1, 2) + [1] * (times >= 2) + [1] * killed
    records = list(results()) if killed else []
    assert [(r["level"], r["status"]) for r in records] == [(level, "killed") for level in (0, 1, 3)][: len(records)]
    assert not running(place().status)


def test_workers_that_never_begin_end_the_sweep(monkeypatch):
    def broken(*_):
        raise RuntimeError("no fork")

    monkeypatch.setattr(backends, "_map", broken)
    with pytest.raises(GltError, match="the workers of loky do not start: no fork"):
        run_units(units(), place(), workers=2)


def until(true, process):
    """Wait for something that the sweep brings about."""
    deadline = time.monotonic() + 300
    while not (found := true()):
        assert process.poll() is None and time.monotonic() < deadline, Path("said.txt").read_text()
        time.sleep(0.02)
    return found


def test_a_kill_and_an_interrupt_leave_the_same_records(main, alone):
    """One of two workers is killed; then the sweep is interrupted, and given again."""
    with open("said.txt", "w") as said:
        command = [sys.executable, "-m", "glt", "sweep", str(alone[0]), "--workers", "2"]
        heeding = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # what a shell starts with & ignores it
        process = subprocess.Popen(command, stdout=said, stderr=said, start_new_session=True, preexec_fn=heeding)
    status, said = Path("runs/it/status"), Path("said.txt")
    told = until(lambda: running(status), process)
    os.kill(next(iter(told.values()))["pid"], signal.SIGKILL)
    until(lambda: "a worker died (TerminatedWorkerError); running then: " in said.read_text(), process)
    before = until(lambda: len(list(results())) > 2 and running(status), process)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    assert process.wait(60) == 130, said.read_text()
    text = said.read_text()
    assert text.endswith("interrupted; run the same command again to go on\n") and "Traceback" not in text, text
    for worker in before.values():
        with pytest.raises(ProcessLookupError):
            os.kill(worker["pid"], 0)
    assert len(steady(results())) < len(alone[1])
    assert main("sweep", "-q", alone[0], *ALONE)[0] == 0
    assert steady(results()) == alone[1]
    assert {record["status"] for record in results()} == {"ok"}


# --- the live table


def test_the_live_table():
    todo = units()
    estimate = Estimate()
    estimate.add(todo[0].run.config.spec(), None, 10.0, 4)
    board = _Board(todo, todo[:3], place(), 2, estimate, False, False)
    place().status.mkdir(parents=True)
    whole = sum(map(estimate.cost, todo[:3])) / 2
    assert board.time_left({}) == whole, "the estimate, as long as nothing is done"
    with Status(place().status, todo[0].name, "imp", 1) as status:
        status(1, "level 1", 3, 0.5)
        console = Console(width=100, record=True, file=io.StringIO())
        console.print(board.table())
    shown = console.export_text().split("\n")
    assert shown[0].startswith("1 of 4 points done, 0 failed, 1 running, ")
    assert next(line.split()[:5] for line in shown if "imp" in line) == ["imp", "1", "level", "1", "3"]
    end(todo[0], place(), "ok")
    end(todo[1], place(), "failed")
    board.news()
    console.print(board.table())
    assert console.export_text().startswith("2 of 4 points done, 1 failed, 0 running, ")


@pytest.mark.parametrize("seconds, said", [(None, "?"), (3.21, "3.2 s"), (125, "2:05"), (7384, "2:03:04")])
def test_durations(seconds, said):
    assert duration(seconds) == said


# --- the dry run


def test_the_plan(main):
    main("sweep", "-q", written(TREE), *ALONE, "-o", "seeds=1", "-o", "strategy=teddy")
    before = sorted(Path("runs").rglob("*"))
    code, out, err = main("sweep", written(TREE), "--dry-run", "--workers", "2", "--budget", "1h")
    assert (code, err) == (0, "")
    assert "it: 3 of 4 points to do" in out and "with 2 workers" in out
    rows = {line.split()[0]: line.split() for line in out.splitlines() if "/" in line}
    assert rows["teddy"][1:6] == ["3", "0", "1/2", "1", "8"]
    assert rows["imp"][1:6] == ["3", "0", "0/2", "0", "32"]
    assert "3 of 3 points fit in the budget of 1:00:00" in out
    assert sorted(Path("runs").rglob("*")) == before


def test_the_plan_without_anything_known(main):
    code, out, _ = main("sweep", written(TREE), "--dry-run")
    assert code == 0 and "nothing is known of their cost" in out
    shown = json.loads(main("sweep", written(TREE), "--dry-run", "--json")[1])
    assert shown["seconds"] is None and shown["left"] == 4
    shown = json.loads(main("sweep", written(TREE), "--dry-run", "--json", "--calibrate", "--budget", "0s")[1])
    assert shown["seconds"] > 0 and shown["fits"] == 0
    assert [point["epochs"] for point in shown["points"]] == [16, 32]
    assert not Path("runs").exists()


def test_an_estimate_is_of_what_is_most_similar():
    teddy, imp = (next(unit for unit in units() if unit.run.config.strategy.name == name) for name in ("teddy", "imp"))
    estimate = Estimate()
    assert estimate.seconds(teddy) is None and estimate.cost(teddy) == teddy.epochs
    other = {**teddy.run.config.spec(), "dataset": {"name": "cora"}}
    estimate.add(other, "teddy", 20.0, 10)
    assert estimate.seconds(teddy) == 2 * teddy.epochs and not estimate.known(teddy)
    estimate.add(teddy.run.config.spec(), "imp", 50.0, 10)
    assert estimate.seconds(teddy) == 5 * teddy.epochs
    estimate.add(teddy.run.config.spec(), "teddy", 10.0, 10)
    estimate.add(teddy.run.config.spec(), "dense", 20.0, 10)
    for unit, each in ((teddy, 1), (imp, 5)):
        assert estimate.seconds(unit) == each * unit.search_epochs + 2 * unit.other_epochs


@pytest.mark.parametrize(
    "odd",
    [
        {"config": None},
        {"config": {"dataset": {"name": "cora"}}},
        {"method": None},
        {"search_s": None},
        {"search_s": float("nan")},
        {"search_s": -1},
        {"search_epochs": 0},
        {"search_epochs": 10**400},
        {"threads": "1"},
    ],
)
def test_records_of_others_are_no_hindrance(main, odd):
    """Lines under the same folder that say too little, or what cannot be."""
    (unit,) = units({**TREE, "grid": {}}, seeds=1)
    good = {"status": "ok", "threads": 1, "device": "cpu: some", "method": "teddy", "config": unit.run.config.spec()}
    good |= {"search_s": 10.0, "search_epochs": 5}
    assert Estimate([good]).seconds(unit) == 2 * unit.epochs
    assert Estimate([{k: v for k, v in {**good, **odd}.items() if v is not None}]).seconds(unit) is None
    other = Results(Path("runs/other/results.jsonl"))
    other.append({**good, **odd})
    results().append({"status": "ok", "threads": 1, "device": "cpu"})
    place().ends.append({"status": "ok"})
    code, out, _ = main("sweep", written(TREE), "--dry-run")
    assert code == 0 and "nothing is known of their cost" in out


def test_a_measurement_is_of_every_method():
    todo = units({**TREE, "grid": {"strategy": ["imp", "ugs", {"name": "ugs", "mask_epochs": 9}, "gebt"]}}, seeds=1)
    estimate = Estimate()
    estimate.calibrate(todo, None, "cpu", lambda: None)
    assert all(estimate.known(unit) and estimate.seconds(unit) > 0 for unit in todo)


@pytest.mark.parametrize("strategy", ["teddy", "imp", "ugs", "oneshot", "dense", "random"])
def test_epochs_are_counted_before_they_are_trained(strategy):
    tree = {**TREE, "grid": {"strategy": [strategy]}, "base": {**BASE, "controls": ["dense", "mlp"]}}
    (unit,) = units(tree, seeds=1)
    run_units([unit], place(), "sequential")
    (line,) = place().ends
    assert line["epochs"] == unit.epochs, "the control dense is the dense training, which there is anyway"


def test_epochs_are_counted_where_controls_are_not_shared():
    train = {**BASE["train"], "inductive": True}
    (unit,) = units({**TREE, "grid": {}}, seeds=1, train=train, controls=["dense", "mlp"])
    run_units([unit], place(), "sequential")
    (line,) = place().ends
    assert line["epochs"] == unit.epochs


def test_what_fits():
    assert list(fitting([5, 4, 3, 2], 2, 7)) == [True, True, True, True]
    assert list(fitting([5, 4, 3, 2], 1, 9)) == [True, True, False, False]
    (first, *_) = units()
    assert replace(first, found=first.shares).epochs == first.epochs - 4


def test_what_is_shared_is_counted_once():
    tree = {**TREE, "grid": {"strategy": ["teddy", "random", {"name": "gebt", "weight": 10}]}}
    controls = ["mlp", "random", "width_matched", "shuffled"]
    gebt, *others = units({**tree, "base": {**BASE, "controls": controls}}, seeds=1)
    assert gebt.run.config.strategy.name == "gebt"
    assert gebt.other_epochs == 4 * (1 + 1 + 2 * 3), "the dense model, the mlp, and three of each level"
    by_name = {unit.run.config.strategy.name: unit.other_epochs for unit in others}
    assert by_name == {
        "teddy": 4 * 2 * 2,  # its own start at the initial weights, unlike those of gebt: random and shuffled
        "random": 4 * 2 * 3,  # and it has no teacher
    }


def test_controls_are_shared_and_say_what_they_would_have_said():
    """Also the second time: a control that is found is the one that was measured."""
    taught = [{"name": name, "weight": 5} for name in ("teddy", "imp")]
    todo = units({**TREE, "base": {**BASE, "controls": "all"}, "grid": {"strategy": taught}}, seeds=1)
    run_units(todo, place(), "sequential")
    mine = {k: v for k, v in steady(results()).items() if k[3] != "null"}
    assert len(mine) == 2 * 2 * len(registry.names("controls"))
    own = {}
    for unit in todo:
        run = Run(unit.run.config, Results(Path("own") / "results.jsonl"), Path("own") / unit.name)
        for record in pipeline.run(run):
            own[record["config_id"], record["seed"], record["level"], json.dumps(record.get("control_spec"))] = record
    for key, record in mine.items():
        assert record == {k: v for k, v in own[key].items() if k not in VOLATILE}
    costs = Counter((r["control"], r["search_s"]) for r in results() if r.get("control"))
    times = {name: max(n for (control, _), n in costs.items() if control == name) for name, _ in costs}
    for_all, by_level = ("mlp", "mlp_distilled", "dense"), ("random", "degree", "width_matched")
    assert all(times[name] >= 4 for name in for_all), "of two tickets and levels"
    assert all(times[name] >= 2 for name in by_level), "of two tickets; two levels may have taken as long"
    assert len(list(place().folder.glob("shared/controls/*.json"))) == len(for_all) + 2 * len(by_level)
    assert len(list(Path("runs").glob("it/shared/controls/*.json"))) == 3 + 2 * 3
