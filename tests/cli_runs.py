"""What the tests of the command line share: a tiny experiment, a finished run of it, and the form of an error."""

import json

import pytest

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


def one_line(err):
    """The one line of an error."""
    assert err.startswith("error: ") and err.count("\n") == 1 and err.endswith("\n"), err
    return err
