"""The leaderboard: built from runs and entries, through the real entry point."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from cli_runs import one_line
from entries import edited, files_of, made, signed, zipped

from glt.leaderboard import jail, rules
from glt.leaderboard.build import build
from glt.leaderboard.check import measured
from glt.leaderboard.claims import MANDATORY, claims, wanted
from glt.leaderboard.entry import CONTROLS, MANIFEST, of_run, read
from glt.leaderboard.kept import rows_of
from glt.leaderboard.limits import LIMITS
from glt.leaderboard.memory import Memory, measurer
from glt.leaderboard.ranking import Board, Row, as_json, one_each, ranked, weak_dense
from glt.leaderboard.render import at_equal_weights, render, verdict
from glt.leaderboard.scalars import LOSSES, Scalars
from glt.registry import names
from glt.results import Results
from glt.ticket import Ticket

pytestmark = pytest.mark.usefixtures("workplace")
LEVELS = "[1, 2, 3, 4, 5]"


@pytest.fixture(autouse=True)
def here(monkeypatch):
    """Packed entries are measured in this process: starting another takes seconds."""
    monkeypatch.setattr(jail, "row_apart", jail.row)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Two runs on the usual path, of three seeds: held out, and open."""
    folder = tmp_path_factory.mktemp("runs")
    made(folder, LEVELS, 3, strategy="{name: teddy, weight: 1.0, distil: held_out}", name="closed")
    made(folder, LEVELS, 3, strategy="{name: teddy, weight: 1.0, distil: all}", name="open")
    return folder


def run_of(place, name="closed"):
    (run,) = (p for p in (place / "runs" / name).iterdir() if p.is_dir())
    return run


@pytest.fixture(scope="module")
def closed(place):
    return measured(of_run(run_of(place)))


@pytest.fixture(scope="module")
def files(place):
    return files_of(run_of(place), place, n_configs=7, author="A. Uthor")


def control(point, name, test, **more):
    """A record of a control that keeps what the ticket keeps."""
    kept = {key: getattr(point, key) for key in ("graph_sparsity", "weight_sparsity", "edges", "weights")}
    about = {"control": name, "control_spec": {"name": name}, "seed": point.seed, "level": point.level}
    scored = {"val": 0.5, "test": test, "ticket_test": point.test, "ticket_sha256": point.sha256, "metric": "accuracy"}
    return {**about, **kept, **scored, "status": "ok", **more}


def all_controls(m, gap):
    return [control(p, name, p.test - gap) for p in m.points if p.level for name in wanted(m)]


# the board


def test_two_tracks_are_never_mixed_and_the_held_out_one_ranks(main, place):
    code, out, err = main("leaderboard", "build", place / "runs", "-q")
    assert (code, err) == (0, "") and "closed" in out and "board" in out
    board = json.loads(Path("leaderboard/leaderboard.json").read_text())
    assert [(row["track"], row["name"].split()[0]) for row in board["rows"]] == [
        ("held-out", "closed"),
        ("open", "open"),
    ]
    first, second = board["rows"]
    assert first["ranks"]["graph.area"] == 1 and len(first["ranks"]) == 2 * (1 + len(LOSSES)) and not second["ranks"]
    text = Path("leaderboard/LEADERBOARD.md").read_text()
    held_out, opened = text.index("## Held-out track"), text.index("## Open track")
    assert held_out < text.index("#### closed") < opened < text.index("#### open") < text.index("## Rejected")
    assert "controls missing: mlp, mlp\\_distilled, random, degree" in text


def test_every_number_is_the_ticket_s_own(place):
    board = build([run_of(place)])
    (row,) = board.rows
    for claim in row.claims:
        tickets = [Ticket.load(p) for p in run_of(place).glob(f"seed*/level{claim.level:02d}.safetensors")]
        assert claim.seeds == len(tickets) == 3
        assert claim.test == pytest.approx(sum(t.metrics["test"] for t in tickets) / 3)
        assert claim.graph_sparsity == pytest.approx(sum(t.graph_sparsity for t in tickets) / 3)
        assert claim.weight_sparsity == pytest.approx(sum(t.weight_sparsity for t in tickets) / 3)
        gaps = [t.metrics["test"] - t.metrics["dense_test"] for t in tickets]
        assert claim.difference == pytest.approx(sum(gaps) / 3)
        assert claim.search > 1 and claim.macs["ticket"]["weights"] < claim.macs["dense"]["weights"]
    assert build([run_of(place)]) == board, "deterministic"


