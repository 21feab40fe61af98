"""What the tests of the leaderboard share: a tiny run, and entries that somebody who knows how has tampered with."""

import hashlib
import json
import zipfile
from pathlib import Path

from cli_runs import CSBM, finished

from glt import ticket_file
from glt.leaderboard.entry import MANIFEST, RECORDS, pack, runs_under

BACKBONE = "{name: gcn, hidden: 8}"


def made(folder, levels, seeds, epochs=3, backbone=BACKBONE, strategy="teddy", name="tiny"):
    """The folder of a finished run on the usual path."""
    schedule = f"schedule={{name: geometric, graph_rate: 0.05, weight_rate: 0.1, levels: {levels}}}"
    options = ["-o", f"dataset={json.dumps(CSBM)}", "-o", f"backbone={backbone}", "-o", f"strategy={strategy}"]
    options += ["-o", schedule, "-o", f"train={{epochs: {epochs}, lr: 0.05}}", "-o", f"seeds={seeds}"]
    finished(folder, [*options, "-o", f"name={name}", "--out", "runs"])
    (run,) = runs_under(folder / "runs" / name)
    return run


def files_of(run, folder, **about):
    """The files of a run's entry: bytes by name."""
    target = Path(folder) / "entry.zip"
    pack(run, target, "tiny", **about)
    with zipfile.ZipFile(target) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def edited(files, header=None, tensors=None, records=None, only=""):
    """The entry with tickets and records changed, and every digest made right again.

    header(tree), tensors(by name), records(record) change in place; ``only``: tickets with this in their name.
    """
    files, digests = dict(files), {}
    for name in [name for name in files if name.endswith(".safetensors") and only in name]:
        path = Path("edited.safetensors")
        path.write_bytes(files[name])
        tree, parts = ticket_file.read(path)
        old = tree["digest"]
        for change, thing in ((header, tree), (tensors, parts)):
            if change:
                change(thing)
        digests[old] = ticket_file.write(path, {k: v for k, v in tree.items() if k != "digest"}, parts)
        files[name] = path.read_bytes()
        path.unlink()
    lines = [json.loads(line) for line in files[RECORDS].splitlines()]
    for record in lines:
        record["ticket_sha256"] = digests.get(record["ticket_sha256"], record["ticket_sha256"])
        if records:
            records(record)
    files[RECORDS] = "".join(json.dumps(record) + "\n" for record in lines).encode()
    return signed(files)


def signed(files):
    """``entry.json`` made to fit the files."""
    manifest = json.loads(files[MANIFEST])
    manifest["files"] = {n: hashlib.sha256(data).hexdigest() for n, data in files.items() if n != MANIFEST}
    return {**files, MANIFEST: json.dumps(manifest).encode()}


def zipped(files, path="bad.zip"):
    """A zip file of them."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return Path(path)
