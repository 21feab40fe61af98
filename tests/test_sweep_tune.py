"""``tune`` of a sweep: a candidate is chosen by validation alone, with all that a sweep promises."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from cli_runs import CSBM, by_point, one_line, written

from glt import registry
from glt.commands import sweep as command
from glt.errors import TrainingError
from glt.leaderboard.build import build, sources
from glt.leaderboard.entry import of_run
from glt.results import Results
from glt.sweeps import tune, work
from glt.sweeps.grid import Grid
from glt.sweeps.points import counted
from glt.sweeps.status import Status
from glt.sweeps.units import units_of

BASE = {
    "dataset": CSBM,
    "backbone": {"name": "gcn", "hidden": 8},
    "schedule": {"name": "geometric", "graph_rate": 0.05, "weight_rate": 0.1, "levels": [1, 3]},
    "train": {"epochs": 4, "lr": 0.05},
    "seeds": 2,
}
TREE = {
    "name": "it",
    "base": BASE,
    "grid": {"strategy": ["teddy", "random"]},
    "tune": {"train.lr": [0.0001, 0.05]},
    "tune_seeds": [100, 101],
}
VOLATILE = {"search_s", "peak_mb", "commit", "dirty"}
ALONE = ("--backend", "sequential")
OUT = Path("runs")
FOLDER = OUT / "it"

pytestmark = pytest.mark.usefixtures("workplace")


def loaded(tree=TREE, *overrides):
    return Grid.load(written(tree), overrides)


def candidates(folder=FOLDER):
    return Results(folder / "tuning" / "candidates.jsonl")


def results(folder=FOLDER):
    return Results(folder / "results.jsonl")


def steady(records):
    return by_point(records, VOLATILE)


def ends(folder=FOLDER):
    return Results(folder / "units.jsonl")


def told(folder=FOLDER):
    return json.loads((folder / "chosen.json").read_text())


def note(point, seed, level, val, test=0.5, status="ok"):
    """A record of a candidate as far as the choice reads it."""
    candidates().append(
        {"config_id": point.config.id, "seed": seed, "level": level, "val": val, "test": test, "status": status}
    )


def choice(vals, tests=(0.5, 0.5, 0.5)):
    """What is chosen of three candidates; ``vals[i][level][seed]``, None where there is a record of a failure."""
    grid = loaded({**TREE, "grid": {}, "tune": {"strategy.weight": [1, 2, 3]}})
    (point,) = grid.points
    for candidate, of, test in zip(point.candidates, vals, tests, strict=True):
        for level, seeds in zip((0, 1, 3), of, strict=True):
            for seed, val in zip(grid.tune_seeds, seeds, strict=True):
                note(candidate, seed, level, val, test, "ok" if val is not None else "failed")
    (found,) = tune.choices(grid, OUT)
    return found


def flat(val):
    return [[val, val]] * 3


# --- the choice


def test_the_test_metric_has_no_say():
    """Neither a better one, nor one that is not there at all."""
    found = choice([flat(0.5), flat(0.7), flat(0.6)], tests=(0.9, 0.1, 0.8))
    assert found.best.label == "strategy.weight=2" and found.said == "strategy.weight=2, of 3"
    assert found.vals == (0.5, 0.7, 0.6)


def test_without_any_test_metric_it_is_the_same():
    assert choice([flat(0.5), flat(0.7), flat(0.6)], tests=(None, None, None)).best.label == "strategy.weight=2"


def test_the_mean_is_over_all_levels_but_dense_and_all_seeds():
    found = choice([[[0.9, 0.9], [0.5, 0.5], [0.5, 0.5]], [[0.1, 0.1], [0.9, 0.3], [0.2, 0.8]], flat(0.54)])
    assert found.vals == pytest.approx((0.5, 0.55, 0.54)) and found.best.label == "strategy.weight=2"


def test_of_equal_candidates_it_is_the_first():
    assert choice([flat(0.5), flat(0.6), flat(0.6)]).best.label == "strategy.weight=2"


def test_whatever_order_the_records_are_in():
    """0.1, 0.2 and 0.3 add up to another number from the other end."""
    one, other = [[0.5, 0.5], [0.1, 0.2], [0.3, 0.4]], [[0.5, 0.5], [0.4, 0.3], [0.2, 0.1]]
    found = choice([one, other, flat(0.1)])
    assert found.vals[0] == found.vals[1] and found.best.label == "strategy.weight=1"


@pytest.mark.parametrize("level", [0, 1, 2])
def test_what_failed_once_is_not_chosen(level):
    bad = flat(0.9)
    bad[level] = [0.9, None]
    found = choice([bad, flat(0.5), flat(0.6)])
    assert found.best.label == "strategy.weight=3" and found.said == "strategy.weight=3, of 3 (1 failed)"


@pytest.mark.parametrize("val", [float("nan"), "0.9", True, 10**400])
def test_what_is_no_number_is_no_validation(val):
    note_ = [[0.9, 0.9], [val, 0.9], [0.9, 0.9]]
    assert choice([note_, flat(0.5), flat(0.4)]).vals[0] is None


def test_nothing_is_chosen_before_all_were_tried():
    grid = loaded()
    first, second = grid.points[0].candidates
    for seed, level in ((s, n) for s in grid.tune_seeds for n in (0, 1, 3)):
        note(first, seed, level, 0.9)
    found = tune.choices(grid, OUT)[0]
    assert (found.best, found.config, found.said) == (None, None, "one of 2")
    planned = tune.chosen(grid, tune.choices(grid, OUT), planned=True).points
    assert [point.config.id for point in planned] == [point.candidates[0].config.id for point in grid.points]
    assert not tune.chosen(grid, tune.choices(grid, OUT)).points
    note(second, 100, 0, None, status="killed")
    found = tune.choices(grid, OUT)[0]
    assert found.best == first and found.said == "train.lr=0.0001, of 2 (1 failed)"


def test_records_of_other_seeds_do_not_count():
    grid = loaded()
    for candidate in grid.points[0].candidates:
        for seed in (0, 1, 102):
            for level in (0, 1, 3):
                note(candidate, seed, level, 0.9)
    assert tune.choices(grid, OUT)[0].vals == (None, None)


# --- the file


def test_candidates_are_all_combinations_of_every_experiment():
    tree = {**TREE, "tune": {"train.lr": [0.01, 0.05], "strategy.weight": [1, 10]}}
    tree |= {"exclude": [{"strategy": "random"}], "include": [{"strategy": "oneshot"}]}
    teddy, oneshot = loaded(tree).points
    assert [point.label for point in (teddy, oneshot)] == ["teddy", "oneshot"]
    assert [one.label for one in teddy.candidates] == [
        *("train.lr=0.01 strategy.weight=1", "train.lr=0.01 strategy.weight=10"),
        *("train.lr=0.05 strategy.weight=1", "train.lr=0.05 strategy.weight=10"),
    ]
    assert {one.config.strategy.name for one in oneshot.candidates} == {"oneshot"}
    assert teddy.candidates[1].config.train.lr == 0.01 and teddy.candidates[1].config.strategy.weight == 10
    units = tune.trials(loaded(tree), OUT)
    assert len(units) == 2 * 4 * 2 == len({unit.name for unit in units})
    assert {unit.seed for unit in units} == {100, 101} and units[0].label == f"teddy {teddy.candidates[0].label}"


def test_the_seeds_of_the_choice_are_100_to_104_and_controls_are_not_part_of_it():
    tree = {key: value for key, value in TREE.items() if key != "tune_seeds"}
    units = tune.trials(loaded({**tree, "base": {**BASE, "controls": ["mlp"]}}), OUT)
    assert {unit.seed for unit in units} == {100, 101, 102, 103, 104} and not any(unit.controls for unit in units)


@pytest.mark.parametrize(
    "tree, tried",
    [
        ({"tune": {"train.lr": [0.01, 0.05]}}, [2, 2]),
        ({"tune": {"train.lr": [0.05, 0.05, 0.1]}}, [2, 2]),
        ({"tune": {"train.lr": [0.01]}}, [1, 1]),
        ({"grid": {"strategy.scorer": ["teddy", "random", "degree"]}}, [6, 6, 6]),
        ({"grid": {"strategy": ["teddy", {"name": "teddy", "weight": 9}]}, "tune": {"strategy.weight": [1, 9]}}, [2]),
        ({"grid": {}, "tune": {"backbone": [{"name": "gcn", "hidden": 4}, "gin"], "train.lr": [1, 2]}}, [4]),
        (
            {"grid": {"strategy": ["teddy", "imp"]}, "include": [{"strategy": {"name": "teddy", "weight": 1}}]},
            [4, 2, 4],
        ),
    ],
)
def test_every_configuration_of_a_method_is_counted_once(tree, tried):
    points = loaded({**TREE, **tree}).points
    assert [point.n_configs for point in points] == tried


def test_what_two_experiments_try_is_counted_once():
    (point,) = loaded({**TREE, "grid": {}, "tune": {"train.lr": [0.1, 0.2, 0.3]}}).points
    one, two, three = point.candidates
    made = counted([replace(point, candidates=(one, two)), replace(point, candidates=(two, three))])
    assert [each.n_configs for each in made] == [3, 3]


def test_the_same_candidates_are_one_experiment_with_the_seeds_and_controls_of_both():
    grid = loaded({**TREE, "grid": {"seeds": [[0], [1]], "controls": [["mlp"], ["dense"]]}})
    for candidate in grid.points[0].candidates:
        for seed, level in ((s, n) for s in grid.tune_seeds for n in (0, 1, 3)):
            note(candidate, seed, level, candidate.config.train.lr)
    (point,) = tune.chosen(grid, tune.choices(grid, OUT)).points
    assert (point.config.seeds, [piece.name for piece in point.config.controls]) == ((0, 1), ["mlp", "dense"])
    assert point.config.train.lr == 0.05 and not point.candidates and point.n_configs == 2


def test_an_override_is_for_every_candidate():
    assert not any(point.candidates for point in loaded(TREE, "train.lr=0.2").points)


@pytest.mark.parametrize(
    "tree, says",
    [
        ({"tune": ["train.lr"]}, "tune = ['train.lr'] is not a mapping"),
        ({"tune": {"train.lr": 0.1}}, "tune: train.lr = 0.1 is not a list of values, e.g. train.lr: [0.1]"),
        ({"tune": {"train.lr": []}}, "tune: train.lr = [] is not a list"),
        ({"tune": {"seeds": [1, 2]}}, "tune: 'seeds' cannot be chosen: give options of backbone, strategy and train"),
        ({"tune": {"dataset": ["cora"]}}, "tune: 'dataset' cannot be chosen"),
        ({"tune": {"schedule.levels": [[1], [2]]}}, "tune: 'schedule.levels' cannot be chosen"),
        ({"tune": {"strategy.edge_l1": [0.1]}}, "teddy strategy.edge_l1=0.1: config: strategy 'teddy': unknown option"),
        ({"tune": {"strategy": ["imp"]}}, "axis 'strategy' is under grid and under tune: leave it in one of them"),
        ({"include": [{"train.lr": 1}]}, "axis 'train.lr' is under include and under tune"),
        ({"exclude": [{"train.lr": 0.05}]}, "exclude: unknown axis 'train.lr'"),
        (
            {"tune": {"train.inductive": [True, False]}},
            "and 'train.inductive=false' differ in track",
        ),
        ({"grid": {}, "tune": {"strategy": ["teddy", "dense"]}}, "differ in levels, and cannot be compared"),
        (
            {"grid": {"strategy.weight": [1]}, "tune": {"strategy.distil": ["all", "held_out"]}},
            "differ in track (a teacher on validation nodes, or none), and cannot be compared: put what",
        ),
        ({"grid": {"strategy": ["teddy", "dense"]}}, "tune: dense has no level to compare candidates at: exclude it"),
        ({"tune_seeds": [1, 5]}, "teddy: seed 1 is one of those that candidates are compared on, [1, 5]: take other"),
        ({"tune_seeds": 5}, "tune_seeds = 5: give a list of different numbers"),
        ({"tune_seeds": [100, 100]}, "tune_seeds = [100, 100]: give a list of different numbers"),
        ({"tune_seeds": [-1]}, "tune_seeds = [-1]: give a list"),
        ({"tune": {}}, "tune_seeds = [100, 101] without tune"),
    ],
)
def test_a_mistake_in_the_file_is_one_line(main, tree, says):
    code, out, err = main("sweep", written({**TREE, **tree}))
    assert (code, out) == (2, "") and says in one_line(err)
    assert not OUT.exists()


def test_seeds_of_the_choice_are_no_experiments(main):
    code, _, err = main("sweep", written(TREE), "-o", "seeds=[7, 101]")
    assert code == 2 and "seed 101 is one of those that candidates are compared on" in one_line(err)


# --- the two phases


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The sweep by one worker, in this process: its folder of runs."""
    from glt.sweeps.backends import run_units
    from glt.sweeps.work import Place

    folder = tmp_path_factory.mktemp("alone")
    grid = Grid.load(written(TREE, folder / "it.yaml"))
    runs = folder / "runs"
    run_units(tune.trials(grid, runs), Place(runs / "it", "first"), "sequential")
    found = tune.choices(grid, runs)
    tune.write(grid, found, runs)
    run_units(units_of(tune.chosen(grid, found), runs), Place(runs / "it", "then"), "sequential")
    return runs / "it"