def test_a_board_grows_by_what_is_measured_elsewhere(main, place):
    first, second = run_of(place), run_of(place, "open")
    main("leaderboard", "build", first, "-q", "-o", "grown")
    code, out, err = main("leaderboard", "build", second, "-q", "-o", "grown", "--update")
    assert (code, err) == (0, "") and "closed" in out and "open" in out
    grown = json.loads(Path("grown/leaderboard.json").read_text())
    main("leaderboard", "build", first, second, "-q", "-o", "at-once")
    assert grown == json.loads(Path("at-once/leaderboard.json").read_text())
    text = Path("grown/LEADERBOARD.md").read_text()
    assert text == Path("at-once/LEADERBOARD.md").read_text()
    assert "- trained: cpu: " in text and "- measured: cpu: " in text and "kernel " in text
    main("leaderboard", "build", second, "-q", "-o", "grown")
    assert len(json.loads(Path("grown/leaderboard.json").read_text())["rows"]) == 1, "without --update"


def test_what_is_measured_anew_takes_the_place_of_the_kept_row(place):
    row = build([run_of(place)]).rows[0]
    stale = replace(row, dense=0.1, val=0.0)
    moved = replace(stale, source="elsewhere")
    foreign = replace(moved, foreign=True, config_id="another")
    board = build([run_of(place)], earlier=[stale, moved, foreign])
    assert [found.source for found in board.rows] == [row.source, "elsewhere"] and board.rows[0].dense == row.dense


def test_what_rows_say_of_each_other_is_said_anew(tmp_path, place):
    better, worse = (replace(build([run_of(place)]).rows[0], val=val, source=str(val)) for val in (0.9, 0.8))
    both = ranked(one_each([better, replace(worse, config_id="other")]))
    assert both[0].unranked == "" and "validates better" in both[1].unranked
    file = tmp_path / "leaderboard.json"
    file.write_text(as_json(Board(tuple(both), ())))
    alone = rows_of(file)[1]
    assert alone.source == "0.8" and alone.unranked == "" and ranked(one_each([alone]))[0].ranks["graph.area"] == 1


@pytest.mark.parametrize("text", ["{", "[]", '{"rows": [{}]}', '{"rows": 3}', '{"rows": [3]}'])
def test_no_row_of_what_is_no_board_is_kept(main, place, text):
    Path("leaderboard").mkdir(exist_ok=True)
    Path("leaderboard/leaderboard.json").write_text(text)
    code, out, err = main("leaderboard", "build", run_of(place), "-q", "--update")
    assert (code, out) == (2, "") and "no board whose rows can be kept" in one_line(err)
    assert Path("leaderboard/leaderboard.json").read_text() == text


def edits(tree, **changes):
    tree["rows"][0] |= changes


