"""``glt leaderboard verify`` on entries of people who mean no good: one line, exit 1 or 2, and nothing is run."""

import json
import os
import pickle
import stat
import struct
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from entries import edited, files_of, made, signed, zipped

from glt.errors import GltError
from glt.leaderboard import jail
from glt.leaderboard.check import verify
from glt.leaderboard.entry import CONTROLS, MANIFEST, RECORDS
from glt.leaderboard.limits import LIMITS, NotVerified

pytestmark = pytest.mark.usefixtures("workplace")
TICKET = "tickets/seed0/level01.safetensors"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The files of an honest entry of two seeds."""
    folder = tmp_path_factory.mktemp("honest")
    return files_of(made(folder, [1], 2, epochs=2), folder)


def refused(files_or_path, code, *words, limits=LIMITS):
    """Verification ends in one line with these words, and this exit code."""
    path = zipped(files_or_path) if isinstance(files_or_path, dict) else files_or_path
    with pytest.raises(GltError) as error:
        verify(path, limits=limits)
    said = str(error.value)
    assert error.value.exit_code == code, said
    assert "\n" not in said and len(said) < 1000
    for word in words:
        assert word in said, said


def in_config(part, **options):
    """A change of every ticket's config."""

    def change(header):
        header["config"].pop("config_id", None)
        header["config"][part] = {**header["config"][part], **options}

    return change


def test_an_honest_entry_is_verified_as_a_zip_file_and_as_a_folder(files, tmp_path):
    found, said = verify(zipped(files))
    assert [(p.seed, p.level) for p in found.points] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert {v.status for v in said} <= {"ok", "noted", "unranked"}
    with zipfile.ZipFile("bad.zip") as archive:
        archive.extractall(tmp_path / "folder")
    assert verify(tmp_path / "folder")[0].points == found.points


# the container


def test_too_many_bytes_or_files_are_refused_before_they_are_unpacked(files, monkeypatch):
    bomb = {**files, "bomb.json": bytes(3_000_000)}
    refused(signed(bomb), 2, "1,000,000 bytes", limits=replace(LIMITS, bytes=10**6))
    many = {**files, **{f"x{i}.json": b"{}" for i in range(50)}}
    refused(signed(many), 2, "more than 20 files", limits=replace(LIMITS, files=20))


@pytest.mark.parametrize("declared", [10, 0])
def test_a_size_that_is_a_lie_ends_the_unpacking(files, declared):
    path = zipped({**files, "bomb.json": bytes(500_000)})
    data = bytearray(path.read_bytes())
    at = data.rindex(b"bomb.json") - 46  # of the central directory
    assert data[at : at + 4] == b"PK\x01\x02"
    data[at + 24 : at + 28] = struct.pack("<I", declared)
    path.write_bytes(data)
    refused(path, 2, "zip file")


@pytest.mark.parametrize(
    "name",
    [
        "../evil.json",
        "/etc/evil.json",
        "a/../../evil.json",
        "a\\evil.json",
        "C:/evil.json",
        ".hidden.json",
        "a//b.json",
    ],
)
def test_names_that_lead_elsewhere(files, name, tmp_path):
    refused({**files, name: b"{}"}, 2, "plain relative paths")
    assert not list(tmp_path.parent.glob("evil.json"))


@pytest.mark.parametrize("name", ["model.pt", "run.py", "data.pkl", "notes"])
def test_other_kinds_of_files(files, name):
    refused(signed({**files, name: b"x"}), 2, "only .json, .jsonl, .safetensors")


def test_links_and_special_files(files, tmp_path):
    path = zipped(files)
    with zipfile.ZipFile(path, "a") as archive:
        link = zipfile.ZipInfo("link.json")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    refused(path, 2, "a link")
    folder = tmp_path / "folder"
    with zipfile.ZipFile(zipped(files, "good.zip")) as archive:
        archive.extractall(folder)
    (folder / "link.json").symlink_to("/etc/passwd")
    refused(folder, 2, "a link")
    (folder / "link.json").unlink()
    os.mkfifo(folder / "pipe.json")
    refused(folder, 2, "special file")