def same(folder, other):
    return all(steady(of(folder)) == steady(of(other)) for of in (candidates, results)) and told(folder) == told(other)


def test_what_validates_best_is_run_on_the_sweeps_own_seeds(main, alone):
    code, out, err = main("sweep", written(TREE), *ALONE)
    assert code == 0 and same(FOLDER, alone)
    tried = steady(candidates())
    for experiment in told()["experiments"]:
        means = {
            one["config_id"]: sum(r["val"] for k, r in tried.items() if k[0] == one["config_id"] and k[2]) / 4
            for one in experiment["candidates"]
        }
        assert experiment["config_id"] == max(means, key=means.get)
        assert [one["val"] for one in experiment["candidates"]] == pytest.approx(list(means.values()))
        name = f"{experiment['chosen']}, of 2"
        assert f"{experiment['experiment']}: chosen is {name}" in err
        (row,) = [line for line in out.splitlines() if line.strip().startswith(experiment["experiment"])]
        assert name in row
    ids = {experiment["config_id"] for experiment in told()["experiments"]}
    assert {(r["config_id"], r["seed"], r["n_configs"]) for r in results()} == {(i, s, 2) for i in ids for s in (0, 1)}
    assert {r["seed"] for r in candidates()} == {100, 101} and not any("n_configs" in r for r in candidates())
    assert told()["seeds"] == [100, 101]
    calls = {(line["invocation"], line["unit"].split("-seed")[1] in ("100", "101")) for line in ends()}
    assert len(calls) == 2 == len(dict(calls)), "progress is of one phase at a time"


