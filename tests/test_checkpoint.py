"""Checkpoints: one that is not whole, or not of this search, costs the rounds since the last level and no more."""

import pickle
import warnings

import pytest
import torch
from test_resume_iterative import experiment, stopped_at, tickets, told, trained, trainings  # noqa: F401 - a fixture

from glt.checkpoint import KEY
from glt.errors import GltWarning
from glt.problem import Problem
from glt.ticket import Ticket

STRATEGY = "ugs"  # what is in the file has the same form for all


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A finished run that nothing stopped: (records, ticket files)."""
    run = experiment(tmp_path_factory.mktemp("whole"), STRATEGY)
    return trained(run)[1], tickets(run)


@pytest.fixture
def stopped(tmp_path):
    """A run that was killed in the round after the one whose checkpoint is there."""
    run = experiment(tmp_path, STRATEGY)
    stopped_at(run, "masks 3", 2)
    return run


def passed_over(run, whole, *words):
    """The run says so in one line, goes on from the last level, and ends as ever."""
    with pytest.warns(GltWarning) as said:
        seen, records = trained(run)
    (text,) = (str(one.message) for one in said if one.category is GltWarning)
    assert "\n" not in text
    for word in ("search.safetensors", "rounds since the last level are repeated", *words):
        assert word in text
    assert seen == trainings(STRATEGY)[trainings(STRATEGY).index("masks 2") :]
    assert (records, tickets(run)) == whole


def test_a_whole_one_is_taken_without_a_word(stopped, whole):
    with warnings.catch_warnings():
        warnings.simplefilter("error", GltWarning)
        seen, records = trained(stopped)
    assert seen == trainings(STRATEGY)[trainings(STRATEGY).index("masks 3") :]
    assert (records, tickets(stopped)) == whole


class Bomb:
    def __reduce__(self):
        return pytest.fail, ("unpickled",)


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: whole[: len(whole) // 2],
        lambda whole: whole[:-1],
        lambda whole: b"",
        lambda whole: bytes(len(whole)),
        lambda whole: whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:],
        lambda whole: pickle.dumps(Bomb()),
    ],
    ids=["half", "a byte less", "empty", "zeros", "a bit flipped", "pickle"],
)
def test_a_torn_one_is_passed_over(stopped, whole, damage):
    path = stopped.checkpoint(0).path
    path.write_bytes(damage(path.read_bytes()))
    passed_over(stopped, whole)


def test_a_folder_in_its_place_hinders_nothing(stopped, whole):
    path = stopped.checkpoint(0).path
    path.unlink()
    path.mkdir()
    with pytest.warns(GltWarning) as said:
        _, records = trained(stopped)
    assert all("\n" not in str(one.message) for one in said)
    for text in ("passed over", "a search that is stopped now repeats its rounds"):
        assert any(text in str(one.message) for one in said)
    path.rmdir()
    assert (records, tickets(stopped)) == whole


def changed(run, change):
    """Write the checkpoint anew, as somebody else's."""
    path = run.checkpoint(0).path
    ticket = Ticket.load(path)
    change(ticket)
    ticket.save(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.config.update(config_id="0123456789ab"), "another experiment, 0123456789ab instead of"),
        (lambda t: t.config.update(seed=1), "another seed, 1 instead of 0"),
        (lambda t: t.config.pop("config_id"), "KeyError 'config_id'"),
        (lambda t: t.config.update(level="two"), "ValueError"),
        (lambda t: t.config.update(level=None), "TypeError"),
        (lambda t: t.versions.update(glt="99.0"), "another glt version, 99.0 instead of"),
        (lambda t: t.metrics[KEY].update(format=2), "another checkpoint format, 2 instead of 1"),
        (lambda t: t.metrics[KEY].pop("seconds"), "KeyError 'seconds'"),
        (lambda t: t.metrics.update({KEY: 1}), "TypeError"),
        (lambda t: t.metrics.pop(KEY), f"KeyError '{KEY}'"),
        (lambda t: setattr(t, "fingerprint", "f" * 64), "another graph, ffffffffffff instead of"),
        (lambda t: t.weight_masks.pop(next(iter(t.weight_masks))), "it masks other weights"),
        (lambda t: t.initial.update(more=torch.ones(3)), "this ticket does not fit"),
    ],
)
def test_that_of_another_search_or_version_is_passed_over(stopped, whole, change, words):
    changed(stopped, change)
    passed_over(stopped, whole, words)


def test_a_file_of_a_later_format_is_passed_over(stopped, whole, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("glt.ticket_file.FORMAT", 9)
        write = Ticket.save.__globals__["ticket_file"].write
        patch.setattr("glt.ticket_file.write", lambda path, header, parts: write(path, {**header, "format": 9}, parts))
        changed(stopped, lambda ticket: None)
    passed_over(stopped, whole, "ticket format 9", "upgrade glt")


def test_that_of_another_seed_does_not_lead_this_one(tmp_path):
    run = experiment(tmp_path, STRATEGY, "seeds=2")
    stopped_at(run, "masks 3", 2)
    one, two = (run.checkpoint(seed).path for seed in (0, 1))
    two.parent.mkdir()
    two.write_bytes(one.read_bytes())
    with pytest.warns(GltWarning, match="another seed, 0 instead of 1"):
        seen, _ = trained(run)
    assert seen == [*trainings(STRATEGY)[trainings(STRATEGY).index("masks 3") :], *trainings(STRATEGY)]


def problem_of(run):
    config = run.config
    return Problem(config.dataset(), config.backbone, config.train, config={**config.spec(), "config_id": config.id})


@pytest.mark.parametrize("peak", [None, 7.5])
def test_seconds_and_memory_come_back(stopped, peak):
    file, levels = stopped.checkpoint(0), stopped.config.levels
    ticket = Ticket.load(file.path)
    assert ticket.metrics.pop(KEY) == {"format": 1, "seconds": 8.0, "peak_mb": 9.0}
    ticket.seconds = 3.25
    file.write(ticket, peak)
    again, memory = file.read(problem_of(stopped), levels[:1], levels[1:])
    assert (again.seconds, memory, again.metrics) == (3.25, peak, ticket.metrics)


def test_it_lies_between_the_last_level_that_is_there_and_the_next(stopped):
    file, levels, problem = stopped.checkpoint(0), stopped.config.levels, problem_of(stopped)
    with warnings.catch_warnings():
        warnings.simplefilter("error", GltWarning)
        assert [file.read(problem, levels[:i], levels[i:]) is None for i in (0, 1, 2)] == [True, False, True]
        file.clear()
        file.clear()
        assert file.read(problem, levels[:1], levels[1:]) is None
