"""Records: appended whole, read back whatever happened."""

import json
import multiprocessing
import os

import pytest

from glt.errors import GltError
from glt.number import number
from glt.results import Results

ONE, TWO = {"seed": 0, "level": 1, "status": "ok"}, {"seed": 0, "level": 2, "status": "ok", "é": [1.5, None]}


@pytest.fixture
def results(tmp_path):
    return Results(tmp_path / "runs" / "it" / "results.jsonl")


def test_nothing_there_is_no_record(results):
    assert list(results) == []
    assert list(results.finished(seed=0)) == []
    assert not results.path.parent.exists(), "reading makes nothing"


def test_records_come_back_in_order(results):
    results.append(ONE)
    results.append(TWO)
    assert list(results) == list(Results(str(results.path))) == [ONE, TWO]
    assert [json.loads(line) for line in results.path.read_text().splitlines()] == [ONE, TWO]


def test_a_float_comes_back_to_the_bit(results):
    results.append({"test": 0.1 + 0.2, "status": "ok"})
    assert next(iter(results))["test"] == 0.1 + 0.2


@pytest.mark.parametrize(
    "torn",
    [b'{"seed": 0, "lev', b"{", b"\x00\x00\x00", b"\xc3", b'"text"', b"[1]", b"7", b"null"],
    ids=["half", "brace", "zeros", "half a letter", "string", "list", "number", "null"],
)
def test_a_torn_line_is_passed_over_and_the_next_record_starts_a_line(results, torn):
    results.append(ONE)
    with results.path.open("ab") as file:
        file.write(torn)
    assert list(results) == [ONE]
    results.append(TWO)
    assert list(results) == [ONE, TWO]
    assert results.path.read_bytes().splitlines()[1] == torn


def test_a_line_that_lacks_only_its_end_counts(results):
    results.append(ONE)
    results.path.write_bytes(results.path.read_bytes().rstrip())
    assert list(results) == [ONE]
    results.append(TWO)
    assert list(results) == [ONE, TWO]


def test_empty_lines_do_no_harm(results):
    results.append(ONE)
    results.path.write_bytes(b"\n\n" + results.path.read_bytes() + b"\r\n\n")
    assert list(results) == [ONE]


def test_of_a_point_the_last_finished_record_counts(results):
    for record in (
        {"seed": 0, "test": 1, "status": "ok"},
        {"seed": 0, "test": 2, "status": "ok"},
        {"seed": 0, "status": "failed"},
        {"seed": 1, "status": "failed"},
        {"seed": 2, "test": 3},
    ):
        results.append(record)
    assert [record["test"] for record in results.finished(seed=0)] == [1, 2]
    for fields in ({"seed": 1}, {"seed": 2}, {"seed": 0, "level": 1}):
        assert list(results.finished(**fields)) == []


def test_a_record_is_one_write(results, monkeypatch):
    lines, write = [], os.write
    monkeypatch.setattr(os, "write", lambda handle, line: lines.append(line) or write(handle, line))
    results.append(TWO)
    assert len(lines) == 1 and lines[0].endswith(b"\n") and lines[0].count(b"\n") == 1


def test_what_cannot_be_read_or_written_is_said(tmp_path):
    with pytest.raises(GltError, match="cannot read the results"):
        list(Results(tmp_path))
    with pytest.raises(GltError, match="cannot write the results"):
        Results(tmp_path).append(ONE)
    (tmp_path / "file").write_text("")
    with pytest.raises(GltError, match="cannot write the results"):
        Results(tmp_path / "file" / "results.jsonl").append(ONE)


def append_many(path, who, count):
    for i in range(count):
        Results(path).append({"who": who, "i": i, "filling": "x" * 3000, "status": "ok"})


def test_many_processes_append_whole_lines_though_some_are_killed(results):
    """Forked, not started anew: they do nothing else than append."""
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=append_many, args=(results.path, who, 40)) for who in range(6)]
    victim = context.Process(target=append_many, args=(results.path, "victim", 10**6))
    for process in (victim, *writers):
        process.start()
    for process in writers:
        process.join()
    victim.kill()
    victim.join()
    results.append(ONE)
    records = list(results)
    for who in range(6):
        assert [r["i"] for r in records if r.get("who") == who] == list(range(40))
    theirs = [r["i"] for r in records if r.get("who") == "victim"]
    assert theirs == list(range(len(theirs))) and records[-1] == ONE
    torn = [line for line in results.path.read_bytes().splitlines() if line and not line.endswith(b"}")]
    assert len(torn) <= 1, "the victim's last"


def test_records_by_a_text_that_they_hold(results):
    for record in (ONE, TWO, {"config_id": "abc", "seed": 0, "status": "ok"}):
        results.append(record)
    assert list(results.holding("abc")) == [{"config_id": "abc", "seed": 0, "status": "ok"}]
    assert list(results.finished(config_id="abc", seed=0)) and not list(results.finished(config_id="ab", seed=0))
    assert next(results.finished(config_id=None, level=1)) == ONE, "a field that is not there"


def test_a_line_is_found_wherever_the_text_is_in_it_and_once(results):
    twice, last = {"abc": 1, "of": "abc abc"}, {"seed": 1, "id": "abc"}
    for record in (ONE, twice, TWO, last):
        results.append(record)
    assert list(results.holding("abc")) == [twice, last] and list(results.holding("nowhere")) == []
    results.path.write_bytes(results.path.read_bytes().rstrip() + b'\n{"torn": "abc')
    assert list(results.holding("abc")) == [twice, last]
    assert list(results.holding("")) == list(results) == [ONE, twice, TWO, last]


def test_a_disk_that_takes_a_line_in_pieces(results, monkeypatch):
    write = os.write
    monkeypatch.setattr(os, "write", lambda handle, line: write(handle, line[:7]))
    results.append(TWO)
    assert list(results) == [TWO]


def test_a_disk_that_is_full_is_said(results, monkeypatch):
    def full(handle, line):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(GltError, match=r"cannot write the results .*No space left on device"):
        results.append(ONE)


@pytest.mark.parametrize("value", [None, True, "1", [], float("nan"), float("inf"), 10**400, -(10**400), 1e308])
def test_what_is_no_number_of_a_record(value):
    assert number(value) is None


@pytest.mark.parametrize("value", [0, -1, 0.5, 2**49])
def test_what_is_a_number_of_a_record(value):
    assert number(value) == value and isinstance(number(value), float)
