"""What the tests of the command line share: a tiny experiment, a finished run of it, and the form of an error."""

import json
from pathlib import Path

import pytest
import yaml

from glt import allocator, cli

CSBM = {"name": "csbm", "nodes": 120, "classes": 3, "features": 30, "avg_degree": 4}


def tiny(epochs, *more):
    """Options of a run that takes a moment."""
    return [
        *("-o", f"dataset={json.dumps(CSBM)}", "-o", "backbone={name: gcn, hidden: 8}"),
        *("-o", f"train={{epochs: {epochs}, lr: 0.05}}", "--out", "runs", *more),
    ]


def finished(folder, options):
    """The folder, with a finished run in it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(allocator, "keep_freed_memory", lambda: None)
        with pytest.raises(SystemExit) as end:
            cli.cli.main(["run", "--quiet", *options], standalone_mode=False)
    assert not end.value.code
    return folder


def written(tree, path="it.yaml"):
    """The path of a YAML file."""
    Path(path).write_text(yaml.safe_dump(tree, sort_keys=False))
    return path


def by_point(records, volatile):
    """Every finished record by its point, without the fields that no two runs have in common."""
    found = {}
    for r in records:
        if r["status"] == "ok":
            key = r["config_id"], r["seed"], r["level"], json.dumps(r.get("control_spec"))
            assert key not in found, "a point is not repeated once done"
            found[key] = {k: v for k, v in r.items() if k not in volatile}
    return found


def one_line(err):
    """The one line of an error."""
    assert err.startswith("error: ") and err.count("\n") == 1 and err.endswith("\n"), err
    return err