def test_dense_trainings_and_scores_are_shared_by_candidates_too(monkeypatch, main):
    seen, scored = [], []
    teddy = registry.get("scorers", "teddy")
    score = teddy.__call__
    monkeypatch.setattr(teddy, "__call__", lambda *a, **k: scored.append(1) or score(*a, **k))
    monkeypatch.setattr(
        Status, "__call__", lambda self, seed, phase, epoch, val: seen.append((phase, seed)) if epoch == 1 else None
    )
    tree = {**TREE, "tune": {"strategy.weight": [1, 2]}}
    assert main("sweep", "-q", written(tree), *ALONE)[0] == 0
    times = Counter(seed for phase, seed in seen if phase == "dense")
    assert times == {100: 1, 101: 1, 0: 1, 1: 1}, "of two experiments, of two candidates each"
    assert len(scored) == 1, "of one graph, in both phases"


def test_the_number_of_workers_does_not_matter(main, alone):
    assert main("sweep", "-q", written(TREE), "--workers", "2")[0] == 0
    assert same(FOLDER, alone)


def test_a_sweep_that_was_killed_between_the_phases_goes_on(main, monkeypatch, alone):
    works = command.work_on

    def killed(units, *args):
        if units[0].seed in (0, 1):
            raise KeyboardInterrupt
        return works(units, *args)

    with monkeypatch.context() as patch:
        patch.setattr(command, "work_on", killed)
        assert main("sweep", "-q", written(TREE), *ALONE)[0] == 130
    assert not list(results()) and steady(candidates()) == steady(candidates(alone))
    before = list(candidates())
    (FOLDER / "chosen.json").write_text('{"seeds": [], "exp')  # nobody reads it
    assert main("sweep", "-q", written(TREE), *ALONE)[0] == 0
    assert same(FOLDER, alone) and list(candidates()) == before