def test_twice_the_same_name(files):
    path = zipped(files)
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr(RECORDS, b"")
    refused(path, 2, "twice")


@pytest.mark.parametrize("cut", [0, 3, 30, 0.5, -5])
def test_damaged_zip_files(files, cut, tmp_path):
    data = zipped(files).read_bytes()
    path = tmp_path / "cut.zip"
    path.write_bytes(data[: int(cut * len(data)) if isinstance(cut, float) else cut])
    refused(path, 2, "zip file")


def test_nothing_there(tmp_path):
    refused(tmp_path / "none.zip", 2, "no entry")
    refused(tmp_path, 2, MANIFEST)


# what it says of its files


@pytest.mark.parametrize(
    "text",
    [b"", b"[]", b"{", b"[" * 100_000, b'{"format": NaN}', b'{"format": 99, "name": "x", "files": {}}', b"\xff\xfe"],
)
def test_a_manifest_that_is_none(files, text):
    refused({**files, MANIFEST: text}, 2, "entry.json")


def test_files_that_are_not_those_of_the_manifest(files):
    refused({**files, TICKET: files[TICKET] + b" "}, 1, "sha256 differs")
    refused({**files, "more.json": b"{}"}, 1, "more.json")
    refused({name: data for name, data in files.items() if name != TICKET}, 1, TICKET)
    elsewhere = json.loads(files[MANIFEST])
    elsewhere["files"]["../../etc/shadow.json"] = "0" * 64
    refused({**files, MANIFEST: json.dumps(elsewhere).encode()}, 2, "plain relative paths")


def test_numbers_that_are_none_in_records(files):
    refused(signed({**files, RECORDS: files[RECORDS].replace(b'"test": 0', b'"test": NaN, "x": 0', 1)}), 2, "NaN")
    refused(signed({**files, RECORDS: b"[1]\n"}), 2, "records.jsonl line 1")
    refused(signed({**files, CONTROLS: b"{torn"}), 2, "controls.jsonl line 1")


def test_text_that_is_too_long(files):
    refused(
        signed({**files, RECORDS: files[RECORDS] + b"\n" * 300_000}), 2, "bytes", limits=replace(LIMITS, text=200_000)
    )


# the tickets


def test_nothing_is_unpickled(files, tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "evil"),)

    refused(signed({**files, TICKET: pickle.dumps(Evil())}), 2, "level01.safetensors")
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("length", [2**63, 2**40, 10**9])
def test_a_header_without_end(files, length):
    refused(signed({**files, TICKET: struct.pack("<Q", length) + files[TICKET][8:]}), 2, "header is larger")


def test_a_tensor_without_end(files):
    length = struct.unpack("<Q", files[TICKET][:8])[0]
    header = json.loads(files[TICKET][8 : 8 + length])
    header["edges"]["shape"] = [2**50]
    text = json.dumps(header).encode()
    refused(signed({**files, TICKET: struct.pack("<Q", len(text)) + text + files[TICKET][8 + length :]}), 2, "readable")


def test_a_ticket_changed_within(files):
    refused(signed({**files, TICKET: files[TICKET][:-4] + b"\1\2\3\4"}), 2, "changed after it was written")


def test_weights_that_are_not_finite(files):
    refused(edited(files, tensors=lambda t: t["trained/convs.0.bias"].fill_(float("nan"))), 1, "not finite")


def test_numbers_that_are_none_in_a_header(files):
    refused(edited(files, header=lambda h: h["metrics"].update(test=float("nan"))), 2, "NaN")


def test_another_graph(files):
    refused(edited(files, header=in_config("dataset", seed=1)), 1, "another graph")
    refused(edited(files, header=lambda h: h.update(fingerprint="0" * 64)), 1, "another graph")
    refused(edited(files, header=lambda h: h.update(undirected=False)), 1, "undirected = False")


