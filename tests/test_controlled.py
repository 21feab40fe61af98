"""Running the controls of tickets, from Python and from a config: finished work is kept, mistakes are one line."""

from dataclasses import replace

import pytest
import torch

import glt
from glt.config import Config
from glt.errors import GltError
from glt.pipeline import Run, run
from glt.registry import build, names
from glt.results import Results
from glt.summary import summarise

CSBM = {"name": "csbm", "nodes": 120, "classes": 3, "features": 30, "avg_degree": 4}
FEW = ["mlp", "random"]


def config(*overrides, **options):
    sections = {
        "dataset": CSBM,
        "backbone": {"name": "gcn", "hidden": 8},
        "train": {"epochs": 3, "lr": 0.05},
        "seeds": 2,
        **options,
    }
    return Config.load(None, overrides, sections)


def records_of(folder, *overrides, **options):
    return list(run(Run.under(config(*overrides, **options), folder)))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    records_of(folder)
    return folder


@pytest.fixture
def tickets(made):
    for stale in made.rglob("controls.jsonl"):
        stale.unlink()
    return sorted(made.glob("run/*/seed*/level01.safetensors"))


@pytest.fixture
def fits(monkeypatch):
    """Every training from here on, by its phase."""
    phases, fit = [], glt.problem.fit

    def counted(*args, on_epoch=None, **kwargs):
        phases.append(kwargs)
        return fit(*args, on_epoch=on_epoch, **kwargs)

    for place in (glt.problem, glt.frozen):
        monkeypatch.setattr(place, "fit", counted)
    return phases


def refused(words, *args, **kwargs):
    with pytest.raises(GltError, match=words) as error:
        glt.controls(*args, **kwargs)
    assert "\n" not in str(error.value)


# --- from files


def test_every_control_of_every_ticket(tickets):
    result = glt.controls(tickets)
    assert {row.name for row in result.controls} == set(names("controls"))
    assert {row.seeds for row in result.controls} == {2} and not result.left_out
    assert {row.paired for row in result.controls} == {"42 test nodes"}
    loaded = [glt.Ticket.load(path) for path in tickets]
    assert result.ticket.test == pytest.approx(sum(t.metrics["test"] for t in loaded) / 2)
    file = tickets[0].parents[1] / "controls.jsonl"
    records = list(Results(file))
    assert [(r["seed"], r["control"]) for r in records] == [(s, c) for s in (0, 1) for c in names("controls")]
    for record in records:
        known = {"config_id", "method", "dataset", "backbone", "metric", "val", "test", "epoch", "avg_degree", "params"}
        assert known | {"isolated", "search_s", "ticket_sha256", "glt", "device", "threads", "config"} <= record.keys()
        assert (record["level"], record["method"], record["status"]) == (1, "teddy", "ok")
        assert record["track"] == ("none" if record["control"] in ("dense", "mlp") else "all")
    dense = next(r for r in records if r["control"] == "dense")
    assert dense["test"] == dense["dense_test"], "the very training of the run"


def test_a_control_is_measured_once(tickets, fits):
    first = glt.controls(tickets, which=FEW)
    count = len(fits)
    assert count == 2 * 3  # dense, mlp and random of both seeds
    assert glt.controls(tickets, which=FEW) == first
    assert len(fits) == count
    glt.controls(tickets, which=[*FEW, "same_edges"])
    assert len(fits) == count + 2 * 2


def test_an_interrupted_command_goes_on(tickets, fits):
    whole = glt.controls(tickets, which=FEW)
    file = tickets[0].parents[1] / "controls.jsonl"
    content = file.read_bytes()
    lines = content.splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:2]) + lines[2][:40])  # killed while the third was written
    fits.clear()
    again = glt.controls(tickets, which=FEW)
    assert again == whole
    assert len(fits) == 3  # of seed 1 alone: mlp, then dense, which teaches random


def test_another_ticket_at_the_same_place_is_controlled_anew(tickets, fits, tmp_path):
    path = tmp_path / "mine.safetensors"
    ticket = glt.Ticket.load(tickets[0])
    ticket.save(path)
    glt.controls(path, which=["mlp"])
    ticket.trained["convs.0.bias"] += 1
    ticket.save(path)
    fits.clear()
    glt.controls(path, which=["mlp"])
    assert len(fits) == 1
    assert len(list(Results(tmp_path / "controls.jsonl"))) == 2, "beside a ticket that is in no run's folder"