def test_a_sweep_that_was_killed_at_its_candidates_goes_on(main, monkeypatch, alone):
    done = []

    def killed(unit, place):
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(unit)
        return work.work(unit, place)

    with monkeypatch.context() as patch:
        patch.setattr("glt.sweeps.backends.work", killed)
        assert main("sweep", "-q", written(TREE), *ALONE)[0] == 130
    assert len(steady(candidates())) == 3 * 3 and not (FOLDER / "chosen.json").exists()
    assert main("sweep", "-q", written(TREE), *ALONE)[0] == 0
    assert same(FOLDER, alone)


def test_nothing_is_repeated(main, monkeypatch):
    code, out, _ = main("sweep", "-q", "--json", written(TREE), *ALONE)
    before, tried = list(results()), list(candidates())
    assert code == 0 and [json.loads(line) for line in out.splitlines()] == before, "experiments alone"
    monkeypatch.setattr(work, "run", None)
    code, out, _ = main("sweep", "-q", "--json", written(TREE), *ALONE)
    assert code == 0 and [json.loads(line) for line in out.splitlines()] == before
    assert (list(results()), list(candidates())) == (before, tried)


def test_controls_are_those_of_the_experiment(main):
    tree = {**TREE, "grid": {}, "base": {**BASE, "controls": ["mlp"], "seeds": 1}}
    assert main("sweep", "-q", written(tree), *ALONE)[0] == 0
    assert {r.get("control") for r in results()} == {None, "mlp"} and {r["seed"] for r in results()} == {0}
    assert {r.get("control") for r in candidates()} == {None}


