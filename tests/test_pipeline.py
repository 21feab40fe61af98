"""Runs: what is recorded, what is never done twice, and what a kill may cost."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch_geometric.utils import degree

from glt import pipeline, registry
from glt.allocate import densities
from glt.config import Config
from glt.errors import GltError, TrainingError
from glt.kernels import recording, use
from glt.pipeline import Run
from glt.problem import Problem
from glt.results import Results
from glt.ticket import Ticket
from glt.ticket_file import read
from glt.verify import search_again

OPTIONS = (
    "name=it",
    "dataset={name: csbm, nodes: 120, classes: 3, features: 30, avg_degree: 4}",
    "backbone={name: gcn, hidden: 8}",
    "schedule={name: geometric, graph_rate: 0.2, weight_rate: 0.3, levels: 3}",
    "train={epochs: 4, lr: 0.05}",
)
POINT = {"config_id", "method", "backbone", "dataset", "split", "task", "seed", "level", "config"}
MADE_BY = {"glt", "torch", "pyg", "python", "commit", "dirty", "device", "threads"}
MEASURED = {
    *("metric", "val", "test", "epoch", "last_val", "last_test", "dense_val", "dense_test"),
    *(
        "graph_sparsity",
        "weight_sparsity",
        "avg_degree",
        "isolated",
        "params",
        "densities",
        "ticket_bytes",
        "ticket_sha256",
    ),
    *("search_s", "search_epochs", "peak_mb", "track", "kernel", "macs", "macs_dense"),
}
VOLATILE = {"search_s", "peak_mb", "commit", "dirty", "device", "threads"}


def experiment(out, *overrides):
    return Run.under(Config.load(None, [*OPTIONS, *overrides]), out)


def every(run, **options):
    return list(pipeline.run(run, **options))


def phases(run):
    """The trainings that a run does, in order, and its records."""
    seen = []
    records = every(run, on_epoch=lambda seed, phase, epoch, val: seen.append((seed, phase)) if epoch == 1 else None)
    return seen, records


def steady(records):
    """What has to be the same whenever and wherever a point is computed, by point."""
    records = list(records)
    found = {(r["seed"], r["level"]): {k: v for k, v in r.items() if k not in VOLATILE} for r in records}
    assert len(found) == len(records), "a point comes once"
    return found


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A finished run of two seeds; not to be changed."""
    run = experiment(tmp_path_factory.mktemp("done"), "seeds=2")
    return run, every(run)


# --- records


def test_every_seed_and_level_is_recorded_dense_first(done):
    run, records = done
    assert [(r["seed"], r["level"]) for r in records] == [(s, i) for s in (0, 1) for i in (0, 1, 2, 3)]
    assert list(run.results) == records
    assert {r["status"] for r in records} == {"ok"}
    assert files(run.folder) == [f"seed{s}/level0{i}.safetensors" for s in (0, 1) for i in (0, 1, 2, 3)]
    assert run.folder == run.results.path.parent / run.config.id


def test_fields(done):
    run, records = done
    for record in records:
        assert record.keys() >= POINT | MEASURED | MADE_BY | {"status"}
        assert record["config"] == run.config.spec() and record["config_id"] == run.config.id
        assert (record["backbone"], record["dataset"], record["split"]) == ("gcn", "csbm", "seeded-0")
        assert (record["metric"], record["task"]) == ("accuracy", "node")
        dense = record["level"] == 0
        assert (record["method"], record["track"]) == (("dense", "none") if dense else ("teddy", "all"))
        assert record["search_epochs"] == (4 if dense else 8)
        assert json.loads(json.dumps(record)) == record


def test_numbers_are_those_of_the_ticket(done):
    run, records = done
    data = run.config.dataset()
    for record in records:
        path = run.path(record["seed"], record["level"])
        ticket = Ticket.load(path)
        assert ticket.verify().ok
        assert {k: record[k] for k in ticket.metrics if k in MEASURED} == {
            k: v for k, v in ticket.metrics.items() if k in MEASURED
        }
        assert record["ticket_sha256"] == read(path)[0]["digest"]
        assert record["ticket_bytes"] == path.stat().st_size
        degrees = degree(ticket.apply(data).edge_index[0], 120)
        assert record["avg_degree"] == pytest.approx(float(degrees.mean()), abs=1e-4)
        assert record["isolated"] == int((degrees == 0).sum())
        kept = sum(int(mask.sum()) for mask in ticket.weight_masks.values())
        assert record["params"] == kept + 8 + 3
        assert record["densities"] == densities(ticket.weight_masks)
        assert ticket.config["seed"] == record["seed"] and ticket.config["level"] == record["level"]