def test_a_ticket_that_boasts_is_measured(tickets, tmp_path):
    ticket = glt.Ticket.load(tickets[0])
    true = ticket.metrics["test"]
    ticket.metrics["test"] = 1.0
    ticket.save(tmp_path / "it.safetensors")
    assert glt.controls(tmp_path / "it.safetensors", which=["mlp"]).ticket.test == true


def test_a_training_that_fails_is_recorded_and_tried_again(tickets, monkeypatch):
    def fails(*args, **kwargs):
        raise glt.errors.TrainingError("the loss became nan")

    with monkeypatch.context() as patch:
        patch.setattr(glt.frozen, "fit", fails)
        result = glt.controls(tickets, which=["mlp"])
    assert result.controls == () and result.left_out == {"mlp": "the loss became nan"}
    file = tickets[0].parents[1] / "controls.jsonl"
    assert [r["status"] for r in Results(file)] == ["failed"] * 2
    assert glt.controls(tickets, which=["mlp"]).controls[0].seeds == 2


# --- from Python


def test_a_ticket_in_memory(sbm):
    model = build("backbones", {"name": "gcn", "hidden": 8})(8, 3)
    ticket = glt.find(model, sbm, 0.3, 0.5, recipe=glt.Recipe(epochs=3))
    state = torch.get_rng_state()
    result = glt.controls(ticket, sbm, model)
    assert torch.equal(torch.get_rng_state(), state)
    assert {row.name for row in result.controls} == set(names("controls")) - {"width_matched"}
    assert "width of this model is not known" in result.left_out["width_matched"]
    assert result.ticket.test == ticket.metrics["test"]
    mlp = next(row for row in result.controls if row.name == "mlp")
    assert mlp.weights == 512 * (8 + 3)


def test_whatever_weights_the_module_has_now(sbm):
    model = build("backbones", {"name": "gcn", "hidden": 8})(8, 3)
    ticket = glt.find(model, sbm, 0.3, 0.5, recipe=glt.Recipe(epochs=3))
    first = glt.controls(ticket, sbm, model, which=["dense", "same_edges"])
    before = {k: v.fill_(0.1).clone() for k, v in model.state_dict().items()}
    assert glt.controls(ticket, sbm, model, which=["dense", "same_edges"]) == first
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items()), "and it is not changed"
    dense = next(row for row in first.controls if row.name == "dense")
    assert dense.test == ticket.metrics["dense_test"]


def test_a_backbone_by_its_name_has_a_width(sbm):
    ticket = glt.find("mlp", sbm, 0.3, 0.5, recipe=glt.Recipe(epochs=2))
    assert not glt.controls(ticket, sbm, "mlp", which=["width_matched"]).left_out


def test_a_ticket_without_a_teacher_leaves_the_taught_mlp_out(sbm):
    ticket = glt.find("gcn", sbm, 0.3, 0.5, strategy={"name": "teddy", "weight": 0}, recipe=glt.Recipe(epochs=2))
    result = glt.controls(ticket, sbm, "gcn", which=["mlp", "mlp_distilled"])
    assert [row.name for row in result.controls] == ["mlp"]
    assert "no teacher" in result.left_out["mlp_distilled"]


def test_roc_auc_has_no_interval_over_nodes(sbm):
    sbm.y = sbm.y.clamp(max=1)
    ticket = glt.find("gcn", sbm, 0.3, 0.5, metric="roc_auc", recipe=glt.Recipe(epochs=2))
    result = glt.controls(ticket, sbm, "gcn", which=["mlp"])
    assert result.metric == "roc_auc" and result.controls[0].low is None
    assert "too few seeds" in result.sentence


# --- mistakes


def test_tickets_that_do_not_belong_together(tickets, sbm):
    one, two = (glt.Ticket.load(path) for path in tickets)
    refused("same seed 0", [one, one])
    refused("level 1 there, 2 here", [one, replace(two, config={**two.config, "level": 2})])
    refused("strategy .* there", [one, replace(two, config={**two.config, "strategy": {"name": "random"}})])
    refused("graph", [one, replace(two, fingerprint="0" * 64)])
    refused("level 0", tickets[0].with_name("level00.safetensors"))
    refused("without trained weights", replace(one, trained=None))
    refused("no ticket", [])
    refused("another graph", one, sbm)
    refused("does not fit", one, model=build("backbones", {"name": "gcn", "hidden": 9})(30, 3))


