"""Comparisons of a ticket with its controls, by hand and against slow references."""

import itertools
import math

import numpy as np
import pytest

from glt.errors import GltError
from glt.intervals import bootstrap
from glt.paired import (
    bootstrap_few,
    compare,
    compare_levels,
    interval,
    label,
    pack,
    summarise_controls,
    unpack,
)


def record(seed, control, test, ticket=0.8, right=None, ticket_right=None, **changes):
    made = {
        "seed": seed,
        "level": 4,
        "control": control,
        "control_spec": {"name": control},
        "status": "ok",
        "metric": "accuracy",
        "graph_sparsity": 0.4,
        "weight_sparsity": 0.5,
        "edges": 60,
        "weights": 50,
        "val": test,
        "test": test,
        "last_test": test,
        "dense_test": 0.9,
        "right": right,
        "ticket_right": ticket_right,
    }
    about = {"graph_sparsity": 0.4, "weight_sparsity": 0.5, "edges": 60, "weights": 50, "val": ticket, "test": ticket}
    return {**made, **{f"ticket_{k}": v for k, v in about.items()}, **changes}


# --- intervals


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 1000])
def test_bits_are_packed_and_unpacked(length):
    bits = np.random.default_rng(length).random(length) < 0.5
    assert np.array_equal(unpack(pack(bits)), bits)


def test_the_node_interval_is_that_of_every_resample_there_is():
    values = np.array([1.0, 0.0, -1.0, 0.0, 1.0, 1.0])
    means = [np.mean(draw) for draw in itertools.product(values, repeat=6)]  # all 46,656, equally likely
    assert bootstrap_few(values) == pytest.approx(np.percentile(means, [2.5, 97.5]))


def test_the_node_interval_agrees_with_drawing_nodes_one_by_one():
    values = np.random.default_rng(1).choice([-1.0, -0.5, 0.0, 0.5, 1.0], size=300)
    rng = np.random.default_rng(2)
    means = [np.mean([values[rng.integers(300)] for _ in range(300)]) for _ in range(2000)]
    assert bootstrap_few(values) == pytest.approx(np.percentile(means, [2.5, 97.5]), abs=0.01)
    assert bootstrap_few(values) == pytest.approx(bootstrap(values), abs=0.005), "the one that draws indices"


def test_the_node_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    chances = [0.1, 0.75, 0.15]  # the ticket alone is wrong, both alike, the ticket alone is right
    truth, hits = 0.05, 0
    for _ in range(400):
        low, high = bootstrap_few(rng.choice([-1.0, 0.0, 1.0], size=500, p=chances), resamples=1000)
        hits += low <= truth <= high
    assert abs(hits / 400 - 0.95) < 3 * math.sqrt(0.95 * 0.05 / 400)


def test_intervals_are_the_same_every_time():
    values = np.random.default_rng(1).choice([-1.0, 0.0, 1.0], size=100)
    np.random.seed(1)
    first = bootstrap_few(values)
    np.random.seed(2)
    assert bootstrap_few(values) == first
    assert bootstrap_few(np.full(9, 0.25)) == (0.25, 0.25)


def test_three_seeds_are_paired_by_seed_and_fewer_over_nodes():
    ticket = [np.array([1, 1, 1, 0], dtype=bool), np.array([1, 1, 0, 0], dtype=bool), np.ones(4, dtype=bool)]
    control = [np.array([0, 1, 1, 0], dtype=bool), np.array([0, 1, 0, 1], dtype=bool), np.ones(4, dtype=bool)]
    gaps = np.array([t.mean() - c.mean() for t, c in zip(ticket, control, strict=True)])
    packed = [pack(c) for c in control], [pack(t) for t in ticket]
    assert interval(gaps, *packed) == (*bootstrap(gaps), "3 seeds")
    low, high, over = interval(gaps[:2], *(side[:2] for side in packed))
    assert over == "4 test nodes"
    assert (low, high) == bootstrap_few(np.array([1.0, 0.0, 0.0, -0.5])), "nodes, each the mean over seeds"


def test_no_interval_where_there_is_nothing_to_pair_over():
    assert interval(np.array([0.1]), [None], [None]) == (None, None, "")
    assert interval(np.array([0.1, 0.2]), [pack(np.ones(3, bool)), None], [pack(np.ones(3, bool))] * 2)[2] == ""


# --- rows and the sentence


def test_rows_by_hand():
    tests = {"mlp": (0.7, 0.72, 0.68), "random": (0.79, 0.85, 0.81)}
    tickets = (0.8, 0.82, 0.84)
    records = [record(s, name, t, tickets[s]) for name, by_seed in tests.items() for s, t in enumerate(by_seed)]
    result = compare(records)
    assert [row.name for row in result.controls] == ["random", "mlp"], "the best first"
    ticket, (random, mlp) = result.ticket, result.controls
    assert (ticket.test, ticket.spread, ticket.seeds) == (pytest.approx(0.82), pytest.approx(0.02), 3)
    assert (ticket.difference, ticket.low, ticket.high) == (0, None, None)
    assert random.difference == pytest.approx(0.01 / 3)  # of 0.01, -0.03, 0.03
    middle, wider = 0.01 / 3, 4.302653 / 1.959964 * 1.5**0.5  # of three seeds the least and the greatest, widened
    assert random.low == pytest.approx(middle + wider * (-0.03 - middle))
    assert random.high == pytest.approx(middle + wider * (0.03 - middle))
    assert (mlp.test, mlp.difference) == (pytest.approx(0.7), pytest.approx(0.12))
    assert mlp.low == pytest.approx(0.12 - wider * 0.02)
    assert (mlp.paired, mlp.weights, mlp.edges) == ("3 seeds", 50, 60)