def test_dense_stands_beside_every_level(done):
    _, records = done
    for record in records:
        dense = next(r for r in records if (r["seed"], r["level"]) == (record["seed"], 0))
        assert (record["dense_val"], record["dense_test"]) == (dense["val"], dense["test"])
        assert (dense["graph_sparsity"], dense["weight_sparsity"]) == (0, 0)


def test_the_strategy_dense_has_no_levels(tmp_path):
    assert [r["level"] for r in every(experiment(tmp_path, "strategy=dense"))] == [0]


def test_a_level_0_of_the_schedule_is_the_dense_one(tmp_path):
    plain = steady(every(experiment(tmp_path / "a", "schedule.levels=[2]")))
    try:
        run = experiment(tmp_path / "b", "schedule.levels=[0, 2]")
    except GltError:
        return  # refused: as good
    records = steady(every(run))
    assert records.keys() == plain.keys()
    for point, record in records.items():
        for field in MEASURED - VOLATILE - {"ticket_bytes", "ticket_sha256"}:
            assert record[field] == plain[point][field]


def test_two_configs_of_one_name_share_a_file_and_nothing_else(tmp_path):
    one, two = experiment(tmp_path), experiment(tmp_path, "strategy.weight=1")
    assert one.results.path == two.results.path and one.folder != two.folder
    records = every(one), every(two)
    assert list(one.results) == [*records[0], *records[1]]
    assert every(one) == records[0] and every(two) == records[1]


# --- a repeated search


@pytest.mark.parametrize("level", [0, 2])
def test_a_search_can_be_repeated_bit_for_bit(done, level):
    run, _ = done
    ticket = Ticket.load(run.path(1, level))
    assert search_again(ticket).ok
    name = "convs.0.lin.weight"
    place = tuple(ticket.weight_masks[name].nonzero()[0])
    ticket.trained[name][place] += 1e-4
    wrong = [check for check in search_again(ticket).checks if not check.ok]
    assert [(check.stored, check.recomputed) for check in wrong] == [(0, 1)]
    ticket.edge_keep[:2] = ~ticket.edge_keep[:2]
    assert sorted(check.recomputed for check in search_again(ticket).checks if not check.ok) == [1, 2]


def test_a_search_is_repeated_by_its_own_kernel(tmp_path):
    run = experiment(tmp_path, "seeds=[0]", "schedule={name: oneshot, graph: 0.3, weight: 0.3}")
    with use("index_add"):
        every(run)
    ticket = Ticket.load(run.path(0, 1))
    assert ticket.versions["kernel"] == "index_add"
    with recording() as seen:
        assert search_again(ticket).ok
    assert seen == {"index_add"}


def test_a_search_that_is_not_named_cannot_be_repeated(done):
    run, _ = done
    ticket = Ticket.load(run.path(0, 1))
    ticket.config["level"] = 17
    with pytest.raises(GltError, match="level 17"):
        search_again(ticket)
    del ticket.config["strategy"]
    with pytest.raises(GltError, match="strategy"):
        search_again(ticket)


# --- resuming


def test_a_second_run_computes_nothing(done, monkeypatch):
    run, records = done
    monkeypatch.setattr(Problem, "__init__", lambda *args, **kwargs: pytest.fail("computed a second time"))
    before = run.results.path.read_bytes()
    assert every(run) == records
    assert run.results.path.read_bytes() == before


def test_the_results_are_read_once_a_seed_whatever_the_levels(done, monkeypatch):
    """They grow to many megabytes in a sweep, all of which share one file."""
    run, records = done
    looks, holding = [], Results.holding
    monkeypatch.setattr(Results, "holding", lambda self, text: looks.append(text) or holding(self, text))
    assert every(run) == records
    assert looks == [run.config.id] * len(run.config.seeds)