def test_a_ticket_of_a_users_own_model_needs_model_and_data(sbm):
    ticket = glt.find(build("backbones", "gcn")(8, 3), sbm, 0.3, 0.5, recipe=glt.Recipe(epochs=2))
    refused("does not name a built-in dataset.*glt.controls", ticket)
    refused("does not name a built-in backbone.*glt.controls", ticket, sbm)
    for part in ("train", "strategy"):
        bare = replace(ticket, config={key: value for key, value in ticket.config.items() if key != part})
        refused(f"by what {part} it was found.*glt.find", bare, sbm, model=build("backbones", "gcn"))


@pytest.mark.parametrize("which", ["mlp", 5, {"name": "mlp"}, None, ["mpl"], ["mlp", "mlp"], [{"name": "mlp", "x": 1}]])
def test_which_is_all_or_a_list(tickets, which):
    refused("control", tickets, which=which)


# --- from a config


def test_a_run_with_controls(tmp_path, fits):
    records = records_of(tmp_path, controls=["mlp", "dense"])
    assert [(r["seed"], r["level"], r.get("control")) for r in records] == [
        (seed, level, control) for seed in (0, 1) for level, control in ((0, None), (1, None), (1, "mlp"), (1, "dense"))
    ]
    assert list(Results(tmp_path / "run" / "results.jsonl")) == records
    count = len(fits)
    assert count == 2 * 3, "the dense training is done"
    assert records_of(tmp_path, controls=["mlp", "dense"]) == records
    assert len(fits) == count
    more = records_of(tmp_path, controls=["mlp", "dense", "random"])
    assert len(more) == len(records) + 2 and len(fits) == count + 2, "the dense training comes from its ticket"


def test_controls_added_later_leave_the_tickets_alone(tmp_path):
    plain = records_of(tmp_path)
    with_controls = records_of(tmp_path, controls="all")
    assert [r for r in with_controls if "control" not in r] == plain
    assert records_of(tmp_path) == plain, "and without them they are not shown"
    assert summarise(with_controls) == summarise(plain)


def test_both_ways_give_the_same(tmp_path):
    records = records_of(tmp_path, controls="all")
    paths = sorted(tmp_path.glob("run/*/seed*/level01.safetensors"))
    glt.controls(paths)
    alone = Results(next(tmp_path.rglob("controls.jsonl")))
    keys = ("seed", "control", "val", "test", "epoch", "weights", "edges", "right", "ticket_sha256", "config", "track")
    for one, two in zip([r for r in records if "control" in r], alone, strict=True):
        assert {k: one[k] for k in keys} == {k: two[k] for k in keys}


def test_controls_do_not_change_what_an_experiment_is():
    assert config(controls="all").id == config().id
    assert "controls" not in config(controls="all").spec()
    assert [c.name for c in config(controls="all").controls] == names("controls")
    assert config("controls=[{name: mlp, hidden: 5}]").controls[0].hidden == 5
    assert config().controls == ()


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("mlp", "a list"),
        ("none", "a list"),
        ("[mpl]", "did you mean 'mlp'"),
        ("[mlp, mlp]", "twice"),
        ("{name: mlp}", "a list"),
        ("[5]", "5"),
        ("[{name: random, sed: 1}]", "did you mean 'seed'"),
    ],
)
def test_a_mistake_in_the_list_is_told(value, words):
    with pytest.raises(GltError, match=words) as error:
        config(f"controls={value}")
    assert "\n" not in str(error.value)


def test_records_of_a_ticket_that_does_not_rewind_say_where_controls_start(tmp_path, fits):
    which = ["random", "same_weights", "reinitialised"]
    said = {"strategy": {"name": "oneshot", "rewind_to": "none"}, "seeds": 1, "controls": which}
    records = [r for r in records_of(tmp_path, **said) if r.get("control")]
    assert [r["start"] for r in records] == ["initial", "ticket", "anew"]
    fits.clear()
    assert len(records_of(tmp_path, **said)) == 5 and not fits, "they are finished"
    path = next(tmp_path.glob("*/results.jsonl"))
    path.write_text(path.read_text().replace('"start": "initial", ', ""))
    records_of(tmp_path, **said)
    assert fits, "one that does not say so started from trained weights"


def test_records_of_a_ticket_that_rewinds_need_not_say_it(tickets):
    glt.controls(tickets[:1], which=["random"])
    records = list(Results(tickets[0].parents[1] / "controls.jsonl"))
    assert records and not any("start" in record for record in records)
