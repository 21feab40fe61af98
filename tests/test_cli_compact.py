"""glt export and glt cost, through the real entry point."""

import json

import pytest
import torch
from test_cli import made, one_line, ticket  # noqa: F401 - fixtures

from glt.export import load
from glt.ticket import Ticket

pytestmark = pytest.mark.usefixtures("workplace")


def test_export_writes_reports_and_reloads(main, ticket, workplace):  # noqa: F811
    code, out, err = main("export", ticket, "-o", "model.safetensors", "--storage", "dense")
    assert (code, err) == (0, "")
    assert "convs.0.lin.weight: 8 x 30 -> " in out and "largest difference from the masked model" in out
    logits = load(workplace / "model.safetensors")()
    assert logits.shape == (120, 3) and bool(torch.isfinite(logits).all())
    code, out, _ = main("export", ticket, "-o", "bare.safetensors", "--no-graph", "--no-reorder", "--json")
    tree = json.loads(out)
    assert code == 0 and tree["error"] <= 1e-5 and tree["reordered"] is False
    assert tree["bytes"] < (workplace / "model.safetensors").stat().st_size


def test_cost_prints_a_table_or_json(main, ticket):  # noqa: F811
    code, out, err = main("cost", ticket)
    assert (code, err) == (0, "")
    assert out.splitlines()[0].split() == ["dense", "ticket", "compact"]
    assert "MACs of weights = " in out
    tree = json.loads(main("cost", ticket, "--json")[1])
    kept = sum(int(mask.sum()) for mask in Ticket.load(ticket).weight_masks.values())
    assert tree["macs"]["ticket"]["weights"] == 120 * kept


@pytest.mark.parametrize("command", [("export", "-o", "x.safetensors"), ("cost",)])
def test_a_missing_ticket_is_one_line(main, command):
    name, *rest = command
    code, _, err = main(name, "nowhere.safetensors", *rest)
    assert code == 2 and "there is no ticket" in one_line(err)


def test_a_name_that_cannot_be_written_is_refused_before_anything_is_read(main):
    code, _, err = main("export", "nowhere.safetensors", "-o", "model.pkl")
    assert code == 2 and "known: .safetensors, .pt2, .onnx" in one_line(err)
