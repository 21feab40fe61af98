"""``glt controls``, and ``controls:`` of ``glt run``, through the real entry point."""

import json
from pathlib import Path

import pytest
from cli_runs import finished, one_line, tiny

from glt import controlled
from glt.find import find
from glt.registry import names
from glt.results import Results
from glt.ticket import Ticket
from glt.train import Recipe

TINY = tiny(3, "--seeds", "3", "-q")
FEW = ("--control", "mlp", "--control", "random")


pytestmark = pytest.mark.usefixtures("workplace")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A finished run of three seeds: its folder."""
    return finished(tmp_path_factory.mktemp("made"), TINY)


@pytest.fixture
def tickets(made):
    for stale in made.rglob("controls.jsonl"):
        stale.unlink()
    return sorted(made.glob("runs/run/*/seed*/level01.safetensors"))


def test_one_table_and_one_sentence(main, tickets):
    code, out, err = main("controls", *tickets)
    assert code == 0
    lines = out.splitlines()
    assert lines[0].strip() == "csbm, gcn, teddy, level 1 and its controls (accuracy, %)"
    cells = {line.split()[0]: line.split() for line in lines if len(line.split()) > 6}
    assert {"ticket", *names("controls")} <= cells.keys()
    assert cells["ticket"][1:7] == ["40.0", "%", "59.8", "%", "106", "3"]
    assert cells["width_matched"][1:6] == ["0.0", "%", "0.0", "%", "99"]
    assert any("paired over 3 seeds" in line for line in lines)
    layers = next(i for i, line in enumerate(lines) if line.startswith("weights kept, %"))
    assert lines[layers].split()[3:] == ["convs.0.lin.weight", "convs.1.lin.weight"]
    pruned = {line.split()[0] for line in lines[layers + 1 :] if line.startswith("  ")}
    assert pruned == {"ticket", "degree", "random", "reinitialised", "same_weights", "shuffled", "shuffled_global"}
    assert sum(line.startswith("The ticket ") and line.endswith(".") for line in lines) == 1
    assert "…" not in out, "nothing is cut off"
    records = Path(lines[-1].removeprefix("records  "))
    assert len(list(Results(records))) == 3 * len(names("controls"))
    assert "val" in err and "error" not in err, "progress"


def test_json_and_quiet(main, tickets):
    code, out, err = main("controls", "-q", "--json", *FEW, *tickets[:2])
    assert (code, err) == (0, "")
    shown = json.loads(out)
    assert shown["tickets"] == [str(path) for path in tickets[:2]]
    assert {row["name"] for row in shown["controls"]} == {"mlp", "random"}
    assert {row["paired"] for row in shown["controls"]} == {"42 test nodes"}
    assert shown["ticket"]["weights"] == 106 and shown["sentence"].startswith("The ticket ")
    assert main("controls", "-q", "--json", *FEW, *tickets[:2])[1] == out


def test_interrupted_it_exits_with_130_and_goes_on(main, tickets, monkeypatch):
    original, done = controlled.measured, []

    def interrupted(*args):
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(1)
        return original(*args)

    with monkeypatch.context() as patch:
        patch.setattr(controlled, "measured", interrupted)
        code, out, err = main("controls", "-q", *FEW, *tickets)
    assert (code, out) == (130, "") and "Traceback" not in err
    file = Results(tickets[0].parents[1] / "controls.jsonl")
    before = list(file)
    assert len(before) == 3
    assert main("controls", "-q", *FEW, *tickets)[0] == 0
    assert list(file)[:3] == before and len(list(file)) == 6


def test_a_failed_training_exits_with_1(main, tickets, monkeypatch):
    ticket = Ticket.load(tickets[0])
    ticket.config["train"] = {"epochs": 3, "lr": 1e30}
    ticket.save("it.safetensors")
    code, out, err = main("controls", "-q", "--control", "mlp", "it.safetensors")
    assert code == 1 and err.startswith("seed 0 control mlp failed: ") and err.count("\n") == 1
    assert "No control" in out


def test_what_is_left_out_is_said(main, tickets):
    ticket = Ticket.load(tickets[0])
    ticket.config["strategy"] = {"name": "random"}
    ticket.save("it.safetensors")
    code, out, _ = main("controls", "-q", "--control", "mlp_distilled", "--control", "mlp", "it.safetensors")
    assert code == 0
    assert "left out  mlp_distilled: the ticket has no teacher" in out
    assert Path("controls.jsonl").is_file()


@pytest.fixture
def bad_files(workplace, tickets, sbm):
    find("gcn", sbm, 0.3, 0.5, recipe=Recipe(epochs=1)).save("own.safetensors")
    Path("garbage").write_bytes(b"no ticket")
    Path("folder").mkdir()
    (workplace / "one.safetensors").write_bytes(tickets[0].read_bytes())
    (workplace / "dense.safetensors").write_bytes(tickets[0].with_name("level00.safetensors").read_bytes())
    other = Ticket.load(tickets[1])
    other.config["backbone"] = {"name": "gcn", "hidden": 9}
    other.save("other.safetensors")
    bare = Ticket.load(tickets[1])
    bare.save("bare.safetensors", trained=False)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("none",), "there is no ticket none"),
        (("garbage",), "not a readable ticket"),
        (("folder",), "folder"),
        (("own.safetensors",), "does not name a built-in dataset"),
        (("one.safetensors", "other.safetensors"), "not of one experiment: backbone"),
        (("one.safetensors", "dense.safetensors"), "dense"),
        (("dense.safetensors",), "level 0"),
        (("one.safetensors", "one.safetensors"), "same seed 0"),
        (("other.safetensors",), "does not fit"),
        (("bare.safetensors",), "without trained weights"),
        (("one.safetensors", "--control", "mpl"), "did you mean 'mlp'"),
        (("one.safetensors", "--control", "mlp", "--control", "mlp"), "twice"),
        (("one.safetensors", "--device", "tpu"), "'tpu'"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(main, workplace, bad_files, args, words):
    before = sorted(workplace.rglob("*"))
    code, out, err = main("controls", *args)
    assert (code, out) == (2, "")
    assert words in one_line(err)
    assert sorted(workplace.rglob("*")) == before


def test_without_a_ticket_the_usage_is_shown(main):
    code, out, err = main("controls")
    assert (code, out) == (2, "") and err.startswith("Usage: ") and "TICKET" in err


def test_controls_are_listed(main):
    code, out, _ = main("list", "controls")
    assert code == 0 and all(f"\n  {name}  " in out for name in names("controls"))


# --- glt run


def test_a_run_shows_its_controls_beside_the_levels(main, made):
    out_folder = ("--out", made / "runs")
    code, out, err = main("run", *TINY, *out_folder, "-o", "controls=[dense, mlp, random, mlp_distilled]")
    assert (code, err) == (0, "")
    lines = [line.replace("│", " ").split() for line in out.splitlines()]
    places = {line[0]: i for i, line in enumerate(lines) if line}
    assert [line[:2] for line in lines if "dense" in line[:1]] == [["dense", "0.0"], ["dense", "(control)"]]
    dense = [line[:1] for line in lines].index(["dense"])
    assert dense < places["1"] < places["dense"] < places["mlp"] < places["random"]
    assert lines[places["mlp"]][1:5] == ["100.0", "%", "0.0", "%"]
    assert any(line[:4] == ["level", "1", "The", "ticket"] for line in lines)
    last = next(line for line in out.splitlines() if line.startswith("next"))
    assert last.endswith("level01.safetensors")


def test_a_run_counts_a_failed_control(main, monkeypatch):
    from glt.controls.mlp import MLP
    from glt.errors import TrainingError

    def fails(*args):
        raise TrainingError("the loss became nan")

    monkeypatch.setattr(MLP, "__call__", fails)
    code, out, err = main("run", *TINY, "--seeds", "1", "-o", "controls=[mlp, same_edges]")
    assert code == 1 and "same_edges" in out
    assert err == "seed 0 level 1 control mlp failed: the loss became nan\n"


def test_a_name_that_is_no_control_is_told_by_run(main, workplace):
    code, out, err = main("run", *TINY, "-o", "controls=[mpl]")
    assert (code, out) == (2, "") and "did you mean 'mlp'" in one_line(err)
    assert not list(workplace.iterdir())
