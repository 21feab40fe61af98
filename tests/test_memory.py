"""Peak memory of a search of its own."""

import pytest
import torch
from test_pipeline import every, experiment

from glt import pipeline
from glt.memory import Peak, larger


def test_what_came_before_does_not_count():
    peak = Peak()
    torch.ones(50_000_000)  # 191 MB
    before = peak.mb()
    if before is None:
        pytest.skip("this system does not reset the peak")
    assert before - Peak().mb() > 150


def test_where_the_peak_cannot_be_reset_it_is_not_known(monkeypatch, tmp_path):
    monkeypatch.setattr("glt.memory.PROCESS", tmp_path / "gone")
    assert Peak().mb() is None


def test_on_cuda_it_is_the_devices(monkeypatch):
    asked = []
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: asked.append(device))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: asked.append(device) or 3 * 2**20)
    assert Peak("cuda:1").mb() == 3 and asked == [torch.device("cuda:1")] * 2


@pytest.mark.parametrize("one, other, expected", [(1, 2, 2), (3, 2, 3), (None, 2, None), (1, None, None)])
def test_the_larger_of_two(one, other, expected):
    assert larger(one, other) == expected


@pytest.mark.parametrize("strategy, said", [("random", [5, 3, 9, 4]), ("imp", [5, 3, 9, 9])])
def test_records_hold_the_peak_of_their_own_search(tmp_path, monkeypatch, strategy, said):
    """Of rounds the largest so far, also where a run goes on with those of another."""
    told = iter([5, 3, 9, 4])
    monkeypatch.setattr(pipeline, "Peak", lambda device: type("Told", (), {"mb": lambda self: next(told)})())
    run = experiment(tmp_path, "seeds=1", f"strategy={strategy}")
    assert [record["peak_mb"] for record in every(run)] == said
    if strategy == "imp":
        run.path(0, 3).unlink()
        told = iter([2])
        assert every(run)[-1]["peak_mb"] == 9


def test_of_trainings_at_once_it_is_not_known(tmp_path):
    run = experiment(tmp_path, "seeds=2", "strategy=random", "together=2")
    assert {record["peak_mb"] for record in every(run)} == {None}