# --- failures


def failing(monkeypatch, name, bad):
    """Searches of a strategy fail where ``bad`` says so of their problem."""
    strategy = registry.get("strategies", name)
    tickets = strategy.tickets

    def search(self, problem, levels, start=None):
        if bad(problem):
            raise TrainingError("loss is NaN")
        return tickets(self, problem, levels, start)

    monkeypatch.setattr(strategy, "tickets", search)


def test_a_candidate_that_fails_counts_as_tried_and_is_not_chosen(main, monkeypatch):
    better = "train.lr=0.05"
    assert main("sweep", "-q", written(TREE), *ALONE, "--out", "whole")[0] == 0
    assert told(Path("whole/it"))["experiments"][0]["chosen"] == better, "were it not for its failure"
    with monkeypatch.context() as patch:
        failing(patch, "teddy", lambda problem: problem.seed == 101 and problem.recipe.lr == 0.05)
        code, out, err = main("sweep", written(TREE), *ALONE)
    teddy, random = told()["experiments"]
    assert code == 0 and "teddy train.lr=0.05 seed 101 level 1 failed: loss is NaN" in err
    assert teddy["chosen"] == "train.lr=0.0001" and teddy["candidates"][1]["val"] is None and teddy["n_configs"] == 2
    assert random["chosen"] == better and "train.lr=0.0001, of 2 (1 failed)" in out
    assert {r["n_configs"] for r in results()} == {2}
    assert main("sweep", "-q", written(TREE), *ALONE)[0] == 0, "and is tried again"
    assert told() == told(Path("whole/it"))


def test_when_all_fail_the_other_experiments_go_on(main, monkeypatch):
    with monkeypatch.context() as patch:
        failing(patch, "teddy", lambda problem: True)
        code, out, err = main("sweep", "-q", written(TREE), *ALONE)
    assert code == 1 and err == "teddy: all 2 candidates failed, see runs/it/tuning/candidates.jsonl\n"
    assert "none of 2 (2 failed)" in out
    teddy, random = told()["experiments"]
    assert (teddy["chosen"], teddy["config_id"], teddy["n_configs"]) == (None, None, 2)
    assert {r["config_id"] for r in results()} == {random["config_id"]} and len(list(results())) == 2 * 3
    before = {r["config_id"] for r in candidates() if r["status"] == "failed"}
    assert before == {one["config_id"] for one in teddy["candidates"]}
    assert main("sweep", "-q", written(TREE), *ALONE)[0] == 0, "given again, they are tried again"
    assert {r["config_id"] for r in results()} == {e["config_id"] for e in told()["experiments"]}


def test_nobody_comes_in_between_the_choice_and_its_experiments(main, monkeypatch):
    from filelock import FileLock, Timeout

    tries = []

    def meanwhile(*given):
        with pytest.raises(Timeout), FileLock(FOLDER / "sweep.lock", timeout=0):
            pass
        tries.append(given)

    monkeypatch.setattr(tune, "write", meanwhile)
    tree = {**TREE, "grid": {"strategy": ["random"]}, "tune_seeds": [100]}
    assert main("sweep", "-q", written(tree), *ALONE, "-o", "seeds=1")[0] == 0
    assert len(tries) == 1


