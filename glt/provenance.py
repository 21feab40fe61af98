"""What made a result: versions, commit, hardware."""

from __future__ import annotations

import functools
import platform
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
import torch_geometric

from glt.version import __version__

MOST = 20
"""Different values of a field that are told."""


def versions() -> dict[str, str]:
    """Versions of glt and of what its bits depend on, the number of CPU threads included."""
    return {
        "glt": __version__,
        "torch": torch.__version__,
        "pyg": torch_geometric.__version__,
        "python": platform.python_version(),
        "threads": str(torch.get_num_threads()),
    }


@functools.cache
def commit() -> tuple[str | None, bool | None]:
    """(commit, whether the package's files differ from it) of the source tree; (None, None) for an installed copy."""
    here = Path(__file__).resolve().parent
    try:
        git = functools.partial(subprocess.run, cwd=here, capture_output=True, text=True, timeout=10)
        top = git(["git", "rev-parse", "--show-toplevel", "HEAD"])
        if top.returncode or Path(top.stdout.split("\n")[0]) != here.parent:
            return None, None
        changes = git(["git", "status", "--porcelain", "--", "."])
        return top.stdout.split()[-1][:12], bool(changes.stdout.strip())
    except (OSError, subprocess.SubprocessError):
        return None, None


@functools.cache
def processor() -> str:
    """The processor's name as the system gives it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def made_by(records: Iterable[Mapping[str, Any]]) -> str:
    """Devices, threads, versions and commits that records name, in a line; whatever they hold is shown in short."""
    found = list(records)

    def values(key: str) -> str:
        said = sorted({str(record[key])[:60] for record in found if record.get(key) is not None})
        return ", ".join(said[:MOST]) + (" ..." if len(said) > MOST else "")

    commits = f" at {values('commit')}" if values("commit") else ""
    return (
        f"{values('device')}, {values('threads')} thread(s); glt {values('glt')}{commits}, torch {values('torch')}, "
        f"PyG {values('pyg')}, Python {values('python')}"
    )


def provenance(device: torch.device | str = "cpu") -> dict[str, Any]:
    """Fields that every record carries: versions, commit, device (on CUDA whether deterministic), threads."""
    device = torch.device(device)
    revision, dirty = commit()
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
    return {
        **versions(),
        "commit": revision,
        "dirty": dirty,
        "device": f"{device.type}: {name}",
        **({"deterministic": torch.are_deterministic_algorithms_enabled()} if device.type == "cuda" else {}),
        "threads": torch.get_num_threads(),
    }