def test_another_model(files):
    refused(edited(files, header=in_config("backbone", hidden=9)), 1, "level0")
    refused(
        edited(files, header=lambda h: h.update(format=2, initial={"widths": [10**9, 10**9], "seed": 0})), 1, "widths"
    )


@pytest.mark.parametrize("key", ["val", "test", "graph_sparsity", "weight_sparsity"])
def test_lying_tickets(files, key):
    refused(edited(files, header=lambda h: h["metrics"].update({key: 0.999})), 1, f"says {key} = 0.999")
    refused(edited(files, header=lambda h: h["metrics"].pop(key)), 1, f"does not say {key}")


@pytest.mark.parametrize("key", ["val", "test", "graph_sparsity"])
def test_lying_records(files, key):
    refused(edited(files, records=lambda r: r.update({key: 0.999})), 1, "the record of seed", f"says {key} = 0.999")
    refused(edited(files, records=lambda r: r.update({key: "0.5"})), 1, f"does not say {key}")


def test_records_that_belong_to_others(files):
    refused(edited(files, records=lambda r: r.update(ticket_sha256="0" * 64)), 1, "of another ticket")
    refused(edited(files, records=lambda r: r.update(level=7)), 1, "missing")


def test_matrices_without_a_mask_count_as_dense(files):
    def drop(tensors):
        tensors["trained/convs.1.lin.weight"] = torch.zeros(3, 8)
        del tensors["mask/convs.1.lin.weight"]

    with pytest.raises(NotVerified, match=r"says (weight_sparsity|test|val)"):
        verify(zipped(edited(files, tensors=drop, only="level01")))


def test_one_ticket_under_two_seeds(files):
    copied = {}

    def take(tensors):
        copied.update({k: v.clone() for k, v in tensors.items()})

    edited(files, tensors=take, only="seed0/level00")
    metrics = {}
    edited(files, header=lambda h: metrics.update(h["metrics"]), only="seed0/level00")
    twin = edited(
        files, header=lambda h: h.update(metrics=metrics), tensors=lambda t: t.update(copied), only="seed1/level00"
    )
    keys = ("val", "test")
    twin = edited(twin, records=lambda r: r.update({k: metrics[k] for k in keys}) if not r["level"] else None)
    refused(twin, 1, "seeds 0 and 1 have the same trained weights")


# the experiment that it names


@pytest.mark.parametrize(
    ("part", "options", "word"),
    [
        ("dataset", {"name": "coraa"}, "unknown dataset 'coraa'"),
        ("dataset", {"name": "../../etc"}, "unknown dataset"),
        ("backbone", {"name": "os.system"}, "unknown backbone"),
        ("strategy", {"name": "evil"}, "unknown strategy"),
        ("backbone", {"evil": 1}, "unknown option"),
        ("backbone", {"hidden": 10**9}, "1,000,000"),
        ("backbone", {"hidden": 10**6, "layers": 1000}, "GiB"),
        ("backbone", {"layers": 10**9}, "1,000"),
        ("backbone", {"hidden": 10**40}, "1,000,000"),
        ("backbone", {"name": "gat", "heads": 10**9}, "1,000"),
        ("dataset", {"nodes": 10**7, "avg_degree": 1000.0}, "GiB"),
        ("dataset", {"nodes": 10**7, "features": 10**6, "dense": True}, "GiB"),
        ("dataset", {"words": 10**12}, "GiB"),
        ("schedule", {"levels": 10**12}, "1,000"),
        ("schedule", {"levels": [10**12]}, "1,000"),
        ("train", {"epochs": float("inf")}, "Infinity"),
        ("train", {"epochs": 10**6}, "10,000"),
        ("train", {"lr": 10**400}, "not a number"),
    ],
)
def test_experiments_that_cannot_be_built(files, part, options, word):
    refused(edited(files, header=in_config(part, **options)), 2, word)


