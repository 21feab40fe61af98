"""Running averages of batch normalisation go with the weights: into tickets, back to the start, into controls."""

import pytest
import torch
from reference.backbones import small

from glt.constraints import prunable_weights
from glt.controlled import problem_of
from glt.find import find
from glt.forward import Forward
from glt.registry import build, names
from glt.strategies.base import Taught
from glt.ticket import Ticket
from glt.train import Recipe, fit

RECIPE = Recipe(epochs=4, lr=0.05)


def backbone(norm="batch"):
    return small("gcn", norm=norm, layers=3, residual=True)


def found(data, strategy="teddy"):
    return find(backbone(), data, 0.4, 0.5, strategy=strategy, recipe=RECIPE)


def buffers(state):
    return {key: value for key, value in state.items() if "running" in key or "num_batches" in key}


@pytest.mark.parametrize("strategy", [name for name in names("strategies") if name != "dense"])
def test_a_ticket_holds_the_averages_of_its_best_epoch(strategy, sbm, tmp_path):
    ticket = found(sbm, strategy)
    ticket.save(tmp_path / "ticket.safetensors")
    again = Ticket.load(tmp_path / "ticket.safetensors")
    checks = again.verify(sbm, backbone()(8, 3)).checks
    assert len(checks) == 4 and all(check.stored == check.recomputed for check in checks)
    assert len(buffers(ticket.trained)) == 6
    assert ticket.trained["norms.0.num_batches_tracked"].dtype == torch.int64
    assert ticket.trained["norms.0.num_batches_tracked"] >= ticket.metrics["epoch"]
    for state in (again.trained, again.rewind(backbone()(8, 3)).state_dict()):
        want = ticket.trained if state is again.trained else ticket.initial
        assert all(torch.equal(value, want[key]) for key, value in buffers(state).items())
    assert not any("norms" in name for name in ticket.weight_masks)


@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_the_best_epoch_is_a_copy(norm, sbm):
    """Trained no further than the best epoch, the same averages; and logits are those of the state."""
    torch.manual_seed(0)
    model = backbone(norm)(8, 3)
    start = {key: value.clone() for key, value in model.state_dict().items()}
    sbm.y = torch.where(sbm.val_mask, (sbm.y + 1) % 3, sbm.y)  # the better it fits, the worse the validation
    long = fit(model, sbm, Recipe(epochs=12, lr=0.2))
    assert long.epoch < 12
    assert norm == "layer" or long.state["norms.0.num_batches_tracked"] == long.epoch
    restored = backbone(norm)(8, 3)
    restored.load_state_dict(long.state)
    assert torch.equal(Forward(restored, sbm).evaluate(), long.logits)
    restored.load_state_dict(start)
    short = fit(restored, sbm, Recipe(epochs=long.epoch, lr=0.2))
    assert all(torch.equal(value, long.state[key]) for key, value in short.state.items())


def test_controls_begin_with_fresh_averages(sbm):
    ticket = found(sbm)
    for name in ("reinitialised", "shuffled", "width_matched", "mlp"):
        made = build("controls", name)(problem_of(ticket, sbm, backbone(), RECIPE), ticket, Taught()).ticket
        assert len(buffers(made.initial)) == 6
        for key, value in buffers(made.initial).items():
            assert bool((value == float("running_var" in key)).all())
            assert not torch.equal(value, made.trained[key])


def test_norms_are_not_pruned():
    model = backbone()(8, 3)
    assert len(model.norms) == 2
    assert list(prunable_weights(model)) == [f"convs.{i}.lin.weight" for i in range(3)]