def sentence(*records):
    return compare(records).sentence


def seeds(control, tests, **changes):
    return [record(s, control, t, **changes) for s, t in enumerate(tests)]


def test_the_sentence_says_what_the_interval_allows():
    better = sentence(*seeds("random", (0.7, 0.71, 0.72)), *seeds("mlp", (0.5, 0.5, 0.5)))
    assert better == (
        "The ticket beats the best control, random (test 71.0 %), by +9.0 points "
        "(95 % interval +6.3 to +11.7, paired over 3 seeds)."
    )
    unclear = sentence(*seeds("random", (0.79, 0.82, 0.78)))
    assert "is not shown to beat the best control, random" in unclear and "includes 0" in unclear
    worse = sentence(*seeds("random", (0.9, 0.91, 0.92)))
    assert "does not beat the best control, random" in worse and "falls behind it: -11.0 points" in worse
    level = sentence(*seeds("random", (0.8, 0.8, 0.8)))
    assert "is not shown to beat" in level and "includes 0" in level, "an interval that ends at 0 includes it"


def test_the_sentence_names_the_best_at_equal_sparsity_too():
    said = sentence(*seeds("dense", (0.9, 0.91, 0.92), weights=100, edges=100), *seeds("random", (0.7, 0.71, 0.72)))
    assert said.startswith("The ticket does not beat the best control, dense")
    assert "; of those with no more edges and weights, it beats the best, random (test 71.0 %), by +9.0" in said
    assert said.count(".") and said.endswith(").") and "\n" not in said
    assert "of those" not in sentence(*seeds("dense", (0.9, 0.9, 0.9), weights=100))


def test_one_seed_speaks_of_test_nodes_and_without_them_of_none():
    ticket, control = np.ones(50, bool), np.arange(50) < 30
    said = sentence(record(0, "mlp", 0.6, 1.0, pack(control), pack(ticket)))
    assert "beats" in said and "+40.0 points" in said and "paired over 50 test nodes" in said
    assert "too few seeds for an interval" in sentence(record(0, "mlp", 0.6, metric="roc_auc"))


def test_what_did_not_work_is_left_out_and_told():
    result = compare([record(0, "mlp", 0.6), record(0, "dense", 0, status="left out", error="not possible")])
    assert [row.name for row in result.controls] == ["mlp"]
    assert result.left_out == {"dense": "not possible"}
    nothing = compare([record(0, "dense", 0, status="failed", error="nan")])
    assert nothing.ticket.test == 0.8 and "No control" in nothing.sentence
    with pytest.raises(GltError):
        compare([])


def test_the_last_record_of_a_control_and_seed_counts():
    result = compare([record(0, "mlp", 0.1), record(0, "mlp", 0.6)])
    assert (result.controls[0].test, result.controls[0].seeds) == (0.6, 1)


def test_a_control_that_lacks_seeds_is_no_rival_of_those_that_have_them():
    lucky = [record(0, "mlp", 0.95)]
    whole = [record(seed, "random", 0.7) for seed in range(3)]
    result = compare([*lucky, *whole, record(1, "mlp", 0, status="failed", error="the loss became nan")])
    assert [(row.name, row.seeds) for row in result.controls] == [("random", 3), ("mlp", 1)]
    assert "the best control, random" in result.sentence
    assert result.left_out == {"mlp": "the loss became nan"}
    only = compare([*lucky, record(1, "mlp", 0, status="failed", error="the loss became nan")])
    assert only.sentence.startswith("No control has every seed of the ticket")


def test_what_failed_and_was_mended_is_not_left_out():
    result = compare([record(0, "mlp", 0, status="failed", error="killed"), record(0, "mlp", 0.7)])
    assert result.left_out == {}
    assert [row.name for row in result.controls] == ["mlp"]


def test_a_control_with_options_is_another_row():
    other = record(0, "mlp", 0.5, control_spec={"name": "mlp", "hidden": 4})
    assert label(other) == "mlp (hidden 4)"
    assert [row.name for row in compare([record(0, "mlp", 0.4), other]).controls] == ["mlp (hidden 4)", "mlp"]


def test_controls_of_a_run_by_level():
    records = [record(s, "mlp", 0.6, level=level) for s in range(3) for level in (5, 2)]
    records.append({"seed": 0, "level": 2, "status": "ok", "test": 0.9})
    assert list(compare_levels(records)) == [2, 5]
    (rows,) = summarise_controls(records).values()
    assert [(row.level, row.seeds, row.difference) for row in rows] == [(n, 3, pytest.approx(-0.3)) for n in (2, 5)]