def test_downloads_are_nobody_elses_to_ask_for(files):
    change = lambda h: h["config"].update(dataset={"name": "ogbn-papers100m", "download": True})  # noqa: E731
    with pytest.raises(GltError) as error:
        verify(zipped(edited(files, header=lambda h: (h["config"].pop("config_id"), change(h)))))
    assert error.value.exit_code == 2


def test_experiments_that_are_no_one_experiment(files):
    refused(edited(files, header=in_config("train", epochs=9), only="seed1"), 1, "different experiments")
    refused(edited(files, header=lambda h: h["config"].update(config_id="0" * 12)), 1, "config_id")
    refused(edited(files, header=lambda h: h["config"].pop("backbone")), 2, "backbone")
    refused(edited(files, header=lambda h: h["config"].update(seed=0)), 1, "two tickets")
    refused(edited(files, header=lambda h: h["config"].update(seed="0")), 2, "not counts")
    refused(edited(files, header=lambda h: h["config"].update(seed=h["config"]["seed"] + 100)), 2, "seeds 0 to 9")


def test_a_compact_model_that_differs_is_rejected(files, monkeypatch):
    from glt.leaderboard import measure

    monkeypatch.setattr(measure, "difference", lambda *_: 2e-4)
    refused(files, 1, "2.0e-04", "1e-04")


# time


def test_time_is_limited(files):
    refused(files, 1, "of 4 tickets", "--seconds", limits=replace(LIMITS, seconds=1e-9))


def test_a_verification_that_does_not_end_is_ended(files, main, monkeypatch):
    monkeypatch.setattr(jail, "GRACE", 0.0)
    code, out, err = main("leaderboard", "verify", zipped(files), "--seconds", "0.2")
    assert (code, out) == (1, "") and err.count("\n") == 1 and "was ended" in err


def test_a_verification_that_is_ended_leaves_nothing_behind(files, monkeypatch, tmp_path):
    waits = "import tempfile, time; open(tempfile.mkdtemp() + '/entry', 'w').close(); print(flush=True); time.sleep(60)"
    true, left = jail.subprocess.run, []

    def run(command, **more):
        try:
            return true([command[0], "-c", waits], **more)
        finally:
            left.extend(Path(more["env"]["TMPDIR"]).rglob("entry"))

    monkeypatch.setattr(jail.subprocess, "run", run)
    monkeypatch.setattr(jail, "GRACE", 0.0)
    monkeypatch.setattr(jail.tempfile, "tempdir", str(tmp_path))
    with pytest.raises(NotVerified, match="was ended"):
        jail.verify_apart(zipped(files), None, replace(LIMITS, seconds=2.0))
    assert left, "something was there"
    assert not list(tmp_path.glob("glt-*")) and not left[0].exists()


def test_a_verification_that_breaks_off_is_told(files, main, monkeypatch):
    broken = jail.subprocess.CompletedProcess([], -9, stdout="", stderr="")
    monkeypatch.setattr(jail.subprocess, "run", lambda *_, **__: broken)
    code, out, err = main("leaderboard", "verify", zipped(files))
    assert (code, out) == (1, "") and err.count("\n") == 1 and "status -9" in err and "8 GiB" in err


def test_the_command_verifies_in_a_process_of_its_own(files, main):
    code, out, err = main("leaderboard", "verify", zipped(files), "--json", "--seconds", "0")
    said = json.loads(out)
    assert (code, err) == (0, "") and said["verified"] and len(said["points"]) == 4 and said["track"] == "open"


def test_the_command_says_why_not_in_one_line(files, main, monkeypatch):
    monkeypatch.setattr(jail, "verify_apart", jail.report)
    code, out, err = main("leaderboard", "verify", zipped({**files, "../x.json": b""}))
    assert (code, out) == (2, "") and err.startswith("bad.zip is NOT verified: ") and err.count("\n") == 1