def test_more_seeds_and_levels_add_only_what_is_missing(tmp_path):
    every(experiment(tmp_path))
    seen, _ = phases(experiment(tmp_path, "seeds=2"))
    assert seen == [(1, "dense"), (1, "level 1"), (1, "level 2"), (1, "level 3")]


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_a_missing_ticket_costs_its_point_alone(tmp_path, level):
    run = experiment(tmp_path)
    first = steady(every(run))
    run.path(0, level).unlink()
    seen, records = phases(run)
    assert seen == [(0, f"level {level}" if level else "dense")]
    assert steady(records) == first
    assert phases(run)[0] == []


def test_a_missing_record_costs_its_point_alone(tmp_path):
    run = experiment(tmp_path)
    first = steady(every(run))
    lines = run.results.path.read_bytes().splitlines(keepends=True)
    run.results.path.write_bytes(b"".join([*lines[:2], lines[3]]))
    seen, records = phases(run)
    assert seen == [(0, "level 2")]
    assert steady(records) == first


@pytest.mark.parametrize(
    "tail",
    [b"", b'{"config_id": "', b"\x00" * 30, b"\xff\xfe", b'"text"\n', b"[1, 2]\n\n\n"],
    ids=["half", "start", "zeros", "no text", "a string", "a list"],
)
def test_a_torn_last_line_is_survived(tmp_path, tail):
    run = experiment(tmp_path, "schedule.levels=1")
    first = steady(every(run))
    lines = run.results.path.read_bytes().splitlines(keepends=True)
    run.results.path.write_bytes(lines[0] + (tail or lines[1][: len(lines[1]) // 2]))
    seen, records = phases(run)
    assert seen == [(0, "level 1")]
    assert steady(records) == first
    assert steady(run.results) == first, "the record after a torn line is whole"


def test_a_damaged_ticket_that_is_needed_is_named(tmp_path):
    run = experiment(tmp_path)
    every(run)
    run.path(0, 0).write_bytes(b"half")
    run.path(0, 2).unlink()
    with pytest.raises(GltError, match=r"level00\.safetensors"):
        every(run)


# --- failures


def fails(monkeypatch, where):
    fit = Problem.fit

    def failing(self, data, *, phase="fit", **options):
        if (self.seed, phase) == where:
            raise TrainingError("the loss became nan")
        return fit(self, data, phase=phase, **options)

    monkeypatch.setattr(Problem, "fit", failing)


def test_a_failed_point_is_recorded_passed_over_and_tried_again(tmp_path, monkeypatch, done):
    run = experiment(tmp_path, "seeds=2")
    with monkeypatch.context() as patch:
        fails(patch, (0, "level 2"))
        records = every(run)
    assert [r["status"] for r in records] == ["ok", "ok", "failed", "ok"] + ["ok"] * 4
    failed = records[2]
    assert failed.keys() == POINT | MADE_BY | {"status", "error"}
    assert (failed["seed"], failed["level"], failed["error"]) == (0, 2, "the loss became nan")
    assert list(run.results) == records
    assert not run.path(0, 2).exists()
    seen, again = phases(run)
    assert seen == [(0, "level 2")]
    assert steady(again) == steady(done[1])


def test_a_failed_teacher_costs_its_seed(tmp_path, monkeypatch, done):
    run = experiment(tmp_path, "seeds=2")
    with monkeypatch.context() as patch:
        fails(patch, (0, "dense"))
        records = every(run)
    assert [(r["seed"], r["level"], r["status"]) for r in records] == [(0, 0, "failed")] + [
        (1, i, "ok") for i in (0, 1, 2, 3)
    ]
    assert steady(every(run)) == steady(done[1])


# --- nothing is written on bad input


@pytest.mark.parametrize(
    "override",
    [
        "schedule={name: oneshot, graph: 0.9999}",
        "schedule={name: oneshot, weight: 0.9999}",
        "schedule={name: grid, graph: [0.1, 0.9999], weight: [0.1]}",
        "schedule={name: geometric, graph_rate: 0.9, levels: [1, 9]}",
        "dataset={name: csbm, nodes: 10}",
    ],
)
def test_an_impossible_level_or_dataset_is_refused_before_anything_is_written(tmp_path, override):
    with pytest.raises(GltError):
        every(experiment(tmp_path / "out", override, "seeds=2"))
    assert not (tmp_path / "out").exists()


def nan_features(data):
    data.x = data.x.to_dense()
    data.x[7, 2] = float("nan")


def one_way(data):
    data.edge_index = data.edge_index[:, 1:]


def out_of_range(data):
    data.edge_index = data.edge_index + 1


def no_validation(data):
    data.val_mask = torch.zeros_like(data.val_mask)


def no_label(data):
    data.y[data.train_mask.nonzero()[0]] = -1


def only_loops(data):
    data.edge_index = torch.arange(120).expand(2, -1)


@pytest.mark.parametrize("harm", [nan_features, one_way, out_of_range, no_validation, no_label, only_loops])
def test_bad_data_is_refused_before_anything_is_written(tmp_path, harm, monkeypatch):
    monkeypatch.setattr(registry, "_entries", {family: dict(found) for family, found in registry._entries.items()})

    @registry.register("datasets", "broken")
    class Broken:
        """A graph that cannot be used."""

        def __call__(self, root=None):
            data = registry.build("datasets", {"name": "csbm", "nodes": 120, "classes": 3, "features": 30})(root)
            harm(data)
            return data

    with pytest.raises(GltError) as error:
        every(experiment(tmp_path / "out", "dataset=broken"))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


# --- kills

forks = pytest.mark.skipif(
    not hasattr(os, "fork") or sys.platform == "darwin" or torch.cuda.is_available(),
    reason="needs a fork that torch survives",
)


def die(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)


def nth(call, number, then):
    """``call``, but ``then`` in its place the ``number``-th time."""
    left = [number]

    def counted(*args, **kwargs):
        left[0] -= 1
        return call(*args, **kwargs) if left[0] else then(*args, **kwargs)

    return counted


def write_half(handle, line):
    write(handle, line[: len(line) // 2])
    die()


write = os.write
MOMENTS = {
    "before a ticket is in place": (os, "replace", die),
    "between a ticket and its record": (Results, "append", die),
    "within a record": (os, "write", write_half),
    "after a record": (os, "fsync", die),
    "while training": (Problem, "fit", die),
}


@forks
@pytest.mark.parametrize("number", [1, 3])
@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_at_any_moment_the_next_run_ends_the_same(tmp_path, done, moment, number):
    run = experiment(tmp_path, "seeds=2")
    owner, name, then = MOMENTS[moment]
    child = os.fork()
    if child == 0:
        try:
            setattr(owner, name, nth(getattr(owner, name), number, then))
            every(run)
        finally:
            os._exit(0)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1]), "it was not killed"
    kept = [r["ticket_sha256"] for r in run.results]
    seen, records = phases(run)
    assert len(seen) == 8 - len(kept), "finished work is kept"
    same_as(run, records, done)


def same_as(run, records, done):
    assert steady(records) == steady(done[1])
    last = {(r["seed"], r["level"]): r for r in run.results}
    assert steady(last.values()) == steady(done[1])
    for path in sorted(done[0].folder.rglob("*.safetensors")):
        assert (run.folder / path.relative_to(done[0].folder)).read_bytes() == path.read_bytes()


def test_the_command_killed_twice_goes_on_where_it_was(tmp_path):
    slower = ["train.epochs=150", "schedule.levels=6"]
    command = [sys.executable, "-c", "from glt.cli import main; main()", "run", "--quiet", "--threads", "1"]
    for option in (*OPTIONS, *slower):
        command += ["-o", option]
    root = str(Path(pipeline.__file__).parents[1])
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    run = experiment(tmp_path / "runs", *slower)
    moments = (lambda: run.path(0, 0).exists(), lambda: len(list(run.results)) >= 3)
    for moment in moments:
        process = subprocess.Popen(command, cwd=tmp_path, env=env, stdout=subprocess.DEVNULL)
        patience = time.monotonic() + 300
        while not moment() and process.poll() is None and time.monotonic() < patience:
            time.sleep(0.01)
        process.kill()
        assert process.wait() == -signal.SIGKILL, "it was over before it was killed"
    assert 3 <= len(list(run.results)) < 7
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    whole = experiment(tmp_path / "whole", *slower)
    same_as(run, every(run), (whole, every(whole)))
    torch.set_num_threads(threads)
