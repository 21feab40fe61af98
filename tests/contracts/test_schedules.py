"""What every registered schedule promises."""

import pytest

from glt.errors import GltError
from glt.registry import build, names, spec_of
from glt.schedules.level import Level

EVERY_COMBINATION = {"grid"}  # its weight sparsity starts again in every row

VARIANTS = [
    *({"name": name} for name in names("schedules")),
    {"name": "geometric", "graph_rate": 0.2, "weight_rate": 0.0, "levels": 3},
    {"name": "geometric", "levels": [0, 5, 10]},
    {"name": "linear", "graph": 0.9, "weight": 0.0, "levels": 7},
    {"name": "oneshot", "graph": 0.0, "weight": 0.99},
    {"name": "grid", "graph": [0.6, 0.2], "weight": [0.0]},
    {"name": "grid", "graph": [0.5], "weight": [0.9, 0.1, 0.5]},
]


@pytest.fixture(params=VARIANTS, ids=lambda spec: "-".join(str(v) for v in spec.values()))
def schedule(request):
    return build("schedules", request.param)


def test_levels_grow_sparser(schedule):
    levels = list(schedule)
    assert levels
    graph = [level.graph_sparsity for level in levels]
    assert graph == sorted(graph)
    if schedule.name not in EVERY_COMBINATION:
        weight = [level.weight_sparsity for level in levels]
        assert weight == sorted(weight)


def test_sparsities_are_fractions_removed(schedule):
    for level in schedule:
        assert isinstance(level, Level)
        assert 0 <= level.graph_sparsity < 1
        assert 0 <= level.weight_sparsity < 1


def test_numbers_ascend(schedule):
    numbers = [level.number for level in schedule]
    assert numbers == sorted(set(numbers))
    assert all(isinstance(number, int) and number >= 0 for number in numbers)


def test_levels_can_be_gone_through_again(schedule):
    assert list(schedule) == list(schedule)
    first, second = iter(schedule), iter(schedule)
    assert next(first) == next(second)


def test_the_specification_builds_it_again(schedule):
    assert build("schedules", spec_of(schedule)) == schedule
    assert build("schedules", schedule) is schedule


def levels(**spec):
    return list(build("schedules", spec))


def test_the_twentieth_geometric_level_is_that_of_the_papers():
    last = levels(name="geometric")[-1]
    assert last.number == 20
    assert last.graph_sparsity == pytest.approx(1 - 0.95**20, abs=1e-12)  # 64.15 %
    assert last.weight_sparsity == pytest.approx(1 - 0.9**20, abs=1e-12)  # 87.84 %
    assert round(last.graph_sparsity, 4) == 0.6415
    assert round(last.weight_sparsity, 4) == 0.8784


def test_geometric_levels_can_be_named():
    some = levels(name="geometric", levels=[5, 10])
    assert [level.number for level in some] == [5, 10]
    every = levels(name="geometric")
    assert some == [every[4], every[9]]


def test_linear_steps_are_equal_and_end_at_the_target():
    steps = levels(name="linear", graph=0.6, weight=0.9, levels=3)
    assert [level.graph_sparsity for level in steps] == pytest.approx([0.2, 0.4, 0.6])
    assert [level.weight_sparsity for level in steps] == pytest.approx([0.3, 0.6, 0.9])
    assert steps[-1].graph_sparsity == 0.6


def test_oneshot_is_one_level():
    assert levels(name="oneshot", graph=0.3, weight=0.7) == [Level(1, 0.3, 0.7)]


@pytest.mark.parametrize(
    ("graph", "weight", "rounds"),
    [(0.64, 0.88, 20), (0.05, 0.2, 1), (0.0, 0.0, 1), (0.0, 0.36, 2), (0.0, 0.88, 10), (1 - 0.95**7, 0.1, 7)],
)
def test_an_iterative_strategy_gets_to_one_level_in_as_many_rounds_as_it_needs(graph, weight, rounds):
    """5 % of the edges and 20 % of the weights that are left go in a round, at most."""
    schedule = build("schedules", {"name": "oneshot", "graph": graph, "weight": weight})
    for strategy in ("ugs", "imp", "wd_glt"):
        assert schedule.levels(build("strategies", strategy)) == [Level(rounds, graph, weight)]
    assert schedule.levels(build("strategies", "teddy")) == [Level(1, graph, weight)]


def test_rounds_are_asked_for_of_strategies_that_have_them():
    schedule = build("schedules", {"name": "oneshot", "rounds": 3})
    assert schedule.levels(build("strategies", "ugs")) == [Level(3, 0.4, 0.6)]
    for strategy in ("teddy", "gebt", "random"):
        with pytest.raises(GltError, match=f"rounds = 3: strategy '{strategy}' finds a level at once"):
            schedule.levels(build("strategies", strategy))


def test_a_grid_has_every_combination_once_weights_fastest():
    found = levels(name="grid", graph=[0.5, 0.0], weight=[0.9, 0.1])
    assert [(level.graph_sparsity, level.weight_sparsity) for level in found] == [
        (0.0, 0.1),
        (0.0, 0.9),
        (0.5, 0.1),
        (0.5, 0.9),
    ]
    assert [level.number for level in found] == [1, 2, 3, 4]


@pytest.mark.parametrize("bad", [1.0, -0.1, float("nan"), 2.0])
def test_a_level_outside_the_range_quotes_the_value(bad):
    with pytest.raises(GltError, match=r"graph_sparsity .* is not in \[0, 1\)") as error:
        Level(1, bad, 0.5)
    assert repr(bad) in str(error.value)
    with pytest.raises(GltError, match="weight_sparsity"):
        Level(1, 0.5, bad)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"name": "geometric", "levels": 0}, "levels = 0"),
        ({"name": "geometric", "levels": -3}, "levels = -3"),
        ({"name": "geometric", "levels": []}, "levels = ()"),
        ({"name": "geometric", "levels": [10, 5]}, "levels = (10, 5)"),
        ({"name": "geometric", "levels": [5, 5]}, "levels = (5, 5)"),
        ({"name": "geometric", "levels": [-1, 2]}, "levels = (-1, 2)"),
        ({"name": "geometric", "graph_rate": 1.0}, "'graph_rate' = 1.0"),
        ({"name": "geometric", "weight_rate": -0.5}, "'weight_rate' = -0.5"),
        ({"name": "linear", "levels": 0}, "'levels' = 0"),
        ({"name": "linear", "graph": 1.0}, "'graph' = 1.0"),
        ({"name": "oneshot", "weight": 1.5}, "'weight' = 1.5"),
        ({"name": "oneshot", "graph": float("nan")}, "'graph' = nan"),
        ({"name": "grid", "graph": []}, "'graph' = []"),
        ({"name": "grid", "weight": [0.5, 1.0]}, "'weight.1' = 1.0"),
    ],
)
def test_a_bad_option_is_quoted_on_one_line(spec, said):
    with pytest.raises(GltError) as error:
        build("schedules", spec)
    assert said in str(error.value)
    assert "\n" not in str(error.value)