HOSTILE = {
    "an unknown track": lambda tree: edits(tree, track="foo"),
    "no seed": lambda tree: edits(tree, seeds=0),
    "fewer": lambda tree: edits(tree, seeds=-1),
    "no scalars": lambda tree: edits(tree, scalars={}),
    "half of them": lambda tree: tree["rows"][0]["scalars"]["graph"].update(s={}),
    "odd latencies": lambda tree: [claim.update(latency_ms={"x": [1, 1, 1]}) for claim in tree["rows"][0]["claims"]],
    "no number": lambda tree: edits(tree, dense=float("nan")),
    "too large a number": lambda tree: edits(tree, dense=1e308),
    "a number that is none": lambda tree: edits(tree, val=10**400),
    "fewer than none tried": lambda tree: edits(tree, n_configs=-5),
    "a long name": lambda tree: edits(tree, name="x" * 10**6),
    "another release": lambda tree: tree.update(glt="99.0"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_board_that_was_tampered_with_is_one_line(main, place, what):
    run = run_of(place)
    main("leaderboard", "build", run, "-q", "-o", "odd")
    file = Path("odd/leaderboard.json")
    tree = json.loads(file.read_text())
    HOSTILE[what](tree)
    file.write_text(json.dumps(tree))
    code, out, err = main("leaderboard", "build", run_of(place, "open"), "-q", "-o", "odd", "--update")
    assert (code, out) == (2, "") and "leave out --update" in one_line(err)
    assert file.read_text() == json.dumps(tree)


def test_texts_of_kept_rows_are_shown_as_text(place):
    bad = "<script>[a](http://e)"
    row = replace(build([run_of(place)]).rows[0], config_id=bad, metric=bad)
    row = replace(row, verdicts=(replace(row.verdicts[0], rule=bad),), trained_by=bad, measured_by=bad)
    assert "<script>" not in render(Board((row,), ())) and "[a](" not in render(Board((row,), ()))


def test_a_packed_entry_is_one_row_however_often_a_board_is_updated(main, files):
    Path("entries").mkdir(exist_ok=True)
    zipped(files, "entries/mine.zip")
    for _ in range(2):
        code, _, err = main("leaderboard", "build", "entries", "-q", "-o", "often", "--update")
        assert (code, err) == (0, "")
        (row,) = json.loads(Path("often/leaderboard.json").read_text())["rows"]
        assert row["source"] == "entries/mine.zip" and row["ranks"]


def test_points_on_different_paths_or_levels_are_not_compared():
    def path(edges, weights, levels=(1, 5, 10)):
        return rules.path_of({k: (1 - (1 - edges) ** k, 1 - (1 - weights) ** k) for k in levels})

    assert path(0.05, 0.1) == "5 % of edges and 10 % of weights a level, levels 1, 5, 10"
    assert path(0.05, 0.2) == "5 % of edges and 20 % of weights a level, levels 1, 5, 10"
    assert path(0.05, 0.0, (1, 5)) == "5 % of edges a level, levels 1, 5"
    assert path(0.0, 0.2, (5,)) == "20 % of weights a level, level 5"
    assert rules.path_of({1: (0.2, 0.5), 2: (0.4, 0.98)}) == "on the usual grid, levels 1, 2"
    assert rules.path_of({1: (0.05, 0.1), 3: (0.3, 0.1)}) == rules.path_of({}) == ""
    claim = SimpleNamespace(level=1, graph_sparsity=0.05, weight_sparsity=0.1)
    one, other = row("a", 0.5, 0.0, claims=(claim,)), row("b", 0.6, 0.0, claims=())
    assert one.path == "5 % of edges and 10 % of weights a level, level 1" and other.path == ""
    assert [r.ranks["graph.area"] for r in ranked([one, other])] == [1, 1] and one.place == other.place


def test_multiply_adds_stand_beside_those_of_dense_counted_alike(place):
    """Features are sparse: their zeros count in ``ticket`` and ``dense``, and in neither of the compact forms."""
    (row,) = build([run_of(place)]).rows
    found = measured(of_run(run_of(place)), costs=True).levels()
    whole = [p.macs["compact"]["weights"] for p in found[0].values()]
    for claim in row.claims:
        assert claim.macs["dense_compact"]["weights"] == sum(whole) / 3
        assert claim.macs["compact"]["propagation"] < claim.macs["dense_compact"]["propagation"]
    dense = claims(measured(of_run(run_of(place)), costs=True), ())[0].macs
    assert dense["dense"] == found[0][0].macs["dense"] == found[0][0].macs["ticket"]
    text = render(build([run_of(place)]))
    assert "| MACs W + A | of dense | by dense kernels | of dense by these |" in text


def test_what_was_measured_is_kept_by_digest(place, monkeypatch):
    from glt.leaderboard import check

    first = build([run_of(place)], memory=Results("measured.jsonl"))
    with monkeypatch.context() as patch:
        patch.setattr(check, "measure", lambda *_, **__: pytest.fail("measured again"))
        again = build([run_of(place)], memory=Results("measured.jsonl"))
    assert render(again) == render(first)


@pytest.mark.parametrize(
    "change",
    [
        lambda line: line.pop("measurer"),
        lambda line: line.update(measurer="of other code"),
        lambda line: line["point"].pop("weights_id"),
        lambda line: line["point"].update(test="high"),
        lambda line: line.update(point=[1]),
        lambda line: line["point"].update(macs={}),
    ],
)
def test_what_another_version_or_nobody_measured_is_not_believed(closed, change):
    point = closed.points[0]
    tree = {**point.tree(), "macs": {"dense": {"weights": 1, "propagation": 1}}}
    line = {"glt": "0.1.0", "measurer": measurer(), "point": tree}
    results = Results("lines.jsonl")
    results.append(line)
    assert Memory(results, False).get(point.file_sha256) == replace(point, macs=tree["macs"])
    assert Memory(results, True).get(point.file_sha256) is None, "not timed"
    Path("lines.jsonl").unlink()
    change(line)
    results.append(line)
    assert Memory(results, False).get(point.file_sha256) is None


def test_a_digest_that_is_another_ticket_s_is_no_way_around_measuring(place, files):
    memory = Results("measured.jsonl")
    build([zipped(files, "good.zip")], memory=memory)
    bad = dict(files)
    for name in [name for name in bad if name.endswith(".safetensors")]:
        bad[name] = bad[name][:-4] + b"\1\2\3\4"  # the header still has the digest of the good one
    board = build([zipped(signed(bad), "bad.zip")], memory=memory)
    assert not board.rows and "changed after it was written" in board.rejected[0][1]


def test_entries_and_runs_stand_side_by_side_and_what_does_not_verify_is_listed(place, files):
    zipped(files, "good.zip")
    zipped(edited(files, header=lambda h: h["metrics"].update(test=0.999)), "liar.zip")
    zipped({**files, "x.json": b""}, "odd.zip")
    board = build([Path("good.zip"), Path("liar.zip"), Path("odd.zip"), run_of(place, "open")])
    assert [row.name for row in board.rows] == ["tiny", board.rows[1].name]
    assert board.rows[0].author == "A. Uthor" and board.rows[0].n_configs == 7 and board.rows[0].foreign
    reasons = dict(board.rejected)
    assert "says test = 0.999" in reasons["liar.zip"] and "x.json" in reasons["odd.zip"]
    text = render(board)
    assert "liar.zip: " in text and "*as recorded* by its author" in text


def test_packed_entries_are_measured_in_a_process_of_their_own(place, files, monkeypatch):
    path, memory = zipped(files, "good.zip"), Results("measured.jsonl")
    apart = jail._apart
    (inside,) = build([path]).rows
    monkeypatch.setattr(jail, "row_apart", lambda *a, **more: apart("row", *a, **{**more, "memory": str(memory.path)}))
    monkeypatch.setattr("glt.leaderboard.build.judge", lambda *_, **__: pytest.fail("judged here"))
    assert build([path], memory=memory).rows == (inside,)
    assert len(list(memory)) == 18, "what was measured there is kept here"
    (reason,) = dict(build([path], limits=replace(LIMITS, seconds=1e-6)).rejected).values()
    assert "tickets were measured" in reason or "was ended" in reason


NO_NUMBERS = [10**400, 1e308, -(10**30)]


@pytest.mark.parametrize("value", NO_NUMBERS)
def test_numbers_without_end_stop_nobody_else_s_board(place, files, value):
    lines = [json.dumps({**r, "edges": value, "test": value}) for r in all_controls(measured(of_run(run_of(place))), 0)]
    odd = edited(files, records=lambda r: r.update(search_epochs=value, last_test=value, search_s=value))
    zipped(signed({**odd, CONTROLS: "\n".join(lines).encode()}), "odd.zip")
    zipped(edited(files, records=lambda r: r.update(val=value)), "val.zip")
    zipped(edited(files, header=lambda h: h["metrics"].update(graph_sparsity=value)), "ticket.zip")
    board = build([Path("odd.zip"), Path("val.zip"), Path("ticket.zip")])
    (row,) = board.rows
    assert row.claims[0].search is row.claims[0].last is None and not row.claims[0].controls
    assert (
        "does not say val" in dict(board.rejected)["val.zip"] and "does not say" in dict(board.rejected)["ticket.zip"]
    )
    assert render(board)
    assert jail.report(Path("odd.zip"), None, LIMITS)["claims"][0]["search"] is None


def test_what_no_test_has_thought_of_stops_nobody_else_s_board(place, files, monkeypatch):
    from glt.leaderboard import judge

    true = judge.claims
    broken = lambda m, *a: 1 // 0 if m.entry.name.startswith("open") else true(m, *a)  # noqa: E731
    monkeypatch.setattr(judge, "claims", broken)
    board = build([run_of(place, "open"), run_of(place)])
    assert [row.name.split()[0] for row in board.rows] == ["closed"]
    assert "cannot be judged: ZeroDivisionError" in board.rejected[0][1]


def test_what_people_write_cannot_draw_on_the_board(place, files):
    evil = json.loads(files[MANIFEST])
    evil.update(name="a | b [x](http://e) <img>\n# top", author="*me*\u202e")
    zipped({**files, MANIFEST: json.dumps(evil).encode()}, "evil.zip")
    text = render(build([Path("evil.zip")]))
    assert (
        "<img>" not in text and "\n# top" not in text and "[x](" not in text.replace("\\[", "") and "\u202e" not in text
    )


def test_mistakes_are_one_line(main, tmp_path):
    assert "nothing at" in one_line(main("leaderboard", "build", "none")[2])
    (tmp_path / "empty").mkdir()
    assert "no entry and no run" in one_line(main("leaderboard", "build", "empty")[2])
    assert "no tickets" in one_line(main("leaderboard", "submit", "empty")[2])


def test_submit_packs_one_run_and_asks_for_the_configurations_tried(main, place):
    assert "2 experiments" in one_line(main("leaderboard", "submit", place / "runs")[2])
    code, out, err = main("leaderboard", "submit", run_of(place), "-o", "e.zip", "--name", "mine")
    assert code == 0 and "--n-configs" in err and "glt leaderboard verify e.zip" in out
    first = Path("e.zip").read_bytes()
    main("leaderboard", "submit", run_of(place), "-o", "e.zip", "--name", "mine")
    assert Path("e.zip").read_bytes() == first, "the same run gives the same file"
    with read(Path("e.zip")) as entry:
        assert entry.name == "mine" and len(entry.tickets) == len(entry.records) == 18 and entry.n_configs is None


# rules


def status(m, rule):
    return {v.rule: v for v in rules.verdicts(m)}[rule]


def test_rules_of_an_honest_run(closed):
    said = {v.rule: v.status for v in rules.verdicts(closed)}
    assert said == {
        **{"split": "noted", "seeds": "noted", "selection": "noted", "complete": "ok"},
        "dense": "ok",
        **{"points": "ok", "sparsity": "ok", "compact": "ok", "track": "ok"},
    }
    assert status(closed, "seeds").reason == "3 of 10 seeds"


def without(m, keep):
    return replace(m, points=tuple(p for p in m.points if keep(p)))


def test_rule_of_seeds(closed):
    assert status(without(closed, lambda p: p.seed != 1), "seeds").status == "unranked"
    twin = next(p.weights_id for p in closed.points if (p.seed, p.level) == (0, 3))
    points = tuple(replace(p, weights_id=twin) if (p.seed, p.level) == (2, 3) else p for p in closed.points)
    assert status(replace(closed, points=points), "seeds").status == "rejected"


def test_rule_of_completeness(closed):
    assert status(without(closed, lambda p: p.level or p.seed != 2), "complete").status == "rejected"
    assert status(without(closed, lambda p: (p.seed, p.level) != (2, 4)), "complete").status == "unranked"


@pytest.mark.parametrize(
    ("less", "word"),
    [
        ({"graph_sparsity": 0.2}, "lacks edges"),
        ({"weight_sparsity": 0.1}, "lacks weights"),
        ({"biases": 1}, "lacks biases"),
        ({"weighted": True}, "have weights"),
    ],
)
def test_rule_of_the_dense_model(closed, less, word):
    points = tuple(p if p.level else replace(p, **less) for p in closed.points)
    said = status(replace(closed, points=points), "dense")
    assert said.status == "rejected" and word in said.reason


@pytest.mark.parametrize(
    ("pairs", "found"),
    [
        ([(1 - 0.95**k, 1 - 0.8**k) for k in range(1, 6)], "ok"),
        ([(1 - 0.95**k, 0.0) for k in range(1, 6)], "ok"),
        ([(0.0, 1 - 0.9**k) for k in range(1, 6)], "ok"),
        ([(0.2, 0.5), (0.2, 0.8), (0.4, 0.98), (0.6, 0.0), (0.8, 0.95)], "ok"),
        ([(1 - 0.95**k, 1 - 0.8**k) for k in range(1, 5)], "unranked"),
        ([(0.1 * k, 0.1 * k) for k in range(1, 6)], "unranked"),
    ],
)
def test_rule_of_points(closed, pairs, found):
    point = closed.points[0]
    points = [
        replace(point, level=k, graph_sparsity=graph, weight_sparsity=weight)
        for k, (graph, weight) in enumerate(pairs, start=1)
    ]
    assert status(replace(closed, points=tuple(points)), "points").status == found


def test_tracks_follow_the_teacher(place, closed):
    opened = measured(of_run(run_of(place, "open")))
    assert (closed.taught, closed.track, opened.taught, opened.track) == ("held_out", "held-out", "all", "open")


def test_configurations_tried_are_those_stated_or_recorded(closed):
    entry = replace(closed.entry, n_configs=12)
    assert status(replace(closed, entry=entry), "selection").reason == "12 configurations tried"


# claims


@pytest.mark.parametrize(("gap", "mark"), [(0.05, "beats"), (0.0, "ties"), (-0.05, "loses")])
def test_a_claim_is_held_to_the_best_control_at_its_sparsity(closed, gap, mark):
    for claim in claims(closed, all_controls(closed, gap)):
        assert claim.mark == mark and not claim.missing
        assert claim.against == pytest.approx((gap, gap, gap), abs=1e-9)
        assert verdict(claim).startswith(mark)


def test_denser_controls_are_no_rivals(closed):
    records = all_controls(closed, 0.05)
    records += [control(p, "random", p.test + 0.3, edges=p.edges + 1) for p in closed.points if p.level == 1]
    assert claims(closed, records)[0].best != "random"
    extra = [control(p, "same_edges", p.test + 0.3) for p in closed.points if p.level == 1]
    assert claims(closed, [*all_controls(closed, 0.05), *extra])[0].mark == "beats", "not a mandatory one"


def test_missing_controls_are_named(closed):
    few = [
        r for r in all_controls(closed, 0.05) if r["control"] != "random" and (r["control"], r["seed"]) != ("mlp", 2)
    ]
    left = control(closed.points[1], "random", 0.5, status="left out", error="no network fits")
    claim = claims(closed, [*few, left])[0]
    assert claim.missing == ("mlp", "random (no network fits)")
    assert claim.mark == "", "nobody knows what those would have said"
    assert verdict(claim) == "controls missing: mlp, random (no network fits)"


@pytest.mark.parametrize(
    "lie",
    [
        {"ticket_sha256": "0" * 64},
        {"ticket_test": 0.01},
        {"test": float("nan")},
        {"test": "0.1"},
        {"edges": None},
        {"seed": "0"},
        {"control_spec": "random"},
    ],
)
def test_controls_that_are_not_of_these_tickets_do_not_count(closed, lie):
    records = [{**r, **lie} if r["control"] == "random" else r for r in all_controls(closed, 0.05)]
    assert all("random" in claim.missing for claim in claims(closed, records))


def test_a_ticket_is_held_to_the_narrower_dense_network_too(closed):
    """With all its edges that is no rival at equal sparsity; at equal weights it is the one that counts."""
    records = [r for r in all_controls(closed, 0.05) if r["control"] != "width_matched"]
    narrow = [control(p, "width_matched", p.test + 0.1, edges=10**6) for p in closed.points if p.level]
    claim = claims(closed, [*records, *narrow])[0]
    assert (claim.mark, claim.narrow_mark) == ("beats", "loses") and claim.best != "width_matched"
    assert at_equal_weights(claim) == "loses: -10.0 [-10.0, -10.0]"
    wide = [{**r, "weights": r["weights"] + 1} for r in narrow]
    assert claims(closed, [*records, *wide])[0].narrow_mark == "", "more weights"
    less = claims(closed, [*records, *narrow[1:]])
    assert less[0].narrow_mark == "" and less[1].narrow_mark == "loses", "of another seed it is not known"
    said = claims(closed, [*records, *narrow], believed=False)[0]
    assert said.narrow_mark == "" and at_equal_weights(said).startswith("as recorded: -10.0")


def test_the_board_shows_its_controls(place, closed, monkeypatch):
    from glt.leaderboard import judge

    monkeypatch.setattr(judge, "claims", lambda m, *_: claims(m, all_controls(m, 0.05)))
    text = render(build([run_of(place)]))
    (claim, *_) = claims(closed, all_controls(closed, 0.05))
    kept = f"{claim.edges:,.0f} / {claim.weights:,.0f}"
    assert f"| 1 | {100 * claim.test:.1f} ({kept}) | {100 * claim.test - 5:.1f} ({kept}) |" in text
    header = next(line for line in text.splitlines() if line.startswith("| level | ticket"))
    assert [name.strip().replace("\\", "") for name in header.split("|")[3:-1]] == sorted(MANDATORY)
    assert text.count("| beats: +5.0 \\[") == 5


def test_controls_that_somebody_else_recorded_give_no_mark(place, files, closed):
    lines = [json.dumps(r) for r in all_controls(closed, 0.5)]
    path = zipped(signed({**files, CONTROLS: "\n".join(lines).encode()}), "low.zip")
    board = build([path])
    claim = board.rows[0].claims[0]
    assert claim.as_recorded and claim.mark == "" and not claim.missing and claim.against[0] == pytest.approx(0.5)
    assert verdict(claim).startswith("as recorded, ") and "+50.0" in verdict(claim)
    assert "beats" not in render(board) and "give no mark" in render(board)


def test_controls_of_others_are_trained_again_on_request(tmp_path):
    files = files_of(made(tmp_path, "[1]", 1, epochs=2), tmp_path)
    found = measured(of_run(run_of(tmp_path, "tiny")))
    lines = [json.dumps(r) for r in all_controls(found, 0.77)]
    path = zipped(signed({**files, CONTROLS: "\n".join(lines).encode()}), "low.zip")
    recorded, trained = (build([path], run_missing=again).rows[0].claims[0] for again in (False, True))
    assert not trained.as_recorded and not trained.missing and recorded.controls.keys() == trained.controls.keys()
    assert all(trained.controls[name][0] != recorded.controls[name][0] for name in trained.controls)


def test_bits_without_end_are_passed_over(closed):
    records = [{**r, "right": f"{10**15}:AAAA"} for r in all_controls(closed, 0.05)]
    assert claims(closed, records)[0].mark == "beats"


def test_mandatory_controls_are_registered():
    assert set(MANDATORY) < set(names("controls"))


def test_missing_controls_are_trained_on_request(tmp_path):
    run = made(tmp_path, "[1]", 1, epochs=2)
    before = build([run]).rows[0].claims[0]
    assert before.missing == MANDATORY, "teddy has a teacher"
    after = build([run], run_missing=True).rows[0].claims[0]
    assert not after.missing and {"random", "degree", "mlp"} <= set(after.controls)
    assert build([run]).rows[0].claims[0] == after, "kept beside the tickets"
    assert (run / CONTROLS).exists()


def test_biases_under_a_mask_are_counted_as_controls_count_them(tmp_path):
    run = made(tmp_path, "[1]", 1, epochs=2, strategy="{name: teddy, biases: true}")
    sparse = next(p for p in measured(of_run(run)).points if p.level)
    masks = Ticket.load(next(run.glob("seed0/level01*"))).weight_masks.values()
    assert sparse.weights == sum(int(mask.sum()) for mask in masks)
    matrices = [mask for mask in masks if mask.dim() == 2]
    assert sparse.weight_sparsity == 1 - sum(int(k.sum()) for k in matrices) / sum(k.numel() for k in matrices)
    assert sparse.biases == sum(int((~k).sum()) for k in masks if k.dim() == 1)


# ranks


def row(name, area, s, **more):
    curve = Scalars(area, 0.5, {points: s for points in LOSSES})
    about = {"source": name, "author": "", "foreign": False, "n_configs": None, "track": "held-out", "dataset": "cora"}
    about |= {"backbone": "gcn", "method": name, "split": "public", "metric": "accuracy", "config_id": name, "seeds": 3}
    about |= {"val": area, "dense": 0.8, "dense_spread": 0.0, "claims": (), "verdicts": ()}
    return Row(name, scalars={"graph": curve, "weight": curve}, **{**about, **more})


def test_ranks_by_each_scalar_with_ties_within_dataset_and_backbone():
    rows = ranked([row("a", 0.3, 0.4), row("b", 0.4, 0.4), row("c", 0.2, None), row("d", 0.1, 0.1, backbone="gat")])
    found = {r.name: r.ranks for r in rows}
    assert [r.name for r in rows] == ["d", "b", "a", "c"]
    assert (found["b"]["graph.area"], found["a"]["graph.area"], found["c"]["graph.area"]) == (1, 2, 3)
    assert found["a"]["graph.S_0"] == found["b"]["graph.S_0"] == 1 and "graph.S_0" not in found["c"]
    assert found["d"]["graph.area"] == 1


def test_a_dense_model_that_is_clearly_weaker_has_no_rank():
    """Of 3 seeds and a spread of 1 point (at least), two standard errors are 1.63 points."""
    weak, near = row("weak", 0.9, 0.9, dense=0.14, foreign=True), row("near", 0.5, 0.1, dense=0.785, foreign=True)
    strong = [row(name, 0.9, 0.9, dense=0.99, foreign=True) for name in ("x", "y", "z")]
    rows = {
        r.name: r for r in weak_dense([weak, near, row("ours", 0.4, 0.1), *strong, row("far", 0.1, 0.1, dense=0.7)])
    }
    assert [name for name, r in rows.items() if r.unranked] == ["weak", "far"], "nobody else's can put ours out"
    assert rows["weak"].unranked == "its dense model (14.0%) is clearly weaker than that of ours (80.0%)"
    assert [bool(r.unranked) for r in weak_dense([row("a", 1, 1, dense=0.1), row("b", 1, 1, backbone="gat")])] == [0, 0]
    assert weak_dense([weak, *strong])[0].unranked, "of nobody's own, the usual one"


def test_one_configuration_of_each_method_is_ranked_by_validation():
    rows = one_each([row("a", 0.3, 0.4, method="m"), row("b", 0.4, 0.4, method="m"), row("c", 0.2, 0.1, n_configs=9)])
    assert [(r.name, bool(r.unranked), r.tried) for r in rows] == [("a", True, 2), ("b", False, 2), ("c", False, 9)]


def test_the_same_experiment_twice_is_no_second_configuration():
    rows = one_each([row("a", 0.3, 0.4, method="m", config_id="x"), row("b", 0.3, 0.4, method="m", config_id="x")])
    assert [r.unranked for r in rows] == ["", "the same experiment as a"] and {r.tried for r in rows} == {None}
