"""What users import, and what the README says works."""

import functools
import importlib
import re
from pathlib import Path

import pytest
import torch

import glt
from glt.train import Recipe

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


@pytest.mark.parametrize("name", glt.__all__)
def test_every_public_name_is_there(name):
    assert getattr(glt, name) is not None


def test_public_names_are_in_order_and_told_once():
    assert sorted(set(glt.__all__)) == sorted(glt.__all__)
    exported = {}
    exec("from glt import *", exported)
    assert set(glt.__all__) <= set(exported)


def test_the_version_is_the_one_of_its_file():
    assert glt.__version__ == importlib.import_module("glt.version").__version__
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", glt.__version__)


def test_public_functions_and_classes_have_docstrings():
    for name in glt.__all__:
        value = getattr(glt, name)
        if callable(value):
            assert (value.__doc__ or "").strip(), name


def test_three_doors_and_none_needs_the_others(sbm):
    sub = glt.transforms.TeddySparsify(0.4)(sbm)
    assert sub.num_edges == round(0.6 * sbm.num_edges / 2) * 2

    model = torch.nn.Linear(8, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    handle = glt.project_weights(model, optimizer, sparsity=0.5)
    model(sbm.x).sum().backward()
    optimizer.step()
    assert int(model.weight.count_nonzero()) == 12
    handle.remove()

    ticket = glt.find("gcn", sbm, 0.4, 0.6, recipe=glt.Recipe(epochs=2))
    assert isinstance(ticket, glt.Ticket)
    assert ticket.apply(sbm).num_edges == sub.num_edges


def test_the_readme_has_examples():
    assert len(BLOCKS) >= 3


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.strip().splitlines()[0][:30])
def test_an_example_of_the_readme_runs(block, sbm, tmp_path, monkeypatch, capsys):
    """With its long trainings cut to two epochs."""
    model = glt.build("backbones", {"name": "gcn", "hidden": 8})(8, 3)
    short = functools.partial(Recipe, epochs=2)
    monkeypatch.setattr(glt.problem, "Recipe", short)
    monkeypatch.setattr(glt, "Recipe", lambda **options: Recipe(**{**options, "epochs": 2}))
    monkeypatch.chdir(tmp_path)
    glt.find(model, sbm).save("level10.safetensors")
    optimizer = torch.optim.Adam(model.parameters())
    exec(block, {"glt": glt, "torch": torch, "data": sbm, "model": model, "optimizer": optimizer})
    assert capsys.readouterr().out in ("", "True\n")
