"""Entries of others in a process of its own, which is ended when its time is over or its memory is not enough."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from glt.errors import GltError
from glt.leaderboard.limits import Limits, NotVerified

GRACE = 15.0
"""Seconds beside the limit: for starting, and for ending by itself with a better message."""

FOLDERS = ("TMPDIR", "TEMP", "TMP")
"""By which a process is told where its temporary files go."""


def verify_apart(path: Path, root: Path | None, limits: Limits) -> dict[str, Any]:
    """What :func:`report` says, computed by another process.

    Raises:
        GltError: what it raised there, with its exit code; or it was ended.
    """
    return _apart("verify", path, root, limits)


def row_apart(
    path: Path, root: Path | None, limits: Limits, *, latency: bool, run_missing: bool, memory: Path | None
) -> dict[str, Any]:
    """What :func:`row` says, computed by another process.

    Raises:
        GltError: see :func:`verify_apart`.
    """
    more = {"latency": latency, "run_missing": run_missing, "memory": None if memory is None else str(memory)}
    return _apart("row", path, root, limits, **more)


def _apart(task: str, path: Path, root: Path | None, limits: Limits, **more: Any) -> dict[str, Any]:
    about = {"task": task, "path": str(path), "root": None if root is None else str(root), "limits": asdict(limits)}
    asked = json.dumps({**about, "threads": _threads(), "more": more})
    command = [sys.executable, "-m", "glt.leaderboard.jail"]
    try:
        with tempfile.TemporaryDirectory(prefix="glt-apart-") as made:  # ours: what is ended cannot clean up
            libraries = os.pathsep.join(filter(None, sys.path))
            done = subprocess.run(
                command,
                input=asked,
                capture_output=True,
                text=True,
                timeout=limits.seconds + GRACE if limits.seconds else None,
                env={**os.environ, **dict.fromkeys(FOLDERS, made), "PYTHONPATH": libraries},
            )
    except subprocess.TimeoutExpired:
        raise NotVerified(
            f"it was not done after {limits.seconds:g} s and was ended; give more with --seconds"
        ) from None
    try:
        said: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        raise NotVerified(
            f"its verification broke off with status {done.returncode}: it may have asked for more than the "
            f"{limits.memory / 2**30:g} GiB allowed"
        ) from None
    if "error" in said:
        error = GltError(said["error"])
        error.exit_code = said["exit_code"]
        raise error
    return said


def _threads() -> int | None:
    """CPU threads of this process, so that times are the same ones there; None where it has not begun to compute."""
    return sys.modules["torch"].get_num_threads() if "torch" in sys.modules else None


def report(path: Path, root: Path | None, limits: Limits) -> dict[str, Any]:
    """What was found of an entry that verifies, as JSON."""
    from glt.leaderboard.check import verify
    from glt.leaderboard.claims import claims

    found, said = verify(path, root, limits)
    held = claims(found, found.entry.controls, believed=False)
    return {
        "entry": str(path),
        "name": found.entry.name,
        "verified": True,
        "track": found.track,
        "config_id": found.setting.config.id,
        "points": [point.tree() for point in found.points],
        "rules": [vars(verdict) for verdict in said],
        "claims": [asdict(claim) for claim in held],
    }


def row(
    path: Path,
    root: Path | None,
    limits: Limits,
    *,
    latency: bool = False,
    run_missing: bool = False,
    memory: str | Path | None = None,
) -> dict[str, Any]:
    """``row`` of the board and ``points`` that were not in ``memory``, as JSON."""
    from glt.leaderboard.entry import read
    from glt.leaderboard.judge import judge
    from glt.leaderboard.memory import Memory
    from glt.results import Results

    known = Memory(None if memory is None else Results(memory), latency, writes=False)
    with read(path, limits) as entry:
        made = judge(entry, root, limits, latency=latency, run_missing=run_missing, memory=known)
    return {"row": asdict(made), "points": [point.tree() for point in known.fresh]}


TASKS: dict[str, Callable[..., dict[str, Any]]] = {"verify": report, "row": row}


def _bound_memory(limits: Limits) -> None:
    """No more private memory than allowed beside what a start takes; only where the system can."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (limits.memory + 2 * 2**30,) * 2)
    except (ImportError, ValueError, OSError):
        pass


def main() -> None:
    """Read what is asked from stdin, write one JSON object to stdout."""
    asked = json.load(sys.stdin)
    out = os.fdopen(os.dup(1), "w")  # nobody else writes there: libraries print to 1 too, below Python
    os.dup2(2, 1)
    limits = Limits(**asked["limits"])
    _bound_memory(limits)
    try:
        if asked["threads"]:
            import torch

            torch.set_num_threads(asked["threads"])
        said = TASKS[asked["task"]](Path(asked["path"]), asked["root"] and Path(asked["root"]), limits, **asked["more"])
    except GltError as error:
        said = {"error": " ".join(str(error).split()), "exit_code": error.exit_code}
    except MemoryError:
        said = {"error": f"it needs more than the {limits.memory / 2**30:g} GiB allowed", "exit_code": 2}
    except Exception as error:  # of code that was given what no test has thought of: never a traceback
        why = " ".join(str(error).split())[:200]
        said = {"error": f"it cannot be verified: {type(error).__name__} {why}", "exit_code": 2}
    with out:
        json.dump(said, out)


if __name__ == "__main__":
    main()
