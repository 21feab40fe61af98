"""Runs whose models are trained at once: the same records, resumed and failing as ever."""

import pytest
import torch
from test_pipeline import VOLATILE, every, experiment, files

from glt import pipeline, training
from glt.config import Config
from glt.errors import GltError, TrainingError
from glt.losses import cross_entropy
from glt.strategies.teddy import TeddyStrategy
from glt.training import MOST, Training, at_once

OTHER = {*VOLATILE, "together", "kernel", "ticket_sha256", "ticket_bytes"}
TWO = ("seeds=2", "schedule.levels=2")


def points(records):
    """What has to be the same however many are trained at once."""
    found = {(r["seed"], r["level"], r.get("control")): {k: v for k, v in r.items() if k not in OTHER} for r in records}
    assert len(found) == len(records), "a point comes once"
    return found


@pytest.mark.parametrize("strategy", ["teddy", "random", "{name: oneshot, rewind_to: 0.5}", "imp", "dense"])
def test_the_same_records(tmp_path, strategy):
    how = (*TWO, f"strategy={strategy}")
    one, two, three = (every(experiment(tmp_path / name, *how, f"together={name}")) for name in ("false", "true", "3"))
    assert points(one) == points(two) == points(three)
    assert {r["config_id"] for r in one} == {r["config_id"] for r in two}
    assert not any("together" in r for r in one)
    dense = [r["together"] for r in two if not r["level"]]
    levels = [r.get("together") for r in two if r["level"]]
    assert dense == [2, 2]
    assert levels == ([] if strategy == "dense" else [None] * 4 if strategy == "imp" else [4] * 4)
    if strategy == "teddy":
        assert [r.get("together") for r in three if r["level"]] == [3, 3, 3, None]


def test_finished_points_are_never_repeated(tmp_path, monkeypatch):
    run = experiment(tmp_path, *TWO, "together=3")
    first = every(run)
    kept = [r for r in first if (r["seed"], r["level"]) not in {(0, 2), (1, 0), (1, 1)}]
    run.results.path.unlink()
    for record in kept:
        run.results.append(record)
    trained = []
    plain = pipeline.train_together

    def watched(trainings):
        trained.extend((one.problem.seed, one.level.number) for one in trainings)
        return plain(trainings)

    monkeypatch.setattr(pipeline, "train_together", watched)
    assert points(every(run)) == points(first)
    assert sorted(trained) == [(0, 2), (1, 0), (1, 1)]
    trained.clear()
    assert points(every(run)) == points(first) and not trained
    assert len(files(run.folder)) == 6


def test_each_group_is_recorded_before_the_next_is_trained(tmp_path):
    run = experiment(tmp_path, *TWO, "together=2")
    records = pipeline.run(run)
    for expected in (2, 2, 4, 4, 6, 6):  # a kill loses one group
        next(records)
        assert len(files(run.folder)) in (expected - 1, expected)


def test_what_fails_is_recorded_and_the_rest_goes_on(tmp_path, monkeypatch):
    plain = TeddyStrategy.trainings

    def trainings(self, problem, levels):
        for one in plain(self, problem, levels):
            if (problem.seed, one.level.number) == (1, 1):
                object.__setattr__(one, "loss", lambda logits: cross_entropy(problem.data)(logits) * float("nan"))
            if (problem.seed, one.level.number) == (0, 2):
                raise TrainingError("not even begun")
            yield one

    monkeypatch.setattr(TeddyStrategy, "trainings", trainings)
    run = experiment(tmp_path, *TWO, "together=true")
    status = {(r["seed"], r["level"]): r.get("error", "ok") for r in every(run)}
    assert status.pop((0, 2)) == "not even begun"
    assert "the loss became nan at epoch 1" in status.pop((1, 1))
    assert status == dict.fromkeys([(0, 0), (0, 1), (1, 0), (1, 2)], "ok")
    monkeypatch.undo()
    assert {r["status"] for r in every(run)} == {"ok"}


def test_a_dense_model_that_fails_takes_its_levels_along(tmp_path, monkeypatch):
    plain = Training.dense.__func__

    def dense(cls, problem):
        one = plain(cls, problem)
        if problem.seed == 0:
            object.__setattr__(one, "loss", lambda logits: logits.sum() * float("nan"))
        return one

    monkeypatch.setattr(Training, "dense", classmethod(dense))
    records = every(experiment(tmp_path, *TWO, "together=true"))
    assert [(r["seed"], r["level"], r["status"]) for r in records] == [
        (0, 0, "failed"),
        (1, 0, "ok"),
        (1, 1, "ok"),
        (1, 2, "ok"),
    ]


def test_a_strategy_with_tickets_of_its_own_is_asked_for_them(tmp_path, monkeypatch):
    class Mine(TeddyStrategy):
        def tickets(self, problem, levels, start=None):
            asked.append(problem.seed)
            return super().tickets(problem, levels, start)

    asked = []
    run = experiment(tmp_path, *TWO, "together=true")
    object.__setattr__(run.config, "strategy", Mine())
    every(run)
    assert asked == [0, 1]


def test_models_that_do_not_stack_say_so(tmp_path):
    records = every(experiment(tmp_path, *TWO, "backbone={name: gcnii, hidden: 8, layers: 2}", "together=true"))
    assert {r["together"] for r in records} == {"no: GCNIIModel is no backbone that stacks"}


def test_controls_follow(tmp_path):
    how = ("seeds=2", "schedule.levels=1", "controls=[random, dense]")
    one, two = (every(experiment(tmp_path / name, *how, f"together={name}")) for name in ("false", "true"))
    assert points(one) == points(two)


# --- how many


def test_auto_is_for_small_graphs_on_a_gpu(sbm):
    assert at_once("auto", sbm) == 1 and at_once(7, sbm) == 7

    class OnGpu:
        x = type("X", (), {"is_cuda": True})
        num_nodes, num_edges = 10, training.SMALL - 10

    assert at_once("auto", OnGpu) == MOST
    OnGpu.num_edges += 1
    assert at_once("auto", OnGpu) == 1


@pytest.mark.parametrize("asked", [0, -1, 1.5, "yes", None])
def test_other_numbers_are_refused(asked):
    with pytest.raises(GltError, match=r"together = .*: give auto, true, false, or how many"):
        Config(together=asked)


def test_it_is_no_part_of_the_experiment():
    assert Config(together=4).id == Config().id
    assert (Config(together=True).together, Config(together=False).together) == (MOST, 1)


def test_random_state_is_left_alone(tmp_path):
    before = torch.random.get_rng_state()
    every(experiment(tmp_path, *TWO, "together=true"))
    assert torch.equal(torch.random.get_rng_state(), before)