def test_when_all_of_all_fail_that_is_all(main, monkeypatch):
    failing(monkeypatch, "teddy", lambda problem: True)
    code, out, err = main("sweep", "-q", written({**TREE, "grid": {}}), *ALONE)
    assert code == 1 and err.startswith("it: all 2 candidates failed") and "none of 2" in out
    assert not list(results())


# --- the dry run


def shown(main, *more):
    return json.loads(main("sweep", written(TREE), "--dry-run", "--json", *more)[1])


def test_the_plan_is_of_both_phases(main, alone):
    code, out, err = main("sweep", written(TREE), "--dry-run")
    assert (code, err) == (0, "") and not OUT.exists()
    assert "it, to choose on seeds 100, 101: 8 of 8 points to do" in out and "it: 4 of 4 points to do" in out
    assert "one of 2" in out and "teddy train.lr=0.05" in out
    before = shown(main)
    assert (before["units"], before["left"]) == (12, 12) and len(before["tuning"]) == 4
    assert [row["chosen"] for row in before["points"]] == [None, None]
    first = [point.candidates[0].config.id for point in loaded().points]
    assert [row["config_id"] for row in before["points"]] == first, "before it is known, the first"
    assert main("sweep", "-q", written(TREE), *ALONE)[0] == 0
    (FOLDER / "chosen.json").unlink()
    for file in (FOLDER / "results.jsonl",):
        file.unlink()
    after = shown(main, "--budget", "1h")
    assert [row["config_id"] for row in after["points"]] == [e["config_id"] for e in told(alone)["experiments"]]
    assert [row["chosen"] for row in after["points"]] == [e["chosen"] for e in told(alone)["experiments"]]
    assert [row["candidates"] for row in after["points"]] == [2, 2]
    assert after["left"] == after["fits"] == 4 and all(row["done"] == 2 for row in after["tuning"])
    assert after["seconds"] > 0, "what candidates took is known"
    assert "train.lr=0.05, of 2" in main("sweep", written(TREE), "--dry-run")[1]
    assert not (FOLDER / "chosen.json").exists(), "a dry run writes nothing"


# --- what others see of it


def test_candidates_are_no_entries_of_the_board(main):
    """Nor are they records of the results or the report, unless their file is given."""
    tree = {**TREE, "grid": {}, "base": {**BASE, "seeds": 1}}
    assert main("sweep", "-q", written(tree), *ALONE)[0] == 0
    (experiment,) = told()["experiments"]
    run = FOLDER / experiment["config_id"]
    assert list(FOLDER.glob("tuning/*/seed100/level01.safetensors"))
    assert sources([OUT]) == sources([FOLDER]) == [run]
    board = build([OUT])
    assert [row.config_id for row in board.rows] == [run.name] and not board.rejected
    assert board.rows[0].n_configs == 2
    code, out, _ = main("results", "--columns", "seed,config_id", "-o", "csv")
    assert code == 0 and set(out.split()[1:]) == {f"0,{run.name}"}
    assert "100," in main("results", FOLDER / "tuning" / "candidates.jsonl", "--columns", "seed,test", "-o", "csv")[1]
    from glt.report.collect import collect

    assert list(collect([OUT]).files) == [str(FOLDER / "results.jsonl")]
    assert collect([FOLDER / "tuning" / "candidates.jsonl"]).files
    assert main("leaderboard", "submit", FOLDER)[0] == 0


def test_candidates_that_were_tried_since_count_on_the_board(main):
    """The records of the experiment are not made again, and know of the earlier ones alone."""
    tree = {**TREE, "grid": {}, "base": {**BASE, "seeds": 1}}
    assert main("sweep", "-q", written(tree), *ALONE)[0] == 0
    more = {**tree, "tune": {"train.lr": [0.0001, 0.05, 0.0002]}}
    assert main("sweep", "-q", written(more), *ALONE)[0] == 0
    (experiment,) = told()["experiments"]
    assert experiment["chosen"] == "train.lr=0.05" and {r["n_configs"] for r in results()} == {2}
    assert of_run(FOLDER / experiment["config_id"]).n_configs == 3
